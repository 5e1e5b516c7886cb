"""Clocks and times. Source: include/uapi/linux/time.h, time_types.h, timex.h; clock_gettime(2).

``timespec`` and friends are 32-bit for an i386 program; its ``*_time64`` calls take `timespec64`,
which is the same everywhere (``struct __kernel_timespec`` of the headers).
"""

from __future__ import annotations

from typing import Annotated, Final

from .layout import Struct, s32, s64, u32

# fmt: off
CLOCK_REALTIME:           Final = 0
CLOCK_MONOTONIC:          Final = 1
CLOCK_PROCESS_CPUTIME_ID: Final = 2
CLOCK_THREAD_CPUTIME_ID:  Final = 3
CLOCK_MONOTONIC_RAW:      Final = 4
CLOCK_REALTIME_COARSE:    Final = 5
CLOCK_MONOTONIC_COARSE:   Final = 6
CLOCK_BOOTTIME:           Final = 7
CLOCK_REALTIME_ALARM:     Final = 8
CLOCK_BOOTTIME_ALARM:     Final = 9
CLOCK_TAI:                Final = 11

TIMER_ABSTIME: Final = 1  # clock_nanosleep(2), timer_settime(2)

TFD_TIMER_ABSTIME:       Final = 1 << 0  # timerfd_settime(2)
TFD_TIMER_CANCEL_ON_SET: Final = 1 << 1

ITIMER_REAL:    Final = 0
ITIMER_VIRTUAL: Final = 1
ITIMER_PROF:    Final = 2

# utimensat(2), in tv_nsec. Source: include/uapi/linux/stat.h
UTIME_NOW:  Final = (1 << 30) - 1
UTIME_OMIT: Final = (1 << 30) - 2

# adjtimex(2), modes
ADJ_OFFSET:            Final = 0x0001
ADJ_FREQUENCY:         Final = 0x0002
ADJ_MAXERROR:          Final = 0x0004
ADJ_ESTERROR:          Final = 0x0008
ADJ_STATUS:            Final = 0x0010
ADJ_TIMECONST:         Final = 0x0020
ADJ_TAI:               Final = 0x0080
ADJ_SETOFFSET:         Final = 0x0100
ADJ_MICRO:             Final = 0x1000
ADJ_NANO:              Final = 0x2000
ADJ_TICK:              Final = 0x4000
ADJ_OFFSET_SINGLESHOT: Final = 0x8001
ADJ_OFFSET_SS_READ:    Final = 0xA001

NSEC_PER_SEC: Final = 1_000_000_000
# fmt: on


class old_timespec32(Struct, size=8, packed=True):
    """`timespec` of a 32-bit program. Source: include/vdso/time32.h."""

    tv_sec: s32
    tv_nsec: s32


class timespec(Struct, size=16):
    """Seconds and nanoseconds, as the calls without ``64`` in their name take them."""

    compat = old_timespec32

    tv_sec: s64
    tv_nsec: s64


class timespec64(Struct, size=16):
    """``struct __kernel_timespec``: 64 bits for 32-bit programs too."""

    tv_sec: s64
    tv_nsec: s64


class old_timeval32(Struct, size=8, packed=True):
    """`timeval` of a 32-bit program. Source: include/vdso/time32.h."""

    tv_sec: s32
    tv_usec: s32


class timeval(Struct, size=16):
    """Seconds and microseconds (``struct __kernel_old_timeval``)."""

    compat = old_timeval32

    tv_sec: s64
    tv_usec: s64


class old_itimerspec32(Struct, size=16, packed=True):
    """`itimerspec` of a 32-bit program."""

    it_interval_tv_sec: s32
    it_interval_tv_nsec: s32
    it_value_tv_sec: s32
    it_value_tv_nsec: s32


class itimerspec(Struct, size=32):
    """A timer: period, and time to (or of) its first expiry."""

    compat = old_itimerspec32

    it_interval_tv_sec: s64
    it_interval_tv_nsec: s64
    it_value_tv_sec: s64
    it_value_tv_nsec: s64


class itimerspec64(Struct, size=32):
    """``struct __kernel_itimerspec``: 64 bits for 32-bit programs too."""

    it_interval_tv_sec: s64
    it_interval_tv_nsec: s64
    it_value_tv_sec: s64
    it_value_tv_nsec: s64


class old_itimerval32(Struct, size=16, packed=True):
    """`itimerval` of a 32-bit program."""

    it_interval_tv_sec: s32
    it_interval_tv_usec: s32
    it_value_tv_sec: s32
    it_value_tv_usec: s32


class itimerval(Struct, size=32):
    """An interval timer, setitimer(2) (``struct __kernel_old_itimerval``)."""

    compat = old_itimerval32

    it_interval_tv_sec: s64
    it_interval_tv_usec: s64
    it_value_tv_sec: s64
    it_value_tv_usec: s64


class timezone(Struct, size=8):
    """gettimeofday(2)'s second structure; the kernel keeps it, nobody uses it."""

    tz_minuteswest: s32
    tz_dsttime: s32


class old_utimbuf32(Struct, size=8, packed=True):
    """`utimbuf` of a 32-bit program."""

    actime: s32
    modtime: s32


class utimbuf(Struct, size=16):
    """utime(2). Source: include/uapi/linux/utime.h."""

    compat = old_utimbuf32

    actime: s64
    modtime: s64


class compat_tms(Struct, size=16, packed=True):
    """`tms` of a 32-bit program."""

    tms_utime: s32
    tms_stime: s32
    tms_cutime: s32
    tms_cstime: s32


class tms(Struct, size=32):
    """times(2), in clock ticks (100 a second). Source: include/uapi/linux/times.h."""

    compat = compat_tms

    tms_utime: s64
    tms_stime: s64
    tms_cutime: s64
    tms_cstime: s64


class old_timex32(Struct, size=128, packed=True):
    """`timex` of a 32-bit program. Source: include/linux/time32.h."""

    modes: u32
    offset: s32
    freq: s32
    maxerror: s32
    esterror: s32
    status: s32
    constant: s32
    precision: s32
    tolerance: s32
    time_tv_sec: s32
    time_tv_usec: s32
    tick: s32
    ppsfreq: s32
    jitter: s32
    shift: s32
    stabil: s32
    jitcnt: s32
    calcnt: s32
    errcnt: s32
    stbcnt: s32
    tai: Annotated[int, "i44x"]


class timex(Struct, size=208):
    """adjtimex(2) (``struct __kernel_timex``)."""

    compat = old_timex32

    modes: u32
    offset: s64
    freq: s64
    maxerror: s64
    esterror: s64
    status: s32
    constant: s64
    precision: s64
    tolerance: s64
    time_tv_sec: s64
    time_tv_usec: s64
    tick: s64
    ppsfreq: s64
    jitter: s64
    shift: s32
    stabil: s64
    jitcnt: s64
    calcnt: s64
    errcnt: s64
    stbcnt: s64
    tai: Annotated[int, "i44x"]


class timex64(Struct, size=208):
    """``struct __kernel_timex`` for clock_adjtime64: 64 bits for 32-bit programs too."""

    modes: u32
    offset: s64
    freq: s64
    maxerror: s64
    esterror: s64
    status: s32
    constant: s64
    precision: s64
    tolerance: s64
    time_tv_sec: s64
    time_tv_usec: s64
    tick: s64
    ppsfreq: s64
    jitter: s64
    shift: s32
    stabil: s64
    jitcnt: s64
    calcnt: s64
    errcnt: s64
    stbcnt: s64
    tai: Annotated[int, "i44x"]
