"""Bytes of /dev/fuse to requests, and what trees return to bytes. Pure.

Whatever bytes come, `decode` makes a request of them or raises `Malformed`.
Source: include/uapi/linux/fuse.h; fs/fuse/dev.c:fuse_copy_args().
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple, cast

from ..abi import fuse as abi
from ..abi.dirent import NAME_MAX
from ..abi.layout import Struct
from ..abi.stat import STATX_BASIC_STATS, STATX_BTIME
from ..filetree import Attr, Dirent, Entry, Lock, Opened, SetAttr, Statfs

_HEADER = abi.fuse_in_header.codec()
_OUT = abi.fuse_out_header.codec()
_ATTR = abi.fuse_attr.codec()
_ATTR_OUT = abi.fuse_attr_out.codec()
_ENTRY = abi.fuse_entry_out.codec()
_OPEN = abi.fuse_open_out.codec()
_DIRENT = abi.fuse_dirent.codec()
_SETXATTR = struct.Struct("=II")  # FUSE_SETXATTR_EXT is not asked for

OUT_SIZE = _OUT.size
NS = 1_000_000_000
_LONGEST_S = 1 << 40  # "for ever": the kernel takes what overflows as its longest timeout


class Malformed(Exception):
    """What came is no request.

    Attributes:
        unique: whom to answer; 0: nobody can be.
    """

    def __init__(self, unique: int, what: str) -> None:
        super().__init__(what)
        self.unique = unique


class Request(NamedTuple):
    """One request of the kernel.

    Attributes:
        args: the fields of its structure.
        names: names, in order.
        data: what is written; a view into the buffer that was decoded.
    """

    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    pid: int
    args: tuple[int, ...]
    names: tuple[bytes, ...] = ()
    data: memoryview = memoryview(b"")


class _Layout(NamedTuple):
    codec: struct.Struct | None
    names: int = 0
    data: int | None = None
    """Which field of the structure says how much data there is."""


def _of(message: type[Struct], names: int = 0, data: int | None = None) -> _Layout:
    return _Layout(message.codec(), names, data)


_LAYOUTS: dict[int, _Layout] = {
    abi.FUSE_LOOKUP: _Layout(None, 1),
    abi.FUSE_FORGET: _of(abi.fuse_forget_in),
    abi.FUSE_GETATTR: _of(abi.fuse_getattr_in),
    abi.FUSE_SETATTR: _of(abi.fuse_setattr_in),
    abi.FUSE_READLINK: _Layout(None),
    abi.FUSE_SYMLINK: _Layout(None, 2),
    abi.FUSE_MKNOD: _of(abi.fuse_mknod_in, 1),
    abi.FUSE_MKDIR: _of(abi.fuse_mkdir_in, 1),
    abi.FUSE_UNLINK: _Layout(None, 1),
    abi.FUSE_RMDIR: _Layout(None, 1),
    abi.FUSE_RENAME: _of(abi.fuse_rename_in, 2),
    abi.FUSE_RENAME2: _of(abi.fuse_rename2_in, 2),
    abi.FUSE_LINK: _of(abi.fuse_link_in, 1),
    abi.FUSE_OPEN: _of(abi.fuse_open_in),
    abi.FUSE_CREATE: _of(abi.fuse_create_in, 1),
    abi.FUSE_TMPFILE: _of(abi.fuse_create_in, 1),
    abi.FUSE_READ: _of(abi.fuse_read_in),
    abi.FUSE_WRITE: _of(abi.fuse_write_in, data=2),
    abi.FUSE_STATFS: _Layout(None),
    abi.FUSE_RELEASE: _of(abi.fuse_release_in),
    abi.FUSE_FSYNC: _of(abi.fuse_fsync_in),
    abi.FUSE_SETXATTR: _Layout(_SETXATTR, 1, data=0),
    abi.FUSE_GETXATTR: _of(abi.fuse_getxattr_in, 1),
    abi.FUSE_LISTXATTR: _of(abi.fuse_getxattr_in),
    abi.FUSE_REMOVEXATTR: _Layout(None, 1),
    abi.FUSE_FLUSH: _of(abi.fuse_flush_in),
    abi.FUSE_INIT: _of(abi.fuse_init_in),
    abi.FUSE_OPENDIR: _of(abi.fuse_open_in),
    abi.FUSE_READDIR: _of(abi.fuse_read_in),
    abi.FUSE_READDIRPLUS: _of(abi.fuse_read_in),
    abi.FUSE_RELEASEDIR: _of(abi.fuse_release_in),
    abi.FUSE_FSYNCDIR: _of(abi.fuse_fsync_in),
    abi.FUSE_GETLK: _of(abi.fuse_lk_in),
    abi.FUSE_SETLK: _of(abi.fuse_lk_in),
    abi.FUSE_SETLKW: _of(abi.fuse_lk_in),
    abi.FUSE_ACCESS: _of(abi.fuse_access_in),
    abi.FUSE_INTERRUPT: _of(abi.fuse_interrupt_in),
    abi.FUSE_DESTROY: _Layout(None),
    abi.FUSE_IOCTL: _of(abi.fuse_ioctl_in, data=4),
    abi.FUSE_BATCH_FORGET: _of(abi.fuse_batch_forget_in),
    abi.FUSE_FALLOCATE: _of(abi.fuse_fallocate_in),
    abi.FUSE_LSEEK: _of(abi.fuse_lseek_in),
    abi.FUSE_COPY_FILE_RANGE: _of(abi.fuse_copy_file_range_in),
    abi.FUSE_COPY_FILE_RANGE_64: _of(abi.fuse_copy_file_range_in),
    abi.FUSE_POLL: _of(abi.fuse_poll_in),
    abi.FUSE_STATX: _of(abi.fuse_statx_in),
    abi.FUSE_SYNCFS: _of(abi.fuse_syncfs_in),
    abi.FUSE_NOTIFY_REPLY: _of(abi.fuse_notify_retrieve_in, data=2),
}
UNANSWERED = frozenset(
    {abi.FUSE_FORGET, abi.FUSE_BATCH_FORGET, abi.FUSE_INTERRUPT, abi.FUSE_NOTIFY_REPLY}
)


def decode(head: memoryview, raw: memoryview, came: int) -> Request:
    """Take one request apart; an opcode that is not known here comes without arguments.

    Args:
        head: its first 40 bytes.
        raw: the rest, and what else is in the buffer.
        came: how long it is, head and rest.

    Raises:
        Malformed: too short, cut off, longer than it says, names without an end.
    """
    if came < _HEADER.size:
        raise Malformed(0, f"{came} bytes are no request")
    length, opcode, unique, node, uid, gid, pid, extensions = _HEADER.unpack(head)
    end = length - 8 * extensions - _HEADER.size
    if length != came or end < 0:
        raise Malformed(0, f"a request of {came} bytes says {length}, -{8 * extensions}")
    layout = _LAYOUTS.get(opcode)
    if layout is None:
        return Request(opcode, unique, node, uid, gid, pid, ())
    codec, count, sized = layout
    at, args = 0, cast(tuple[int, ...], ())
    if codec is not None:
        if end - at < codec.size:
            raise Malformed(unique, f"opcode {opcode}: {end - at} bytes of {codec.size}")
        args = codec.unpack_from(raw, at)
        at += codec.size
    if opcode == abi.FUSE_BATCH_FORGET:
        return Request(opcode, unique, node, uid, gid, pid, _forgets(args[0], raw[at:end]))
    if not count:
        data = raw[at:end]
        if sized is not None and args[sized] != len(data):
            raise Malformed(unique, f"opcode {opcode}: {len(data)} bytes of {args[sized]}")
        return Request(opcode, unique, node, uid, gid, pid, args, (), data)
    rest = raw[at:end].tobytes()
    *names, tail = rest.split(b"\0", count)
    if len(names) != count or len(tail) != (0 if sized is None else args[sized]):
        raise Malformed(unique, f"opcode {opcode}: not {count} names")
    data = raw[end - len(tail) : end]
    return Request(opcode, unique, node, uid, gid, pid, args, tuple(names), data)


def _forgets(count: int, raw: memoryview) -> tuple[int, ...]:
    """Node and count, node and count, and so on."""
    one = abi.fuse_forget_one.codec()
    if len(raw) != count * one.size:
        raise Malformed(0, f"{count} forgets in {len(raw)} bytes")
    return struct.unpack(f"={2 * count}Q", raw)


# -- answers


def header(unique: int, length: int, error: int = 0) -> bytes:
    """What goes before an answer of ``length`` bytes; ``error``: an errno, or a notify code."""
    return _OUT.pack(OUT_SIZE + length, error, unique)


def seconds(valid_s: float) -> tuple[int, int]:
    """Seconds as the protocol has them, and nanoseconds."""
    if valid_s >= _LONGEST_S:
        return _LONGEST_S, 0
    whole = int(valid_s)
    return whole, int((valid_s - whole) * NS)


def attr(a: Attr) -> bytes:
    """``struct fuse_attr``."""
    blocks = (a.size + 511) >> 9 if a.blocks is None else a.blocks
    atime, atimensec = divmod(a.atime_ns, NS)
    mtime, mtimensec = divmod(a.mtime_ns, NS)
    ctime, ctimensec = divmod(a.ctime_ns, NS)
    # The order of glibc's makedev() is that of the kernel's new_encode_dev() up to 32 bits.
    return _ATTR.pack(
        a.ino, a.size, blocks, atime, mtime, ctime, atimensec, mtimensec, ctimensec,
        a.mode, a.nlink, a.uid, a.gid, a.rdev & 0xFFFF_FFFF, a.blksize, 0,
    )  # fmt: skip


def attr_out(a: Attr, attr_s: float) -> bytes:
    """``struct fuse_attr_out``; ``attr_s`` is what a tree says of all."""
    valid, nsec = seconds(attr_s if a.valid_s is None else a.valid_s)
    return _ATTR_OUT.pack(valid, nsec, attr(a))


def entry_out(e: Entry, entry_s: float, attr_s: float) -> bytes:
    """``struct fuse_entry_out``."""
    valid, nsec = seconds(entry_s if e.entry_s is None else e.entry_s)
    if not e.node:
        return _ENTRY.pack(0, 0, valid, 0, nsec, 0, b"")
    a = e.attr
    attr_valid, attr_nsec = seconds(attr_s if a.valid_s is None else a.valid_s)
    return _ENTRY.pack(e.node, e.generation, valid, attr_valid, nsec, attr_nsec, attr(a))


NO_ENTRY = bytes(_ENTRY.size)
"""In a listing: the name alone."""


def open_out(fh: int, opened: Opened, backing: int = 0) -> bytes:
    """``struct fuse_open_out``; ``backing``: of a file that the kernel is to use itself."""
    flags = (
        opened.direct_io * abi.FOPEN_DIRECT_IO
        | opened.keep_cache * abi.FOPEN_KEEP_CACHE
        | opened.nonseekable * abi.FOPEN_NONSEEKABLE
        | opened.cache_dir * abi.FOPEN_CACHE_DIR
        | bool(backing) * abi.FOPEN_PASSTHROUGH
    )
    return _OPEN.pack(fh, flags, backing)


def dirent(d: Dirent) -> bytes:
    """``struct fuse_dirent``, padded.

    Raises:
        ValueError: the name is none: fs/readdir.c:verify_dirent_name() lets a zero byte pass.
    """
    if not 0 < len(d.name) <= NAME_MAX or b"/" in d.name or b"\0" in d.name:
        raise ValueError(f"{d.name!r} in a directory is no name")
    raw = _DIRENT.pack(d.ino, d.offset, len(d.name), d.type >> 12 & 0xF) + d.name
    return raw + bytes(-len(raw) & 7)


def statx_out(a: Attr, attr_s: float, born_ns: int) -> bytes:
    """``struct fuse_statx_out``; ``born_ns`` 0: unknown."""
    valid, nsec = seconds(attr_s if a.valid_s is None else a.valid_s)
    atime, btime, ctime, mtime = (
        abi.fuse_sx_time(*divmod(ns, NS)).pack()
        for ns in (a.atime_ns, born_ns, a.ctime_ns, a.mtime_ns)
    )
    blocks = (a.size + 511) >> 9 if a.blocks is None else a.blocks
    mask = STATX_BASIC_STATS | (STATX_BTIME if born_ns else 0)
    stat = abi.fuse_statx(
        mask, a.blksize, 0, a.nlink, a.uid, a.gid, a.mode, a.ino, a.size, blocks, 0,
        atime, btime, ctime, mtime, os.major(a.rdev), os.minor(a.rdev), 0, 0,
    )  # fmt: skip
    return abi.fuse_statx_out(valid, nsec, 0, stat.pack()).pack()


def statfs_out(s: Statfs) -> bytes:
    """``struct fuse_statfs_out``."""
    return abi.fuse_kstatfs.codec().pack(*s)


def lock_out(lock: Lock) -> bytes:
    """``struct fuse_lk_out``."""
    return abi.fuse_file_lock.codec().pack(lock.start, lock.end, lock.type, lock.pid)


def setattr_in(args: tuple[int, ...], now_ns: int) -> tuple[SetAttr, int | None]:
    """What ``struct fuse_setattr_in`` asks for, and the file handle if it says one."""
    valid, fh, size, _, atime, mtime, ctime, atimensec, mtimensec, ctimensec, mode, uid, gid = args

    def time(bit: int, now: int, whole: int, nsec: int) -> int | None:
        if not valid & bit:
            return None
        return now_ns if valid & now else whole * NS + nsec

    change = SetAttr(
        mode & 0o7777 if valid & abi.FATTR_MODE else None,
        uid if valid & abi.FATTR_UID else None,
        gid if valid & abi.FATTR_GID else None,
        size if valid & abi.FATTR_SIZE else None,
        time(abi.FATTR_ATIME, abi.FATTR_ATIME_NOW, atime, atimensec),
        time(abi.FATTR_MTIME, abi.FATTR_MTIME_NOW, mtime, mtimensec),
        time(abi.FATTR_CTIME, 0, ctime, ctimensec),
        bool(valid & abi.FATTR_ATIME_NOW),
        bool(valid & abi.FATTR_MTIME_NOW),
        bool(valid & abi.FATTR_KILL_SUIDGID),
    )
    return change, fh if valid & abi.FATTR_FH else None
