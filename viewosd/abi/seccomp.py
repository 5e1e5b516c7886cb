"""seccomp(2) and user notification: operations, actions, ioctls, flags and structures.

Source: include/uapi/linux/seccomp.h; prose: seccomp(2), seccomp_unotify(2).
"""

from __future__ import annotations

from typing import Final

from .layout import Struct, s32, s64, u16, u32, u64

# fmt: off
# seccomp(2): operations
SECCOMP_SET_MODE_STRICT:   Final = 0
SECCOMP_SET_MODE_FILTER:   Final = 1
SECCOMP_GET_ACTION_AVAIL:  Final = 2  # 4.14
SECCOMP_GET_NOTIF_SIZES:   Final = 3  # 5.0

# seccomp(2): flags of SECCOMP_SET_MODE_FILTER
SECCOMP_FILTER_FLAG_TSYNC:              Final = 1 << 0  # 3.17
SECCOMP_FILTER_FLAG_LOG:                Final = 1 << 1  # 4.14
SECCOMP_FILTER_FLAG_SPEC_ALLOW:         Final = 1 << 2  # 4.17
SECCOMP_FILTER_FLAG_NEW_LISTENER:       Final = 1 << 3  # 5.0
SECCOMP_FILTER_FLAG_TSYNC_ESRCH:        Final = 1 << 4  # 5.7
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: Final = 1 << 5  # 5.19

# What a filter returns: an action in the high 16 bits, data for it in the low 16
SECCOMP_RET_KILL_PROCESS:  Final = 0x8000_0000  # 4.14
SECCOMP_RET_KILL_THREAD:   Final = 0x0000_0000
SECCOMP_RET_TRAP:          Final = 0x0003_0000
SECCOMP_RET_ERRNO:         Final = 0x0005_0000
SECCOMP_RET_USER_NOTIF:    Final = 0x7FC0_0000  # 5.0
SECCOMP_RET_TRACE:         Final = 0x7FF0_0000
SECCOMP_RET_LOG:           Final = 0x7FFC_0000  # 4.14
SECCOMP_RET_ALLOW:         Final = 0x7FFF_0000

SECCOMP_RET_ACTION_FULL:   Final = 0xFFFF_0000
SECCOMP_RET_ACTION:        Final = 0x7FFF_0000
SECCOMP_RET_DATA:          Final = 0x0000_FFFF

# ioctl(2) on a listener
SECCOMP_IOC_MAGIC:             Final = 0x21  # "!"
SECCOMP_IOCTL_NOTIF_RECV:      Final = 0xC050_2100  # _IOWR('!', 0, struct seccomp_notif)
SECCOMP_IOCTL_NOTIF_SEND:      Final = 0xC018_2101  # _IOWR('!', 1, struct seccomp_notif_resp)
SECCOMP_IOCTL_NOTIF_ID_VALID:  Final = 0x4008_2102  # _IOW('!', 2, __u64); was _IOR: 47e33c05f9f0
SECCOMP_IOCTL_NOTIF_ADDFD:     Final = 0x4018_2103  # _IOW('!', 3, struct seccomp_notif_addfd); 5.9
SECCOMP_IOCTL_NOTIF_SET_FLAGS: Final = 0x4008_2104  # _IOW('!', 4, __u64), argument by value; 6.6

SECCOMP_USER_NOTIF_FLAG_CONTINUE:   Final = 1 << 0  # seccomp_notif_resp.flags; 5.5
SECCOMP_ADDFD_FLAG_SETFD:           Final = 1 << 0  # seccomp_notif_addfd.flags: use newfd; 5.9
SECCOMP_ADDFD_FLAG_SEND:            Final = 1 << 1  # and answer with its number; 5.14
SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: Final = 1 << 0  # of SET_FLAGS; 6.6
# fmt: on


class seccomp_notif_sizes(Struct, size=6):
    """What SECCOMP_GET_NOTIF_SIZES reports: how large the kernel's structures are, in bytes."""

    seccomp_notif: u16
    seccomp_notif_resp: u16
    seccomp_data: u16


class seccomp_data(Struct, size=64):
    """What a BPF filter sees of a call."""

    nr: s32
    arch: u32  # AUDIT_ARCH_*
    instruction_pointer: u64
    arg0: u64
    arg1: u64
    arg2: u64
    arg3: u64
    arg4: u64
    arg5: u64


class seccomp_notif(Struct, size=80):
    """One notification, as SECCOMP_IOCTL_NOTIF_RECV fills it.

    The buffer must be all zero before the ioctl (EINVAL otherwise). ``struct seccomp_data data``
    is flattened.
    """

    id: u64  # cookie, unique per listener
    pid: u32  # thread id in the *supervisor's* pid namespace; 0 when not visible there
    flags: u32  # always 0
    nr: s32
    arch: u32  # AUDIT_ARCH_*
    instruction_pointer: u64
    arg0: u64
    arg1: u64
    arg2: u64
    arg3: u64
    arg4: u64
    arg5: u64

    @property
    def args(self) -> tuple[int, int, int, int, int, int]:
        """The six argument registers, raw and unsigned."""
        return (self.arg0, self.arg1, self.arg2, self.arg3, self.arg4, self.arg5)


class seccomp_notif_resp(Struct, size=24):
    """The answer to one notification."""

    id: u64
    val: s64
    error: s32  # negative errno, or 0
    flags: u32  # SECCOMP_USER_NOTIF_FLAG_*; with CONTINUE val and error must be 0


class seccomp_notif_addfd(Struct, size=24):
    """Install a duplicate of our descriptor in the tracee."""

    id: u64
    flags: u32  # SECCOMP_ADDFD_FLAG_*
    srcfd: u32  # ours
    newfd: u32  # theirs, with SETFD; else 0
    newfd_flags: u32  # O_CLOEXEC or 0
