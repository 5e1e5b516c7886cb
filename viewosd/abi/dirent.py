"""Directory entries. Source: include/linux/dirent.h, fs/readdir.c; getdents(2).

The structures end in a name of variable length, so they are made and read by functions, whole
buffers at a time. Records are padded to the size of a ``long`` (8 bytes for `getdents64`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from .arch import Arch

# fmt: off
DT_UNKNOWN: Final = 0
DT_FIFO:    Final = 1
DT_CHR:     Final = 2
DT_DIR:     Final = 4
DT_BLK:     Final = 6
DT_REG:     Final = 8
DT_LNK:     Final = 10
DT_SOCK:    Final = 12
DT_WHT:     Final = 14
# fmt: on

NAME_MAX: Final = 255

_HEAD64 = struct.Struct("=QqHB")  # struct linux_dirent64: 19 bytes, then the name
_HEAD = {8: struct.Struct("=QQH"), 4: struct.Struct("=IIH")}  # struct linux_dirent, and compat


class Dirent(NamedTuple):
    """One entry. ``off`` is where the next one starts, for lseek(2); its meaning is the file
    system's own."""

    ino: int
    off: int
    type: int  # DT_*
    name: bytes


def pack_dirent64(entry: Dirent) -> bytes:
    """``struct linux_dirent64``, as getdents64(2) gives it; the same on every architecture."""
    length = _HEAD64.size + len(entry.name) + 1
    reclen = (length + 7) & ~7
    head = _HEAD64.pack(entry.ino, entry.off, reclen, entry.type)
    return (head + entry.name).ljust(reclen, b"\0")


def unpack_dirents64(raw: bytes) -> Iterator[Dirent]:
    """The entries of a buffer that getdents64(2) filled.

    Raises:
        ValueError: a record runs over the end, or is too short.
    """
    at = 0
    while at < len(raw):
        if at + _HEAD64.size > len(raw):
            raise ValueError("a directory record is cut off")
        ino, off, reclen, kind = _HEAD64.unpack_from(raw, at)
        if reclen <= _HEAD64.size or at + reclen > len(raw):
            raise ValueError(f"a directory record of {reclen} bytes")
        name = raw[at + _HEAD64.size : at + reclen].partition(b"\0")[0]
        yield Dirent(ino, off, kind, name)
        at += reclen


def pack_dirent(entry: Dirent, arch: Arch) -> bytes:
    """``struct linux_dirent``, as getdents(2) gives it: the type is the record's last byte.

    Raises:
        OverflowError: a number does not fit in 32 bits (the kernel says EOVERFLOW).
    """
    head = _HEAD[arch.pointer_size]
    reclen = (head.size + len(entry.name) + 2 + arch.pointer_size - 1) & -arch.pointer_size
    try:
        start = head.pack(entry.ino, entry.off, reclen)
    except struct.error as error:
        raise OverflowError(f"{entry!r} does not fit") from error
    return (start + entry.name).ljust(reclen - 1, b"\0") + bytes([entry.type])


def unpack_dirents(raw: bytes, arch: Arch) -> Iterator[Dirent]:
    """The entries of a buffer that getdents(2) filled. Raises ValueError as `unpack_dirents64`."""
    head, at = _HEAD[arch.pointer_size], 0
    while at < len(raw):
        if at + head.size > len(raw):
            raise ValueError("a directory record is cut off")
        ino, off, reclen = head.unpack_from(raw, at)
        if reclen < head.size + 2 or at + reclen > len(raw):
            raise ValueError(f"a directory record of {reclen} bytes")
        body = raw[at + head.size : at + reclen]
        yield Dirent(ino, off, body[-1], body[:-1].partition(b"\0")[0])
        at += reclen
