"""System calls of the test kit that Python's library does not wrap.

Every function raises OSError with the kernel's errno. They act on the calling thread alone, which
is what makes `viewosd.testing.identity` possible: the C library's functions would change all.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from typing import Final

from ..abi.arch import NATIVE
from ..abi.capability import LINUX_CAPABILITY_VERSION_3, cap_user_data
from ..abi.fcntl import AT_EMPTY_PATH, AT_FDCWD
from ..abi.sysno import SYSNO

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_NUMBER: Final = SYSNO[NATIVE]

Argument = int | bytes | ctypes.Array[ctypes.c_char] | None


def call(name: str, *args: Argument) -> int:
    """One system call by its name; bytes and buffers are passed by address."""
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = int(_syscall(ctypes.c_long(_NUMBER[name]), *words))
    if result == -1 and (code := ctypes.get_errno()):
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def filled(name: str, size: int, *args: Argument) -> bytes:
    """One system call that fills a buffer of ``size`` bytes; it stands where ``args`` has None."""
    buffer = ctypes.create_string_buffer(size)
    call(name, *(buffer if arg is None else arg for arg in args))
    return buffer.raw


def stat_raw(fd: int) -> bytes:
    """struct stat of an open file, also of one opened with O_PATH."""
    if "newfstatat" in _NUMBER:
        return filled("newfstatat", 144, fd, b"", None, AT_EMPTY_PATH)
    return filled("fstatat64", 128, fd, b"", None, AT_EMPTY_PATH)


def statx_raw(fd: int, flags: int, mask: int) -> bytes:
    """struct statx of an open file."""
    return filled("statx", 256, fd, b"", flags | AT_EMPTY_PATH, mask, None)


def statfs_raw(fd: int) -> bytes:
    """struct statfs of the file system that an open file is on."""
    return filled("fstatfs", 120, fd, None)


def getdents_raw(fd: int, size: int) -> bytes:
    """getdents64(2): at most ``size`` bytes of directory entries; moves the offset."""
    buffer = ctypes.create_string_buffer(size)
    got = call("getdents64", fd, buffer, size)
    return buffer.raw[:got]


def faccess(fd: int, mode: int, flags: int) -> None:
    """faccessat2(2) of an open file, by its inode alone."""
    call("faccessat2", fd, b"", mode, flags | AT_EMPTY_PATH)


def utimens(path: bytes, times: bytes | None) -> None:
    """utimensat(2), following links; ``times`` is two struct timespec, None is now."""
    call("utimensat", AT_FDCWD, path, times if times is not None else 0, 0)


def rename(old: int, oldpath: bytes, new: int, newpath: bytes, flags: int) -> None:
    """renameat2(2)."""
    call("renameat2", old, oldpath, new, newpath, flags)


def connect(fd: int, address: bytes) -> None:
    """connect(2) with an address as the kernel reads it."""
    call("connect", fd, address, len(address))


def bind(fd: int, address: bytes) -> None:
    """bind(2) with an address as the kernel reads it."""
    call("bind", fd, address, len(address))


# Whose rights ----------------------------------------------------------------------------------


def setfsuid(uid: int) -> None:
    """setfsuid(2), which never says whether it worked: so it is asked. EPERM: it did not."""
    call("setfsuid", uid)
    if call("setfsuid", 0xFFFF_FFFF) & 0xFFFF_FFFF != uid:
        raise PermissionError(1, "setfsuid")


def setfsgid(gid: int) -> None:
    """setfsgid(2), as `setfsuid`."""
    call("setfsgid", gid)
    if call("setfsgid", 0xFFFF_FFFF) & 0xFFFF_FFFF != gid:
        raise PermissionError(1, "setfsgid")


def setgroups(groups: Iterable[int]) -> None:
    """setgroups(2) of this thread."""
    ids = list(groups)
    call("setgroups", len(ids), struct.pack(f"={len(ids)}I", *ids))


_HEADER: Final = struct.pack("=Ii", LINUX_CAPABILITY_VERSION_3, 0)


def capabilities() -> tuple[int, int, int]:
    """This thread's effective, permitted and inheritable capabilities, as bit masks."""
    raw = filled("capget", 24, _HEADER, None)
    low, high = cap_user_data.unpack(raw[:12]), cap_user_data.unpack(raw[12:])
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2)."""
    masks = (effective, permitted, inheritable)
    low = struct.pack("=3I", *(mask & 0xFFFF_FFFF for mask in masks))
    call("capset", _HEADER, low + struct.pack("=3I", *(mask >> 32 for mask in masks)))
