"""Namespaces and mounts: kernel calls that Python's library does not wrap.

Every function raises OSError with the kernel's errno. Numbers above 423 are the same on every
architecture. Source: include/uapi/asm-generic/unistd.h; the man page of each call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from typing import Final

from ..abi.capability import (
    LINUX_CAPABILITY_U32S_3,
    LINUX_CAPABILITY_VERSION_3,
    cap_user_data,
    cap_user_header,
)
from ..keeper.unsafe import check, libc

CLONE_FS: Final = 0x0000_0200
CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWNET: Final = 0x4000_0000

SYS_OPEN_TREE: Final = 428
SYS_MOVE_MOUNT: Final = 429
SYS_FSOPEN: Final = 430
SYS_FSCONFIG: Final = 431
SYS_FSMOUNT: Final = 432
SYS_FSPICK: Final = 433
SYS_OPENAT2: Final = 437
SYS_MOUNT_SETATTR: Final = 442  # 5.12
SYS_PIDFD_GETFD: Final = 438  # 5.6
SYS_PIVOT_ROOT: Final = 41 if os.uname().machine == "aarch64" else 155

PR_SET_KEEPCAPS: Final = 8
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_RAISE: Final = 2

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000

_syscall = libc.syscall
_syscall.restype = ctypes.c_long
_u = ctypes.c_uint


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(libc.unshare(flags), "unshare")


def setns(fd: int, flags: int = 0) -> None:
    """setns(2)."""
    check(libc.setns(fd, flags), "setns")


def drop_capabilities() -> None:
    """No capability, and none to come: capset(2)."""
    header = cap_user_header(version=LINUX_CAPABILITY_VERSION_3, pid=0)
    none = cap_user_data(effective=0, permitted=0, inheritable=0)
    check(libc.capset(header.pack(), none.pack() * LINUX_CAPABILITY_U32S_3), "capset")


def keep_in_programs(capability: int) -> None:
    """What this process executes has a capability, whoever it belongs to: PR_CAP_AMBIENT(2const).

    All others go with exec, unless root executes.
    """
    header = cap_user_header(version=LINUX_CAPABILITY_VERSION_3, pid=0).pack()
    sets = ctypes.create_string_buffer(12 * LINUX_CAPABILITY_U32S_3)
    check(libc.capget(header, sets), "capget")
    words = list(struct.unpack("=6I", sets.raw))
    words[2 + 3 * (capability // 32)] |= 1 << capability % 32
    check(libc.capset(header, struct.pack("=6I", *words)), "capset")
    number, zero = ctypes.c_ulong(capability), ctypes.c_ulong(0)
    check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, zero, zero), "prctl")


def keep_capabilities(capabilities: int, change: Callable[[], object]) -> None:
    """Have these capabilities and no others, a bit mask, effective and permitted, after ``change``,
    which may give up being root: PR_SET_KEEPCAPS(2const), capset(2).
    """
    check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl")
    change()
    header = cap_user_header(version=LINUX_CAPABILITY_VERSION_3, pid=0).pack()
    data = b"".join(
        cap_user_data(effective=word, permitted=word, inheritable=0).pack()
        for word in (capabilities & 0xFFFF_FFFF, capabilities >> 32)
    )
    check(libc.capset(header, data), "capset")


def pidfd_getfd(pidfd: int, number: int) -> int:
    """A duplicate of another process's descriptor, close-on-exec: pidfd_getfd(2)."""
    return check(_syscall(SYS_PIDFD_GETFD, pidfd, number, 0), "pidfd_getfd")


def mount(
    source: bytes | None,
    target: bytes,
    fstype: bytes | None,
    flags: int,
    data: bytes | None = None,
) -> None:
    """mount(2)."""
    check(libc.mount(source, target, fstype, ctypes.c_ulong(flags), data), "mount")


def umount2(target: bytes, flags: int) -> None:
    """umount2(2)."""
    check(libc.umount2(target, flags), "umount2")


def pivot_root(new_root: bytes, put_old: bytes) -> None:
    """pivot_root(2)."""
    check(_syscall(SYS_PIVOT_ROOT, new_root, put_old), "pivot_root")


def fsopen(name: bytes, flags: int) -> int:
    """fsopen(2)."""
    return check(_syscall(SYS_FSOPEN, name, _u(flags)), "fsopen")


def fsconfig(
    fd: int,
    cmd: int,
    key: bytes | None,
    value: bytes | None,
    aux: int = 0,
    *,
    explained: bool = True,
) -> None:
    """fsconfig(2).

    Args:
        explained: the error's text is what the file system says to it, which nobody can read from
            ``fd`` any more then.
    """
    result = _syscall(SYS_FSCONFIG, fd, _u(cmd), key, value, ctypes.c_int(aux))
    if result < 0 and explained:
        raise _explained(fd)
    check(result, "fsconfig")


def fsmount(fd: int, flags: int, attributes: int) -> int:
    """fsmount(2)."""
    result = int(_syscall(SYS_FSMOUNT, fd, _u(flags), _u(attributes)))
    if result < 0:
        raise _explained(fd)
    return result


def fspick(dirfd: int, path: bytes, flags: int) -> int:
    """fspick(2)."""
    return check(_syscall(SYS_FSPICK, dirfd, path, _u(flags)), "fspick")


def open_tree(dirfd: int, path: bytes, flags: int) -> int:
    """open_tree(2)."""
    return check(_syscall(SYS_OPEN_TREE, dirfd, path, _u(flags)), "open_tree")


def move_mount(from_fd: int, from_path: bytes, to_fd: int, to_path: bytes, flags: int) -> None:
    """move_mount(2)."""
    check(_syscall(SYS_MOVE_MOUNT, from_fd, from_path, to_fd, to_path, _u(flags)), "move_mount")


def mount_setattr(dirfd: int, path: bytes, flags: int, attr: bytes) -> None:
    """mount_setattr(2); ``attr`` is a struct mount_attr."""
    size = ctypes.c_size_t(len(attr))
    check(_syscall(SYS_MOUNT_SETATTR, dirfd, path, _u(flags), attr, size), "mount_setattr")


def openat2(dirfd: int, path: bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), Linux 5.6."""
    how = struct.pack("=QQQ", flags, mode, resolve)
    return check(_syscall(SYS_OPENAT2, dirfd, path, how, ctypes.c_size_t(24)), "openat2")


def _explained(fd: int) -> OSError:
    """The error of the last call, in the words of the file system's log: fsconfig(2)."""
    code = ctypes.get_errno()
    lines = []
    try:
        while line := os.read(fd, 1024):
            if line[:2] in (b"e ", b"w "):
                lines.append(line[2:].decode(errors="replace").strip())
    except OSError:
        pass  # ENODATA: there is no more
    return OSError(code or errno.EIO, "; ".join(lines) or os.strerror(code))
