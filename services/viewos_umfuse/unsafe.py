"""Kernel calls that Python's library does not wrap. Each raises OSError with the kernel's errno."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def renameat2(parent: int, name: bytes, to: int, to_name: bytes, flags: int) -> None:
    """rename(2) with flags; glibc 2.28."""
    _check(_libc.renameat2(parent, name, to, to_name, ctypes.c_uint(flags)))


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2)."""
    _check(_libc.fallocate64(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def _check(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
