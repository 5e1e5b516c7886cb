"""Kernel calls that Python's library does not wrap, for hooks that run often.

Source: statx(2), getdents64(2).
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

from viewosd.abi.arch import NATIVE
from viewosd.abi.fcntl import AT_EMPTY_PATH, AT_FDCWD
from viewosd.abi.sysno import SYSNO

LARGEST: Final = 1 << 16
"""Bytes of a directory that are read at once, however large the program's buffer is."""

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_STATX: Final = ctypes.c_long(SYSNO[NATIVE]["statx"])
_GETDENTS64: Final = ctypes.c_long(SYSNO[NATIVE]["getdents64"])
_CWD: Final = ctypes.c_long(AT_FDCWD)
# Without asking a server: fuse and nfs tell the number that they know.
_DONT_SYNC: Final = ctypes.c_long(0x4000)
_STATX_INO: Final = ctypes.c_long(0x100)

_buffer = ctypes.create_string_buffer(256)  # struct statx; hooks run in one thread
_ino = struct.Struct("=Q").unpack_from
_dev = struct.Struct("=II").unpack_from


def inode(path: bytes) -> int:
    """The inode number of what is at ``path``; -1 if that can't be told. `device` goes on from it.

    One system call, and it never waits for whoever serves the file.
    """
    if _syscall(_STATX, _CWD, path, _DONT_SYNC, _STATX_INO, _buffer):
        return -1
    return int(_ino(_buffer, 32)[0])


def last_inode() -> int:
    """What `inode` returned last."""
    return int(_ino(_buffer, 32)[0])


def device() -> int:
    """The device of what `inode` was asked about last, as os.stat() has it."""
    return os.makedev(*_dev(_buffer, 136))


def statx(fd: int, flags: int, mask: int) -> bytes:
    """statx(2) of a descriptor, also one opened with O_PATH. Raises OSError."""
    flags |= AT_EMPTY_PATH
    words = ctypes.c_long(fd), b"", ctypes.c_long(flags), ctypes.c_long(mask)
    if _syscall(_STATX, *words, _buffer):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return _buffer.raw


def getdents64(fd: int, size: int) -> bytes:
    """getdents64(2): at most ``size`` bytes of records, b"" at the end. Raises OSError."""
    size = min(size, LARGEST)
    records = ctypes.create_string_buffer(size)  # of its own: it may be read in a thread
    count = _syscall(_GETDENTS64, ctypes.c_long(fd), records, ctypes.c_long(size))
    if count < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return ctypes.string_at(records, count)
