"""Calls that io_uring makes without the filter being asked, so that no hook would see them.

A ring's entries are worked off in the kernel: seccomp sees `io_uring_setup` and `io_uring_enter`,
not what they do. While any of these is trapped, `io_uring_setup` fails with ENOSYS: libraries that
use a ring fall back to plain calls, as they must on older kernels (and where it is switched off:
kernel.io_uring_disabled, Linux 6.6). Otherwise io_uring is untouched. A ring that a program has set
up before the call was hooked goes on.
"""

from __future__ import annotations

from typing import Final

from ..abi.arch import Arch
from ..abi.sysno import SYSNO
from .traps import Traps

# include/uapi/linux/io_uring.h, enum io_uring_op, Linux 6.18; under the names of the calls that do
# the same. An operation that several calls can do stands for all of them.
OPERATIONS: Final = frozenset(
    """
    accept accept4 bind close connect epoll_ctl epoll_pwait epoll_pwait2 epoll_wait fadvise64
    fadvise64_64 fallocate fgetxattr fsetxattr fsync fdatasync ftruncate ftruncate64 futex
    getsockopt getxattr link linkat listen madvise mkdir mkdirat open openat openat2 pipe pipe2
    poll ppoll pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readv recvfrom recvmsg
    rename renameat renameat2 rmdir sendmsg sendto setsockopt setxattr shutdown socket splice
    statx stat lstat newfstatat stat64 lstat64 fstatat64 symlink symlinkat sync_file_range tee
    unlink unlinkat waitid write writev creat socketcall
    """.split()  # noqa: SIM905
)


def refused(traps: Traps) -> tuple[str, ...]:
    """The calls that must fail with ENOSYS beside what ``traps`` traps."""
    for arch, numbers in traps.items():
        if any(SYSNO[Arch(arch)].get(name) in numbers for name in OPERATIONS):
            return ("io_uring_setup",)
    return ()
