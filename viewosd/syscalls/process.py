"""Processes: making, running, ending, naming, and where they stand (cwd, root, umask)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import (
    Buffer,
    CStr,
    DirFd,
    Fd,
    Flags,
    In,
    Int,
    Long,
    Out,
    Pid,
    Ptr,
    Size,
    StrArray,
    UInt,
    ULong,
)
from .paths import CWD, FOLLOW, ByPath

if TYPE_CHECKING:
    from ..abi.resource import rlimit, rlimit64, rusage
    from ..abi.sched import clone_args

# Run -------------------------------------------------------------------------------------------


class Exec(ByPath, family=True):
    """Run a program: execve(2), execveat(2)."""

    dirfd: DirFd
    path: CStr
    argv: StrArray
    envp: StrArray
    flags: Flags


class execve(Exec):
    path: CStr
    argv: StrArray
    envp: StrArray
    dirfd, flags = CWD, FOLLOW


class execveat(Exec):
    dirfd: DirFd
    path: CStr
    argv: StrArray
    envp: StrArray
    flags: Flags


class Fork(Syscall, family=True):
    """fork(2), vfork(2), clone(2), clone3(2)."""


class fork(Fork):
    """fork(2)."""


class vfork(Fork):
    """vfork(2)."""


class clone(Fork):
    clone_flags: ULong
    newsp: Ptr
    parent_tidptr: Ptr
    child_tidptr: Ptr
    tls: ULong
    # CONFIG_CLONE_BACKWARDS (kernel/fork.c): the last two change places.
    compat = ("clone_flags", "newsp", "parent_tidptr", "tls", "child_tidptr")
    aarch64 = compat


class clone3(Fork):
    uargs: In[clone_args]
    size: Size


class exit(Syscall):
    error_code: Int


class exit_group(Syscall):
    error_code: Int


class Wait(Syscall, family=True):
    """wait4(2), waitid(2), i386's waitpid. ``pid`` is waitid's id, of the type that it says."""

    pid: Pid
    options: Int


class wait4(Wait):
    pid: Pid
    stat_addr: Ptr  # int *
    options: Int
    ru: Out[rusage]


class waitid(Wait):
    which: Int
    pid: Pid
    infop: Ptr  # siginfo_t *
    options: Int
    ru: Out[rusage]


class waitpid(Wait):
    pid: Pid
    stat_addr: Ptr
    options: Int


# Where it stands -------------------------------------------------------------------------------


class Chdir(ByPath, family=True):
    """chdir(2) and chroot(2): the calls that make a path the tracee's own."""


class chdir(Chdir):
    path: CStr
    dirfd = CWD


class chroot(Chdir):
    path: CStr
    dirfd = CWD


class fchdir(Syscall):
    fd: Fd


class getcwd(Syscall):
    buf: Buffer
    size: ULong


class umask(Syscall):
    mask: Int


# Namespaces, ids of processes ------------------------------------------------------------------


class unshare(Syscall):
    flags: ULong  # CLONE_*


class setns(Syscall):
    fd: Fd
    flags: Flags


class getpid(Syscall):
    """getpid(2)."""


class getppid(Syscall):
    """getppid(2)."""


class gettid(Syscall):
    """gettid(2)."""


class getpgid(Syscall):
    pid: Pid


class setpgid(Syscall):
    pid: Pid
    pgid: Pid


class getpgrp(Syscall):
    """getpgrp(2)."""


class getsid(Syscall):
    pid: Pid


class setsid(Syscall):
    """setsid(2)."""


class set_tid_address(Syscall):
    tidptr: Ptr


class pidfd_open(Syscall):
    pid: Pid
    flags: Flags


class pidfd_getfd(Syscall):
    pidfd: Fd
    fd: Fd
    flags: Flags


class kcmp(Syscall):
    pid1: Pid
    pid2: Pid
    type: Int
    idx1: ULong
    idx2: ULong


# Steering --------------------------------------------------------------------------------------


class ptrace(Syscall):
    request: Long
    pid: Long
    addr: ULong
    data: ULong


class prctl(Syscall):
    option: Int
    arg2: ULong
    arg3: ULong
    arg4: ULong
    arg5: ULong


class arch_prctl(Syscall):
    option: Int
    arg2: ULong


class seccomp(Syscall):
    op: UInt
    flags: Flags
    uargs: Ptr


class personality(Syscall):
    personality: UInt


class process_vm_readv(Syscall):
    pid: Pid
    lvec: Ptr
    liovcnt: ULong
    rvec: Ptr
    riovcnt: ULong
    flags: ULong


class process_vm_writev(Syscall):
    pid: Pid
    lvec: Ptr
    liovcnt: ULong
    rvec: Ptr
    riovcnt: ULong
    flags: ULong


# Limits ----------------------------------------------------------------------------------------


class Getrlimit(Syscall, family=True):
    """getrlimit(2), i386's ugetrlimit. prlimit64 does both and is a call of its own."""

    resource: UInt
    rlim: Out[rlimit]


class getrlimit(Getrlimit):
    resource: UInt
    rlim: Out[rlimit]  # on i386 what exceeds 0x7FFFFFFF is cut to it (kernel/sys.c:old_getrlimit)


class ugetrlimit(Getrlimit):
    resource: UInt
    rlim: Out[rlimit]


class setrlimit(Syscall):
    resource: UInt
    rlim: In[rlimit]


class prlimit64(Syscall):
    pid: Pid
    resource: UInt
    new_rlim: In[rlimit64]
    old_rlim: Out[rlimit64]


class getrusage(Syscall):
    who: Int
    ru: Out[rusage]
