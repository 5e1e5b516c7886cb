"""Making tasks and namespaces, and scheduling them.

Source: include/uapi/linux/sched.h, sched/types.h; clone(2), unshare(2), sched(7).
"""

from __future__ import annotations

from typing import Final

from .layout import Struct, s32, u32, u64

# fmt: off
CSIGNAL:              Final = 0x0000_00FF  # the signal to the parent; not of clone3
CLONE_NEWTIME:        Final = 0x0000_0080  # unshare and clone3 only
CLONE_VM:             Final = 0x0000_0100
CLONE_FS:             Final = 0x0000_0200
CLONE_FILES:          Final = 0x0000_0400
CLONE_SIGHAND:        Final = 0x0000_0800
CLONE_PIDFD:          Final = 0x0000_1000
CLONE_PTRACE:         Final = 0x0000_2000
CLONE_VFORK:          Final = 0x0000_4000
CLONE_PARENT:         Final = 0x0000_8000
CLONE_THREAD:         Final = 0x0001_0000
CLONE_NEWNS:          Final = 0x0002_0000
CLONE_SYSVSEM:        Final = 0x0004_0000
CLONE_SETTLS:         Final = 0x0008_0000
CLONE_PARENT_SETTID:  Final = 0x0010_0000
CLONE_CHILD_CLEARTID: Final = 0x0020_0000
CLONE_DETACHED:       Final = 0x0040_0000
CLONE_UNTRACED:       Final = 0x0080_0000
CLONE_CHILD_SETTID:   Final = 0x0100_0000
CLONE_NEWCGROUP:      Final = 0x0200_0000
CLONE_NEWUTS:         Final = 0x0400_0000
CLONE_NEWIPC:         Final = 0x0800_0000
CLONE_NEWUSER:        Final = 0x1000_0000
CLONE_NEWPID:         Final = 0x2000_0000
CLONE_NEWNET:         Final = 0x4000_0000
CLONE_IO:             Final = 0x8000_0000
CLONE_CLEAR_SIGHAND:  Final = 0x1_0000_0000  # clone3 only
CLONE_INTO_CGROUP:    Final = 0x2_0000_0000  # clone3 only

SCHED_NORMAL:   Final = 0
SCHED_FIFO:     Final = 1
SCHED_RR:       Final = 2
SCHED_BATCH:    Final = 3
SCHED_IDLE:     Final = 5
SCHED_DEADLINE: Final = 6
SCHED_EXT:      Final = 7  # 6.12
SCHED_RESET_ON_FORK: Final = 0x4000_0000
# fmt: on


class clone_args(Struct, size=88):
    """clone3(2). It may grow; the call says its size."""

    flags: u64
    pidfd: u64  # addresses
    child_tid: u64
    parent_tid: u64
    exit_signal: u64
    stack: u64
    stack_size: u64
    tls: u64
    set_tid: u64
    set_tid_size: u64
    cgroup: u64


class sched_param(Struct, size=4):
    """sched_setparam(2)."""

    sched_priority: s32


class sched_attr(Struct, size=56):
    """sched_setattr(2). It may grow; it says its size."""

    size: u32
    sched_policy: u32
    sched_flags: u64
    sched_nice: s32
    sched_priority: u32
    sched_runtime: u64  # nanoseconds
    sched_deadline: u64
    sched_period: u64
    sched_util_min: u32
    sched_util_max: u32
