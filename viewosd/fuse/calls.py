"""Which method of a tree each request asks for, and how its answer is packed.

One row of `CALLS` for each opcode: *ask* calls the tree and returns what that returned, which may
have to be awaited; *answer* makes bytes of it. Neither waits nor talks to the kernel.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from types import CoroutineType
from typing import Any, NamedTuple

from ..abi import fuse as abi
from ..abi.dirent import NAME_MAX
from ..abi.fcntl import O_ACCMODE, O_APPEND, O_RDONLY, O_RDWR
from ..filetree import Context, Data, Lock, SetAttr
from . import codec, listing, session
from .codec import Request
from .session import Session

Ask = Callable[[Session, Request], Any]
Answer = Callable[[Session, Request, Any], Data]


class Call(NamedTuple):
    """One row."""

    ask: Ask
    answer: Answer


CALLS: dict[int, Call] = {}


async def value(soon: Any) -> Any:
    """What a method returned, waited for if need be."""
    return await soon if waits(soon) else soon


def waits(soon: Any) -> bool:
    """Must it be awaited?"""
    return type(soon) is CoroutineType or hasattr(soon, "__await__")


def _who(r: Request, umask: int = 0) -> Context:
    return Context(r.uid, r.gid, r.pid, umask)


def _open_flags(s: Session, flags: int) -> int:
    """Of a file whose pages the kernel writes back: it fills them first, and knows the end."""
    if not s.flags & abi.FUSE_WRITEBACK_CACHE:
        return flags
    writes = flags & O_ACCMODE != O_RDONLY
    return flags & ~(O_APPEND | O_ACCMODE) | (O_RDWR if writes else O_RDONLY)


def _row(answer: Answer, *opcodes: int) -> Callable[[Ask], Ask]:
    def mark(ask: Ask) -> Ask:
        CALLS.update(dict.fromkeys(opcodes, Call(ask, answer)))
        return ask

    return mark


# -- names


@_row(session.entry, abi.FUSE_LOOKUP)
def _lookup(s: Session, r: Request) -> Any:
    name = r.names[0]
    if len(name) > NAME_MAX:
        raise OSError(errno.ENAMETOOLONG, "longer than NAME_MAX")
    return s.tree.lookup(r.node, name, Context(r.uid, r.gid, r.pid))


@_row(session.nothing, abi.FUSE_FORGET)
def _forget(s: Session, r: Request) -> None:
    s.tree.forget(r.node, r.args[0])


@_row(session.nothing, abi.FUSE_BATCH_FORGET)
def _batch_forget(s: Session, r: Request) -> None:
    for node, nlookup in zip(r.args[::2], r.args[1::2], strict=True):
        s.tree.forget(node, nlookup)


@_row(session.entry, abi.FUSE_MKNOD)
def _mknod(s: Session, r: Request) -> Any:
    mode, rdev, umask = r.args
    return s.tree.mknod(r.node, r.names[0], mode, rdev, _who(r, umask))


@_row(session.entry, abi.FUSE_MKDIR)
def _mkdir(s: Session, r: Request) -> Any:
    mode, umask = r.args
    return s.tree.mkdir(r.node, r.names[0], mode, _who(r, umask))


@_row(session.entry, abi.FUSE_SYMLINK)
def _symlink(s: Session, r: Request) -> Any:
    return s.tree.symlink(r.node, r.names[0], r.names[1], _who(r))


@_row(session.entry, abi.FUSE_LINK)
def _link(s: Session, r: Request) -> Any:
    return s.tree.link(r.args[0], r.node, r.names[0], _who(r))


@_row(session.nothing, abi.FUSE_UNLINK)
def _unlink(s: Session, r: Request) -> Any:
    return s.tree.unlink(r.node, r.names[0], _who(r))


@_row(session.nothing, abi.FUSE_RMDIR)
def _rmdir(s: Session, r: Request) -> Any:
    return s.tree.rmdir(r.node, r.names[0], _who(r))


@_row(session.nothing, abi.FUSE_RENAME, abi.FUSE_RENAME2)
def _rename(s: Session, r: Request) -> Any:
    to, flags = r.args if len(r.args) == 2 else (r.args[0], 0)
    return s.tree.rename(r.node, r.names[0], to, r.names[1], flags, _who(r))


# -- attributes


@_row(session.attr, abi.FUSE_GETATTR)
def _getattr(s: Session, r: Request) -> Any:
    flags, fh = r.args
    handle = s.handle(fh) if flags & abi.FUSE_GETATTR_FH else None
    return s.tree.getattr(r.node, handle, Context(r.uid, r.gid, r.pid))


@_row(session.attr, abi.FUSE_SETATTR)
def _setattr(s: Session, r: Request) -> Any:
    change, fh = codec.setattr_in(r.args, time.time_ns())
    return s.tree.setattr(r.node, change, s.handle(fh) if fh else None, _who(r))


@_row(session.statx, abi.FUSE_STATX)
async def _statx(s: Session, r: Request) -> Any:
    flags, fh, *_ = r.args
    handle = s.handle(fh) if flags & abi.FUSE_GETATTR_FH else None
    born = await value(s.tree.born(r.node, handle, _who(r)))
    return await value(s.tree.getattr(r.node, handle, _who(r))), born


@_row(session.data, abi.FUSE_READLINK)
def _readlink(s: Session, r: Request) -> Any:
    return s.tree.readlink(r.node, _who(r))


@_row(session.nothing, abi.FUSE_ACCESS)
def _access(s: Session, r: Request) -> Any:
    return s.tree.access(r.node, r.args[0], _who(r))


@_row(session.statfs, abi.FUSE_STATFS)
def _statfs_of(s: Session, r: Request) -> Any:
    return s.tree.statfs(r.node, _who(r))


@_row(session.nothing, abi.FUSE_SYNCFS)
def _syncfs(s: Session, r: Request) -> Any:
    return s.tree.syncfs(r.node, _who(r))


@_row(session.xattr, abi.FUSE_GETXATTR)
def _getxattr(s: Session, r: Request) -> Any:
    return s.tree.getxattr(r.node, r.names[0], _who(r))


@_row(session.xattr_names, abi.FUSE_LISTXATTR)
def _listxattr(s: Session, r: Request) -> Any:
    return s.tree.listxattr(r.node, _who(r))


@_row(session.nothing, abi.FUSE_SETXATTR)
def _setxattr(s: Session, r: Request) -> Any:
    return s.tree.setxattr(r.node, r.names[0], bytes(r.data), r.args[1], _who(r))


@_row(session.nothing, abi.FUSE_REMOVEXATTR)
def _removexattr(s: Session, r: Request) -> Any:
    return s.tree.removexattr(r.node, r.names[0], _who(r))


# -- files


@_row(session.opened, abi.FUSE_OPEN)
def _open(s: Session, r: Request) -> Any:
    if s.tree.no_open:
        raise OSError(errno.ENOSYS, "from now on without")
    return s.tree.open(r.node, _open_flags(s, r.args[0]), _who(r))


@_row(session.created, abi.FUSE_CREATE)
def _create(s: Session, r: Request) -> Any:
    flags, mode, umask, _ = r.args
    return s.tree.create(r.node, r.names[0], mode, _open_flags(s, flags), _who(r, umask))


@_row(session.created, abi.FUSE_TMPFILE)
def _tmpfile(s: Session, r: Request) -> Any:
    flags, mode, umask, _ = r.args
    return s.tree.tmpfile(r.node, mode, _open_flags(s, flags), _who(r, umask))


@_row(session.read, abi.FUSE_READ)
def _read_at(s: Session, r: Request) -> Any:
    fh, offset, size, *_ = r.args
    return s.tree.read(r.node, s.handle(fh), offset, size, Context(r.uid, r.gid, r.pid))


@_row(session.written, abi.FUSE_WRITE)
def _write(s: Session, r: Request) -> Any:
    fh, offset, _, flags, *_ = r.args
    if flags & abi.FUSE_WRITE_KILL_SUIDGID:
        return _write_and_kill(s, r)
    return s.tree.write(r.node, s.handle(fh), offset, r.data, Context(r.uid, r.gid, r.pid))


async def _write_and_kill(s: Session, r: Request) -> Any:
    fh, offset, *_ = r.args
    who, handle = _who(r), s.handle(fh)
    await value(s.tree.setattr(r.node, SetAttr(kill_suidgid=True), handle, who))
    return await value(s.tree.write(r.node, handle, offset, r.data, who))


@_row(session.nothing, abi.FUSE_FLUSH)
def _flush(s: Session, r: Request) -> Any:
    fh, owner = r.args
    return s.tree.flush(r.node, s.handle(fh), owner, _who(r))


@_row(session.nothing, abi.FUSE_RELEASE)
def _release(s: Session, r: Request) -> Any:
    fh, _, flags, owner = r.args
    handle, unlocked = s.known(fh), owner if flags & abi.FUSE_RELEASE_FLOCK_UNLOCK else 0
    return s.tree.release(r.node, handle, unlocked) if s.drop(r.node, fh) else None


@_row(session.nothing, abi.FUSE_FSYNC)
def _fsync(s: Session, r: Request) -> Any:
    fh, flags = r.args
    datasync = bool(flags & abi.FUSE_FSYNC_FDATASYNC)
    return s.tree.fsync(r.node, s.handle(fh), datasync, _who(r))


@_row(session.nothing, abi.FUSE_FALLOCATE)
def _fallocate(s: Session, r: Request) -> Any:
    fh, offset, length, mode = r.args
    return s.tree.fallocate(r.node, s.handle(fh), mode, offset, length, _who(r))


@_row(session.offset, abi.FUSE_LSEEK)
def _lseek(s: Session, r: Request) -> Any:
    fh, offset, whence = r.args
    return s.tree.lseek(r.node, s.handle(fh), offset, whence, _who(r))


@_row(session.copied, abi.FUSE_COPY_FILE_RANGE_64)
def _copy_file_range_64(s: Session, r: Request) -> Any:
    return _copy_file_range(s, r)


@_row(session.count, abi.FUSE_COPY_FILE_RANGE)
def _copy_file_range(s: Session, r: Request) -> Any:
    fh, offset, to, to_fh, to_offset, length, flags = r.args
    handle, to_handle = s.handle(fh), s.handle(to_fh)
    return s.tree.copy_file_range(
        r.node, handle, offset, to, to_handle, to_offset, length, flags, _who(r)
    )


@_row(session.poll, abi.FUSE_POLL)
def _poll(s: Session, r: Request) -> Any:
    fh, kh, flags, events = r.args
    wake = s.wake(fh, kh) if flags & abi.FUSE_POLL_SCHEDULE_NOTIFY else None
    return s.tree.poll(r.node, s.handle(fh), events, wake, _who(r))


@_row(session.ioctl, abi.FUSE_IOCTL)
def _ioctl_of(s: Session, r: Request) -> Any:
    fh, _, command, argument, _, size = r.args
    handle = s.handle(fh)
    return s.tree.ioctl(r.node, handle, command, argument, bytes(r.data), size, _who(r))


@_row(session.lock, abi.FUSE_GETLK)
def _getlk(s: Session, r: Request) -> Any:
    fh, owner, start, end, type, pid, _ = r.args
    lock = Lock(type, start, end, pid)
    return s.tree.getlk(r.node, s.handle(fh), owner, lock, _who(r))


@_row(session.nothing, abi.FUSE_SETLK, abi.FUSE_SETLKW)
def _setlk(s: Session, r: Request) -> Any:
    fh, owner, start, end, type, pid, flags = r.args
    handle, wait = s.handle(fh), r.opcode == abi.FUSE_SETLKW
    if flags & abi.FUSE_LK_FLOCK:
        return s.tree.flock(r.node, handle, owner, type, wait, _who(r))
    return s.tree.setlk(r.node, handle, owner, Lock(type, start, end, pid), wait, _who(r))


# -- directories


@_row(session.opened, abi.FUSE_OPENDIR)
def _opendir(s: Session, r: Request) -> Any:
    if s.tree.no_opendir:
        raise OSError(errno.ENOSYS, "from now on without")
    return s.tree.opendir(r.node, r.args[0], _who(r))


@_row(session.data, abi.FUSE_READDIR)
async def _readdir(s: Session, r: Request) -> Any:
    fh, offset, size, *_ = r.args
    entries = await value(s.tree.readdir(r.node, s.handle(fh), offset, _who(r)))
    return listing.names(entries, size)


@_row(session.data, abi.FUSE_READDIRPLUS)
async def _readdirplus(s: Session, r: Request) -> Any:
    fh, offset, size, *_ = r.args
    who, found = _who(r), list[int]()
    entries = await value(s.tree.readdir(r.node, s.handle(fh), offset, who))

    async def look(name: bytes) -> bytes:
        entry = await value(s.tree.lookup(r.node, name, who))
        if entry.node:
            found.append(entry.node)
        return s.entry(entry)

    try:
        return await listing.names_and_attributes(entries, size, look)
    except BaseException:
        for node in found:  # the kernel will never hear of them
            s.tree.forget(node, 1)
        raise


@_row(session.nothing, abi.FUSE_RELEASEDIR)
def _releasedir(s: Session, r: Request) -> Any:
    fh = r.args[0]
    handle = s.known(fh)
    return s.tree.releasedir(r.node, handle) if s.drop(r.node, fh) else None


@_row(session.nothing, abi.FUSE_FSYNCDIR)
def _fsyncdir(s: Session, r: Request) -> Any:
    fh, flags = r.args
    datasync = bool(flags & abi.FUSE_FSYNC_FDATASYNC)
    return s.tree.fsyncdir(r.node, s.handle(fh), datasync, _who(r))


@_row(session.nothing, abi.FUSE_DESTROY)
def _destroy(_s: Session, _r: Request) -> None:
    """`FileTree.destroy` is called when the device is closed to us, which follows."""
