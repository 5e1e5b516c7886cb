"""Waiting for descriptors and for events: poll, select, epoll, eventfd, signalfd, futex."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import Fd, Flags, In, InOut, Int, Ptr, Size, UInt, ULong

if TYPE_CHECKING:
    from ..abi.poll import epoll_event, sigset_argpack
    from ..abi.poll import sel_arg_struct as struct_sel_arg
    from ..abi.time import timespec, timespec64, timeval


class Poll(Syscall, family=True):
    """poll(2), ppoll(2). ``fds`` is pollfd[nfds]."""

    fds: Ptr
    nfds: UInt


class poll(Poll):
    fds: Ptr
    nfds: UInt
    timeout: Int  # milliseconds; negative: for ever


class ppoll(Poll):
    fds: Ptr
    nfds: UInt
    tsp: InOut[timespec]
    sigmask: Ptr
    sigsetsize: Size


class ppoll_time64(Poll):
    fds: Ptr
    nfds: UInt
    tsp: InOut[timespec64]
    sigmask: Ptr
    sigsetsize: Size


class Select(Syscall, family=True):
    """select(2), pselect6, i386's _newselect. The sets are fd_set, whole longs for ``n`` bits.

    i386's select (82) is `old_select`, whose arguments lie in memory.
    """

    n: Int
    inp: Ptr
    outp: Ptr
    exp: Ptr


class select(Select):
    n: Int
    inp: Ptr
    outp: Ptr
    exp: Ptr
    tvp: InOut[timeval]


class _newselect(Select):
    n: Int
    inp: Ptr
    outp: Ptr
    exp: Ptr
    tvp: InOut[timeval]


class pselect6(Select):
    n: Int
    inp: Ptr
    outp: Ptr
    exp: Ptr
    tsp: InOut[timespec]
    sig: In[sigset_argpack]


class pselect6_time64(Select):
    n: Int
    inp: Ptr
    outp: Ptr
    exp: Ptr
    tsp: InOut[timespec64]
    sig: In[sigset_argpack]


class old_select(Syscall):
    """What i386 calls select (82)."""

    arg: In[struct_sel_arg]


class EpollCreate(Syscall, family=True):
    """epoll_create(2), epoll_create1(2)."""

    flags: Flags


class epoll_create(EpollCreate):
    size: Int
    flags = Flags(0)


class epoll_create1(EpollCreate):
    flags: Flags


class epoll_ctl(Syscall):
    epfd: Fd
    op: Int
    fd: Fd
    event: In[epoll_event]


class EpollWait(Syscall, family=True):
    """epoll_wait(2), epoll_pwait(2), epoll_pwait2(2). ``events`` is epoll_event[maxevents]."""

    epfd: Fd
    events: Ptr
    maxevents: Int


class epoll_wait(EpollWait):
    epfd: Fd
    events: Ptr
    maxevents: Int
    timeout: Int


class epoll_pwait(EpollWait):
    epfd: Fd
    events: Ptr
    maxevents: Int
    timeout: Int
    sigmask: Ptr
    sigsetsize: Size


class epoll_pwait2(EpollWait):
    epfd: Fd
    events: Ptr
    maxevents: Int
    timeout: In[timespec64]
    sigmask: Ptr
    sigsetsize: Size


class Eventfd(Syscall, family=True):
    """eventfd(2), eventfd2(2)."""

    count: UInt
    flags: Flags


class eventfd(Eventfd):
    count: UInt
    flags = Flags(0)


class eventfd2(Eventfd):
    count: UInt
    flags: Flags


class Signalfd(Syscall, family=True):
    """signalfd(2), signalfd4. ``fd`` -1 makes a new one."""

    fd: Fd
    user_mask: Ptr
    sizemask: Size
    flags: Flags


class signalfd(Signalfd):
    fd: Fd
    user_mask: Ptr
    sizemask: Size
    flags = Flags(0)


class signalfd4(Signalfd):
    fd: Fd
    user_mask: Ptr
    sizemask: Size
    flags: Flags


class Futex(Syscall, family=True):
    """futex(2): the multiplexer in both its forms."""

    uaddr: Ptr
    op: Int
    val: UInt


class futex(Futex):
    uaddr: Ptr
    op: Int
    val: UInt
    utime: In[timespec]  # or a number, for FUTEX_*REQUEUE and FUTEX_WAKE_OP
    uaddr2: Ptr
    val3: UInt


class futex_time64(Futex):
    uaddr: Ptr
    op: Int
    val: UInt
    utime: In[timespec64]
    uaddr2: Ptr
    val3: UInt


class futex_waitv(Syscall):
    waiters: Ptr
    nr_futexes: UInt
    flags: Flags
    timeout: In[timespec64]
    clockid: Int


class futex_wake(Syscall):
    uaddr: Ptr
    mask: ULong
    nr: Int
    flags: Flags


class futex_wait(Syscall):
    uaddr: Ptr
    val: ULong
    mask: ULong
    flags: Flags
    timeout: In[timespec64]
    clockid: Int


class futex_requeue(Syscall):
    waiters: Ptr
    flags: Flags
    nr_wake: Int
    nr_requeue: Int


class set_robust_list(Syscall):
    head: Ptr
    len: Size


class get_robust_list(Syscall):
    pid: Int
    head_ptr: Ptr
    len_ptr: Ptr
