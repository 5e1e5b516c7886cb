"""Limits and usage. Source: include/uapi/linux/resource.h, asm-generic/resource.h; getrlimit(2)."""

from __future__ import annotations

from typing import Final

from .layout import Struct, s32, s64, u32, u64

# fmt: off
RLIMIT_CPU:        Final = 0
RLIMIT_FSIZE:      Final = 1
RLIMIT_DATA:       Final = 2
RLIMIT_STACK:      Final = 3
RLIMIT_CORE:       Final = 4
RLIMIT_RSS:        Final = 5
RLIMIT_NPROC:      Final = 6
RLIMIT_NOFILE:     Final = 7
RLIMIT_MEMLOCK:    Final = 8
RLIMIT_AS:         Final = 9
RLIMIT_LOCKS:      Final = 10
RLIMIT_SIGPENDING: Final = 11
RLIMIT_MSGQUEUE:   Final = 12
RLIMIT_NICE:       Final = 13
RLIMIT_RTPRIO:     Final = 14
RLIMIT_RTTIME:     Final = 15

RLIM_INFINITY:        Final = (1 << 64) - 1
COMPAT_RLIM_INFINITY: Final = (1 << 32) - 1  # include/linux/compat.h

RUSAGE_SELF:     Final = 0
RUSAGE_CHILDREN: Final = -1
RUSAGE_THREAD:   Final = 1

PRIO_PROCESS: Final = 0
PRIO_PGRP:    Final = 1
PRIO_USER:    Final = 2
# fmt: on


class compat_rlimit(Struct, size=8, packed=True):
    """`rlimit` of a 32-bit program; COMPAT_RLIM_INFINITY stands for RLIM_INFINITY."""

    rlim_cur: u32
    rlim_max: u32


class rlimit(Struct, size=16):
    """A limit: what holds now, and how far it may be raised."""

    compat = compat_rlimit

    rlim_cur: u64
    rlim_max: u64


class rlimit64(Struct, size=16):
    """prlimit64(2): 64 bits for 32-bit programs too."""

    rlim_cur: u64
    rlim_max: u64


class compat_rusage(Struct, size=72, packed=True):
    """`rusage` of a 32-bit program. Source: include/linux/compat.h."""

    ru_utime_tv_sec: s32
    ru_utime_tv_usec: s32
    ru_stime_tv_sec: s32
    ru_stime_tv_usec: s32
    ru_maxrss: s32
    ru_ixrss: s32
    ru_idrss: s32
    ru_isrss: s32
    ru_minflt: s32
    ru_majflt: s32
    ru_nswap: s32
    ru_inblock: s32
    ru_oublock: s32
    ru_msgsnd: s32
    ru_msgrcv: s32
    ru_nsignals: s32
    ru_nvcsw: s32
    ru_nivcsw: s32


class rusage(Struct, size=144):
    """getrusage(2), wait4(2)."""

    compat = compat_rusage

    ru_utime_tv_sec: s64
    ru_utime_tv_usec: s64
    ru_stime_tv_sec: s64
    ru_stime_tv_usec: s64
    ru_maxrss: s64  # KiB
    ru_ixrss: s64
    ru_idrss: s64
    ru_isrss: s64
    ru_minflt: s64
    ru_majflt: s64
    ru_nswap: s64
    ru_inblock: s64
    ru_oublock: s64
    ru_msgsnd: s64
    ru_msgrcv: s64
    ru_nsignals: s64
    ru_nvcsw: s64
    ru_nivcsw: s64
