"""A directory's listing without its hidden names.

The directory is read through a duplicate of the program's own descriptor, so both have one offset:
what the program asks next, natively or here, goes on where this ended. Positions (``d_off``) are
the file system's own and stay as they are, for seekdir(3).

Not so for a 32-bit program: file systems tell it positions of 32 bits, and us others that do not
fit (fs/ext4/dir.c:is_32bit_api()). There a position is a count of entries, and each call reads the
directory from its beginning.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from viewosd.abi.dirent import Dirent, pack_dirent, pack_dirent64, unpack_dirents64
from viewosd.syscalls.files import Getdents, getdents64, readdir
from viewosd.tracee import Tracee

from . import unsafe

_RECLEN, _NAME = 16, 19  # struct linux_dirent64: d_reclen, d_name
_OLDEST: Final = struct.Struct("<IIH")  # struct old_linux_dirent of i386, fs/readdir.c


def list_without(call: Getdents, tracee: Tracee, names: AbstractSet[bytes]) -> int:
    """Answer a listing call for a directory with hidden names.

    Returns:
        What the call returns.

    Raises:
        OSError: what it fails with; the offset is then as it was.
    """
    after, found = tracee.aside(_read, call, tracee, names)
    if found:
        tracee.write(call.dirent, found)
    # Last: a successor that is asked again reads on from where the offset is.
    with tracee.fd(call.fd) as fd:
        os.lseek(fd, after, os.SEEK_SET)
    return int(bool(found)) if isinstance(call, readdir) else len(found)


def _read(call: Getdents, tracee: Tracee, names: AbstractSet[bytes]) -> tuple[int, bytes]:
    """The offset to be set, which still is as before, and the records as the program wants them."""
    with tracee.fd(call.fd) as fd:
        before = os.lseek(fd, 0, os.SEEK_CUR)
        try:
            if call.arch.is_compat:
                found = _counted(call, fd, before, names)
            else:
                found = _next(fd, call.count, names)
            after = os.lseek(fd, 0, os.SEEK_CUR)
        finally:
            os.lseek(fd, before, os.SEEK_SET)
    if not call.arch.is_compat and not isinstance(call, getdents64):
        # Records of the same size, laid out otherwise.
        found = b"".join(pack_dirent(e, call.arch) for e in unpack_dirents64(found))
    return after, found


def _next(fd: int, size: int, names: AbstractSet[bytes]) -> bytes:
    """Records of getdents64(2) from the offset on; b"" at the end."""
    # Each round that leaves nothing has met a hidden name, of which there are so many.
    for _ in range(len(names) + 1):
        raw = unsafe.getdents64(fd, size)
        found = without(raw, names)
        if found or not raw:
            return found
    raise OSError(errno.EIO, "the directory has a name more than once")


def _counted(call: Getdents, fd: int, position: int, names: AbstractSet[bytes]) -> bytes:
    """Records for a 32-bit program, from the entry on that is the ``position``-th."""
    os.lseek(fd, 0, os.SEEK_SET)
    raw = b""
    while more := unsafe.getdents64(fd, unsafe.LARGEST):
        raw += more
    entries = list(unpack_dirents64(without(raw, names)))
    room = _OLDEST.size + 256 if isinstance(call, readdir) else call.count
    out = b""
    for entry in entries[position:]:
        record = _packed(call, entry._replace(off=position + 1))
        if len(out) + len(record) > room or (out and isinstance(call, readdir)):
            break
        out, position = out + record, position + 1
    if not out and position < len(entries):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # fs/readdir.c:filldir()
    os.lseek(fd, position, os.SEEK_SET)
    return out


def _packed(call: Getdents, entry: Dirent) -> bytes:
    try:
        if isinstance(call, getdents64):
            return pack_dirent64(entry)
        if isinstance(call, readdir):
            return _OLDEST.pack(entry.ino, entry.off, len(entry.name)) + entry.name + b"\0"
        return pack_dirent(entry, call.arch)
    except (OverflowError, struct.error) as error:
        raise OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW)) from error


def without(raw: bytes, names: AbstractSet[bytes]) -> bytes:
    """Records of getdents64(2) without those of some names; the others as they are."""
    found = sorted(at - _NAME for name in names for at in _all(raw, name + b"\0"))
    if not found:
        return raw
    # What looks like the name may be the end of another, so records are counted off up to there;
    # in a view of two bytes each, which is the quickest way.
    kept, at, start, lengths = [], 0, 0, memoryview(raw).cast("H")
    for there in found:
        while at < there:
            at += lengths[at + _RECLEN >> 1]
        if at == there:
            kept.append(raw[start:at])
            at += lengths[at + _RECLEN >> 1]
            start = at
    kept.append(raw[start:])
    return b"".join(kept)


def _all(raw: bytes, text: bytes) -> Iterator[int]:
    at = raw.find(text)
    while at >= 0:
        yield at
        at = raw.find(text, at + 1)
