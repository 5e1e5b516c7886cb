"""A directory's listing without its hidden names.

The directory is read through a duplicate of the program's own descriptor, so both have one offset:
what the program asks next, natively or here, goes on where this ended. Positions (``d_off``) are
the file system's own and stay as they are, for seekdir(3).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Set as AbstractSet
from typing import Final

from viewosd.abi.arch import NATIVE
from viewosd.abi.dirent import Dirent, pack_dirent, unpack_dirents64
from viewosd.syscalls.files import Getdents, getdents64, readdir
from viewosd.tracee import Tracee

from . import unsafe

LARGEST: Final = 1 << 16
"""Bytes of a directory that are read at once, however large the program's buffer is."""
_ENOUGH: Final = 4096
_RECLEN: Final = struct.Struct("=H").unpack_from
_OLDEST: Final = struct.Struct("<IIH")  # struct old_linux_dirent of i386, fs/readdir.c


def list_without(call: Getdents, tracee: Tracee, fd: int, names: AbstractSet[bytes]) -> int:
    """Answer a listing call for a directory with hidden names.

    Args:
        fd: our duplicate of the program's descriptor.

    Returns:
        What the call returns.

    Raises:
        OSError: what it fails with; the offset is then as it was.
    """
    before = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        # Each round that leaves nothing has met a hidden name, of which there are so many.
        for _ in range(len(names) + 1):
            found, result = _read(call, fd, names)
            if found or not result:
                break
        else:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if found:
            tracee.write(call.dirent, found)
        return len(found) if not isinstance(call, readdir) else int(bool(found))
    except BaseException:
        os.lseek(fd, before, os.SEEK_SET)
        raise


def _read(call: Getdents, fd: int, names: AbstractSet[bytes]) -> tuple[bytes, bool]:
    """Records for the program, and whether the directory had any."""
    if isinstance(call, getdents64):
        raw = unsafe.getdents64(fd, min(call.count, LARGEST))
        return without(raw, names), bool(raw)
    # The old layouts are no larger than what we read; what does not fit is read again.
    raw = unsafe.getdents64(fd, max(min(call.count, LARGEST), _ENOUGH))
    room = _OLDEST.size + 256 if isinstance(call, readdir) else call.count
    out, fits = b"", True
    position = None
    for entry in unpack_dirents64(raw):
        if entry.name not in names:
            record = _packed(call, entry)
            fits = len(out) + len(record) <= room
            if not fits or (out and isinstance(call, readdir)):
                break
            out += record
        position = entry.off
    if not out and not fits:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # fs/readdir.c:filldir()
    if position is not None:
        os.lseek(fd, position, os.SEEK_SET)
    return out, bool(raw)


def _packed(call: Getdents, entry: Dirent) -> bytes:
    try:
        if isinstance(call, readdir):
            return _OLDEST.pack(entry.ino, entry.off, len(entry.name)) + entry.name + b"\0"
        return pack_dirent(entry, call.arch or NATIVE)
    except (OverflowError, struct.error) as error:
        raise OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW)) from error


def without(raw: bytes, names: AbstractSet[bytes]) -> bytes:
    """Records of getdents64(2) without those of some names; the others as they are."""
    if not any(name + b"\0" in raw for name in names):
        return raw
    kept, at, start = [], 0, 0
    while at < len(raw):
        end = at + _RECLEN(raw, at + 16)[0]
        if raw[at + 19 : end].partition(b"\0")[0] in names:
            kept.append(raw[start:at])
            start = end
        at = end
    kept.append(raw[start:at])
    return b"".join(kept)
