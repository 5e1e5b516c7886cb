"""Signals: sending, blocking, handling, waiting for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import Fd, Flags, In, Int, Pid, Ptr, Size, ULong

if TYPE_CHECKING:
    from ..abi.time import timespec, timespec64


class Kill(Syscall, family=True):
    """kill(2), tkill(2), tgkill(2), rt_sigqueueinfo(2). By pidfd: a call of its own."""

    pid: Pid
    sig: Int


class kill(Kill):
    pid: Pid
    sig: Int


class tkill(Kill):
    pid: Pid
    sig: Int


class tgkill(Kill):
    tgid: Pid
    pid: Pid
    sig: Int


class rt_sigqueueinfo(Kill):
    pid: Pid
    sig: Int
    uinfo: Ptr


class rt_tgsigqueueinfo(Kill):
    tgid: Pid
    pid: Pid
    sig: Int
    uinfo: Ptr


class pidfd_send_signal(Syscall):
    pidfd: Fd
    sig: Int
    info: Ptr
    flags: Flags


class rt_sigaction(Syscall):
    sig: Int
    act: Ptr
    oact: Ptr
    sigsetsize: Size


class rt_sigprocmask(Syscall):
    how: Int
    nset: Ptr
    oset: Ptr
    sigsetsize: Size


class rt_sigpending(Syscall):
    uset: Ptr
    sigsetsize: Size


class rt_sigsuspend(Syscall):
    unewset: Ptr
    sigsetsize: Size


class rt_sigtimedwait(Syscall):
    uthese: Ptr
    uinfo: Ptr
    uts: In[timespec]
    sigsetsize: Size


class rt_sigtimedwait_time64(Syscall):
    uthese: Ptr
    uinfo: Ptr
    uts: In[timespec64]
    sigsetsize: Size


class rt_sigreturn(Syscall):
    """sigreturn(2): takes its frame from the stack."""


class sigaltstack(Syscall):
    uss: Ptr
    uoss: Ptr


class pause(Syscall):
    """pause(2)."""


class restart_syscall(Syscall):
    """restart_syscall(2)."""


# i386 alone ------------------------------------------------------------------------------------


class signal(Syscall):
    sig: Int
    handler: Ptr


class sigaction(Syscall):
    sig: Int
    act: Ptr
    oact: Ptr


class sigpending(Syscall):
    uset: Ptr


class sigprocmask(Syscall):
    how: Int
    nset: Ptr
    oset: Ptr


class sigsuspend(Syscall):
    unused1: Int
    unused2: Int
    mask: ULong


class sigreturn(Syscall):
    """sigreturn(2): takes its frame from the stack."""


class sgetmask(Syscall):
    """sgetmask(2)."""


class ssetmask(Syscall):
    newmask: Int
