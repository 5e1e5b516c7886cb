"""Kernel calls that Python's library does not wrap, for hooks that run often.

Source: statx(2), getdents64(2).
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
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


_FDS_MAX: Final = 64
_fds: dict[int, ctypes.c_long] = {}
_NUMBERS: Final = tuple(b"%d" % number for number in range(256))


def inode_of(tid: int, number: int) -> int:
    """As `inode`, of a thread's descriptor.

    ``/proc/TID/fd`` stays open, for from there the path is half as long. It is that thread's for
    ever: of another that has its id later, the kernel says ENOENT.
    """
    name = _NUMBERS[number] if number < 256 else b"%d" % number
    if (known := _fds.get(tid)) is not None:
        if not _syscall(_STATX, known, name, _DONT_SYNC, _STATX_INO, _buffer):
            return int(_ino(_buffer, 32)[0])
        os.close(_fds.pop(tid).value)
    try:
        known = ctypes.c_long(os.open(f"/proc/{tid}/fd", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return -1
    if len(_fds) >= _FDS_MAX:
        os.close(_fds.pop(next(iter(_fds))).value)
    _fds[tid] = known
    if _syscall(_STATX, known, name, _DONT_SYNC, _STATX_INO, _buffer):
        return -1
    return int(_ino(_buffer, 32)[0])


def forget_threads() -> None:
    """Close what `inode_of` keeps."""
    while _fds:
        os.close(_fds.popitem()[1].value)


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


class _Mine(threading.local):
    """A buffer for each thread that reads directories, made once: its pages cost more to get than a
    directory to read.
    """

    def __init__(self) -> None:
        self.records = ctypes.create_string_buffer(LARGEST)


_mine = _Mine()


def getdents64(fd: int, size: int) -> bytes:
    """getdents64(2): at most ``size`` bytes of records, b"" at the end. Raises OSError."""
    size, records = min(size, LARGEST), _mine.records
    count = _syscall(_GETDENTS64, ctypes.c_long(fd), records, ctypes.c_long(size))
    if count < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if not count:
        return b""
    found = ctypes.string_at(records, count)
    ctypes.memset(records, 0, count)  # the kernel leaves the room between two records as it is
    return found
