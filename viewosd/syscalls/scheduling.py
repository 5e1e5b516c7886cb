"""Scheduling: priorities, policies, processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import Flags, In, Int, Out, Pid, Ptr, UInt

if TYPE_CHECKING:
    from ..abi.sched import sched_attr, sched_param
    from ..abi.time import timespec, timespec64


class getpriority(Syscall):
    which: Int
    who: Int


class setpriority(Syscall):
    which: Int
    who: Int
    niceval: Int


class nice(Syscall):
    increment: Int


class ioprio_get(Syscall):
    which: Int
    who: Int


class ioprio_set(Syscall):
    which: Int
    who: Int
    ioprio: Int


class sched_yield(Syscall):
    """sched_yield(2)."""


class sched_setparam(Syscall):
    pid: Pid
    param: In[sched_param]


class sched_getparam(Syscall):
    pid: Pid
    param: Out[sched_param]


class sched_setscheduler(Syscall):
    pid: Pid
    policy: Int
    param: In[sched_param]


class sched_getscheduler(Syscall):
    pid: Pid


class sched_setattr(Syscall):
    pid: Pid
    attr: In[sched_attr]
    flags: Flags


class sched_getattr(Syscall):
    pid: Pid
    attr: Out[sched_attr]
    usize: UInt
    flags: Flags


class sched_get_priority_max(Syscall):
    policy: Int


class sched_get_priority_min(Syscall):
    policy: Int


class sched_rr_get_interval(Syscall):
    pid: Pid
    interval: Out[timespec]


class sched_rr_get_interval_time64(Syscall):
    pid: Pid
    interval: Out[timespec64]


class sched_setaffinity(Syscall):
    pid: Pid
    len: UInt
    user_mask_ptr: Ptr


class sched_getaffinity(Syscall):
    pid: Pid
    len: UInt
    user_mask_ptr: Ptr


class membarrier(Syscall):
    cmd: Int
    flags: Flags
    cpu_id: Int


class rseq(Syscall):
    rseq: Ptr
    rseq_len: UInt
    flags: Flags
    sig: UInt
