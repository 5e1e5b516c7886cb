"""Clocks, sleeping and timers. Calls whose names end in 64 are i386's, with 64-bit times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import Fd, Flags, In, InOut, Int, Out, Ptr, UInt

if TYPE_CHECKING:
    from ..abi.time import (
        itimerspec,
        itimerspec64,
        itimerval,
        timespec,
        timespec64,
        timeval,
        timex,
        timex64,
        timezone,
    )
    from ..abi.time import tms as struct_tms

REALTIME = Int(0)  # CLOCK_REALTIME; the structures of abi.time are not worth 5 ms of each start


class ClockGet(Syscall, family=True):
    """What time is it? clock_gettime(2), gettimeofday(2), time(2).

    On x86 and arm64 programs ask the vDSO, which makes no call.
    """

    clockid: Int


class clock_gettime(ClockGet):
    clockid: Int
    tp: Out[timespec]


class clock_gettime64(ClockGet):
    clockid: Int
    tp: Out[timespec64]


class gettimeofday(ClockGet):
    tv: Out[timeval]
    tz: Out[timezone]
    clockid = REALTIME


class time(ClockGet):
    tloc: Ptr  # time_t *, or NULL
    clockid = REALTIME


class ClockRes(Syscall, family=True):
    """clock_getres(2)."""

    clockid: Int


class clock_getres(ClockRes):
    clockid: Int
    tp: Out[timespec]


class clock_getres_time64(ClockRes):
    clockid: Int
    tp: Out[timespec64]


class ClockSet(Syscall, family=True):
    """Set a clock: clock_settime(2), settimeofday(2), i386's stime."""

    clockid: Int


class clock_settime(ClockSet):
    clockid: Int
    tp: In[timespec]


class clock_settime64(ClockSet):
    clockid: Int
    tp: In[timespec64]


class settimeofday(ClockSet):
    tv: In[timeval]
    tz: In[timezone]
    clockid = REALTIME


class stime(ClockSet):
    tptr: Ptr  # time_t *
    clockid = REALTIME


class ClockAdjust(Syscall, family=True):
    """adjtimex(2), clock_adjtime(2). With modes 0 it only asks."""

    clockid: Int
    txc: Ptr


class adjtimex(ClockAdjust):
    txc: InOut[timex]
    clockid = REALTIME


class clock_adjtime(ClockAdjust):
    clockid: Int
    txc: InOut[timex]


class clock_adjtime64(ClockAdjust):
    clockid: Int
    txc: InOut[timex64]


class Sleep(Syscall, family=True):
    """nanosleep(2), clock_nanosleep(2)."""

    rqtp: Ptr
    rmtp: Ptr


class nanosleep(Sleep):
    rqtp: In[timespec]
    rmtp: Out[timespec]


class clock_nanosleep(Sleep):
    clockid: Int
    flags: Flags
    rqtp: In[timespec]
    rmtp: Out[timespec]


class clock_nanosleep_time64(Sleep):
    clockid: Int
    flags: Flags
    rqtp: In[timespec64]
    rmtp: Out[timespec64]


class alarm(Syscall):
    seconds: UInt


class getitimer(Syscall):
    which: Int
    value: Out[itimerval]


class setitimer(Syscall):
    which: Int
    value: In[itimerval]
    ovalue: Out[itimerval]


class times(Syscall):
    tbuf: Out[struct_tms]


class timer_create(Syscall):
    clockid: Int
    timer_event_spec: Ptr  # struct sigevent
    created_timer_id: Ptr  # timer_t *


class timer_delete(Syscall):
    timer_id: Int


class timer_getoverrun(Syscall):
    timer_id: Int


class TimerGet(Syscall, family=True):
    """timer_gettime(2)."""

    timer_id: Int
    setting: Ptr


class timer_gettime(TimerGet):
    timer_id: Int
    setting: Out[itimerspec]


class timer_gettime64(TimerGet):
    timer_id: Int
    setting: Out[itimerspec64]


class TimerSet(Syscall, family=True):
    """timer_settime(2)."""

    timer_id: Int
    flags: Flags
    new_setting: Ptr
    old_setting: Ptr


class timer_settime(TimerSet):
    timer_id: Int
    flags: Flags
    new_setting: In[itimerspec]
    old_setting: Out[itimerspec]


class timer_settime64(TimerSet):
    timer_id: Int
    flags: Flags
    new_setting: In[itimerspec64]
    old_setting: Out[itimerspec64]


class timerfd_create(Syscall):
    clockid: Int
    flags: Flags


class TimerFdGet(Syscall, family=True):
    """timerfd_gettime(2)."""

    fd: Fd
    otmr: Ptr


class timerfd_gettime(TimerFdGet):
    fd: Fd
    otmr: Out[itimerspec]


class timerfd_gettime64(TimerFdGet):
    fd: Fd
    otmr: Out[itimerspec64]


class TimerFdSet(Syscall, family=True):
    """timerfd_settime(2)."""

    fd: Fd
    flags: Flags
    utmr: Ptr
    otmr: Ptr


class timerfd_settime(TimerFdSet):
    fd: Fd
    flags: Flags
    utmr: In[itimerspec]
    otmr: Out[itimerspec]


class timerfd_settime64(TimerFdSet):
    fd: Fd
    flags: Flags
    utmr: In[itimerspec64]
    otmr: Out[itimerspec64]
