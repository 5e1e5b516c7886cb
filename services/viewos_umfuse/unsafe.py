"""Kernel calls that Python's library does not wrap. Each raises OSError with the kernel's errno."""

from __future__ import annotations

import ctypes
import os
from typing import Final

from viewosd.abi.stat import STATX_BTIME, statx

_AT_EMPTY_PATH: Final = 0x1000
_libc = ctypes.CDLL(None, use_errno=True)


def renameat2(parent: int, name: bytes, to: int, to_name: bytes, flags: int) -> None:
    """rename(2) with flags; glibc 2.28."""
    _check(_libc.renameat2(parent, name, to, to_name, ctypes.c_uint(flags)))


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2)."""
    _check(_libc.fallocate64(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def getdents64(fd: int, size: int) -> bytes:
    """getdents64(2): whole records, as many as ``size`` bytes hold; b"": the end."""
    buffer = ctypes.create_string_buffer(size)
    number = 61 if os.uname().machine == "aarch64" else 217
    length = _check(_libc.syscall(number, fd, buffer, size))
    return buffer.raw[:length]


def born_ns(fd: int) -> int:
    """When a file was made: statx(2), STATX_BTIME; 0: its file system does not know."""
    buffer = ctypes.create_string_buffer(statx.sizeof)
    _check(_libc.statx(fd, b"", _AT_EMPTY_PATH, STATX_BTIME, buffer))
    told = statx.unpack(buffer.raw)
    if not told.stx_mask & STATX_BTIME:
        return 0
    return told.stx_btime_tv_sec * 1_000_000_000 + told.stx_btime_tv_nsec


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
