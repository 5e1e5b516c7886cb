"""The kernel calls that clients make and Python does not wrap. See runtime/unsafe.py.

Every function raises OSError with the kernel's errno.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Final

from viewosd.abi.seccomp import (
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_USER_NOTIF,
    SECCOMP_SET_MODE_FILTER,
)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.process_vm_readv.restype = ctypes.c_ssize_t

_AARCH64: Final = platform.machine() == "aarch64"
# Source: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
_SYS_seccomp: Final = 277 if _AARCH64 else 317
_SYS_getppid: Final = 173 if _AARCH64 else 110
_SYS_openat2: Final = 437
_SYS_pidfd_getfd: Final = 438
_PR_SET_NO_NEW_PRIVS: Final = 38
_PTRACE_SEIZE: Final = 0x4206
CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWUSER: Final = 0x1000_0000


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def listen_to_getppid(flags: int = 0) -> int:
    """Make getppid(2) of this process a notification; the listener. seccomp(2).

    For a child that ends soon: neither this nor PR_SET_NO_NEW_PRIVS can be taken back.
    """
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0))
    # struct sock_filter: code, jump if true, if false, k; include/uapi/linux/filter.h
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (0x20, 0, 0, 0),  # BPF_LD|BPF_W|BPF_ABS: seccomp_data.nr
            (0x15, 0, 1, _SYS_getppid),  # BPF_JMP|BPF_JEQ|BPF_K
            (0x06, 0, 0, SECCOMP_RET_USER_NOTIF),  # BPF_RET|BPF_K
            (0x06, 0, 0, SECCOMP_RET_ALLOW),
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER
    return _check(
        _libc.syscall(_SYS_seccomp, SECCOMP_SET_MODE_FILTER, ctypes.c_ulong(flags), fprog)
    )


def getppid() -> int:
    """The raw call: what the listener answered."""
    return _check(_libc.syscall(_SYS_getppid))


def pidfd_getfd(pidfd: int, number: int) -> int:
    """pidfd_getfd(2), Linux 5.6."""
    return _check(_libc.syscall(_SYS_pidfd_getfd, pidfd, number, 0))


def openat2(dirfd: int, path: bytes, flags: int, resolve: int) -> int:
    """openat2(2), Linux 5.6."""
    how = struct.pack("=QQQ", flags, 0, resolve)
    return _check(_libc.syscall(_SYS_openat2, dirfd, path, how, ctypes.c_size_t(len(how))))


def read_other(pid: int, length: int = 16) -> bytes:
    """``length`` bytes of another process's memory: process_vm_readv(2).

    A forked child has this library's code at the same address; what is read is of no interest.
    """
    address = ctypes.cast(_libc.getpid, ctypes.c_void_p).value
    buffer = ctypes.create_string_buffer(length)
    local = struct.pack("PN", ctypes.addressof(buffer), length)
    remote = struct.pack("PN", address, length)
    got = _check(
        _libc.process_vm_readv(
            pid, local, ctypes.c_ulong(1), remote, ctypes.c_ulong(1), ctypes.c_ulong(0)
        )
    )
    return buffer.raw[:got]


def ptrace_seize(pid: int) -> None:
    """PTRACE_SEIZE, ptrace(2); the tracee runs on, and is let go when we or it end."""
    _check(_libc.ptrace(ctypes.c_long(_PTRACE_SEIZE), ctypes.c_long(pid), None, None))


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags))


def mount(source: bytes, target: bytes, type: bytes | None, flags: int, data: bytes) -> None:
    """mount(2)."""
    _check(_libc.mount(source, target, type, ctypes.c_ulong(flags), data or None))


def umount(target: bytes, flags: int) -> None:
    """umount2(2)."""
    _check(_libc.umount2(target, flags))
