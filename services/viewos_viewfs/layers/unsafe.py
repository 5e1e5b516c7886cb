"""The system calls that layers need and Python does not wrap: statx, openat2, renameat2.

Every function raises OSError with the kernel's errno.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Final, NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

# Source: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
_SYS_openat2: Final = 437
_SYS_renameat2: Final = 276 if platform.machine() == "aarch64" else 316
# Source: include/uapi/linux/openat2.h
_RESOLVE_NO_XDEV: Final = 0x01
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
# Source: include/uapi/linux/fs.h
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
# Source: include/uapi/linux/stat.h
_STATX_BTIME: Final = 0x0800
_STATX_ATTR_IMMUTABLE: Final = 0x10
_STATX_ATTR_APPEND: Final = 0x20
_STATX_ATTR_MOUNT_ROOT: Final = 0x2000
_AT_SYMLINK_NOFOLLOW: Final = 0x100


def _check(result: int, name: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)
    return result


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open below a directory: no symbolic link is followed, no mount point crossed. openat2(2).

    Args:
        path: relative; "" is the directory itself.

    Raises:
        OSError: ELOOP, there is a symbolic link; EXDEV, a mount point.
    """
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_XDEV
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    raw = os.fsencode(path) or b"."
    return _check(_libc.syscall(_SYS_openat2, directory, raw, how, ctypes.c_size_t(len(how))), path)


def rename(old_directory: int, old: str, new_directory: int, new: str, flags: int = 0) -> None:
    """renameat2(2)."""
    a, b = os.fsencode(old), os.fsencode(new)
    result = _libc.syscall(_SYS_renameat2, old_directory, a, new_directory, b, ctypes.c_uint(flags))
    _check(result, new)


class Birth(NamedTuple):
    """What statx(2) tells and stat(2) does not."""

    ns: int | None
    """When the inode was made, in nanoseconds since the epoch; None: not kept here."""
    fixed: bool
    """chattr(1) has made it immutable, or append-only."""
    mount_point: bool
    """It is the root of a mount."""


def birth(directory: int, name: str) -> Birth:
    """Ask about a name in a directory, not followed; "" is the directory itself."""
    raw = ctypes.create_string_buffer(256)
    path = os.fsencode(name)
    flags = _AT_SYMLINK_NOFOLLOW if path else 0x1000  # AT_EMPTY_PATH
    _check(_libc.statx(directory, path, flags, _STATX_BTIME, raw), name)
    mask, attributes = struct.unpack_from("=IxxxxQ", raw)
    seconds, nanoseconds = struct.unpack_from("=qI", raw, 80)  # stx_btime
    fixed = bool(attributes & (_STATX_ATTR_IMMUTABLE | _STATX_ATTR_APPEND))
    ns = seconds * 10**9 + nanoseconds if mask & _STATX_BTIME else None
    return Birth(ns, fixed, bool(attributes & _STATX_ATTR_MOUNT_ROOT))
