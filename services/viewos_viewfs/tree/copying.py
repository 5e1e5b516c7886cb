"""Copying a file from one layer to another: data with its holes, attributes, xattrs."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Final

from .layer import Hidden
from .location import Location
from .virtual import STAT

FICLONE: Final = 0x40049409
"""Share a file's blocks. Source: include/uapi/linux/fs.h; ioctl_ficlone(2)."""
VIRTUAL: Final = STAT.encode()
_CHUNK: Final = 1 << 30
_BUFFER: Final = 1 << 20
_CANT: Final = (
    errno.EXDEV,
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.ETXTBSY,
    errno.EBADF,
)
_NOT_KEPT: Final = (errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EINVAL)


def open_source(there: Location, mine: bool) -> int:
    """Open a file of a lower layer for reading, without changing when it was read last.

    Args:
        mine: whether O_NOATIME is permitted: to the owner and to root, open(2).
    """
    if mine:
        try:
            return there.open(os.O_RDONLY | os.O_NOATIME)
        except PermissionError as error:
            if error.errno != errno.EPERM:
                raise
    return there.open(os.O_RDONLY)


def copy_data(source: int, target: int, size: int, limit: int | None = None) -> None:
    """Copy a file's data into an empty file.

    Args:
        size: of the source.
        limit: the target is to have that size, and no more of the data.

    Raises:
        OSError: ENOSPC, EDQUOT, EIO of either; the target is incomplete then.
    """
    end = size if limit is None else min(size, limit)
    if end == size and end and _clone(source, target):
        os.ftruncate(target, size if limit is None else limit)
        return
    os.ftruncate(target, end if limit is None else limit)
    at = 0
    while at < end:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole to the end
                return
            if error.errno != errno.EINVAL:
                raise
            start, stop = at, end
        else:
            stop = os.lseek(source, start, os.SEEK_HOLE)
        if start >= end:
            return
        _copy_range(source, target, start, min(stop, end))
        at = stop


def _clone(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in (*_CANT, errno.ENOTTY, errno.EPERM):
            return False
        raise
    return True


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    """In the kernel where it can; it can't between some file systems, before Linux 5.19 between
    most, and says 0 for files that make their contents up (copy_file_range(2), BUGS).
    """
    at = start
    while at < end:
        try:
            done = os.copy_file_range(source, target, min(end - at, _CHUNK), at, at)
        except OSError as error:
            if error.errno not in _CANT:
                raise
            break
        if not done:
            break
        at += done
    while at < end:
        data = os.pread(source, min(end - at, _BUFFER), at)
        if not data:  # it has become shorter
            return
        view = memoryview(data)
        while view:
            done = os.pwrite(target, view, at)
            view, at = view[done:], at + done


def copy_xattrs(source: Location, target: Location, hidden: Hidden, *, escaped: bool) -> None:
    """Copy what programs see of them, as far as the target may have it.

    Args:
        escaped: the source is in the overlay format.
    """
    try:
        names = source.listxattr()
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return
        raise
    for raw in names:
        name = hidden.shown(raw) if escaped else raw
        if name is None or name == VIRTUAL:
            continue
        try:
            target.setxattr(hidden.stored(name), source.getxattr(raw))
        except OSError as error:
            if error.errno not in (*_NOT_KEPT, errno.ENODATA):
                raise
