"""Capabilities. Source: include/uapi/linux/capability.h; capabilities(7), capget(2)."""

from __future__ import annotations

from typing import Final

from .layout import Struct, s32, u32

# fmt: off
LINUX_CAPABILITY_VERSION_3: Final = 0x2008_0522  # with the header's underscore in front
LINUX_CAPABILITY_U32S_3:    Final = 2  # __user_cap_data_struct of one call

CAP_CHOWN:              Final = 0
CAP_DAC_OVERRIDE:       Final = 1
CAP_DAC_READ_SEARCH:    Final = 2
CAP_FOWNER:             Final = 3
CAP_FSETID:             Final = 4
CAP_KILL:               Final = 5
CAP_SETGID:             Final = 6
CAP_SETUID:             Final = 7
CAP_SETPCAP:            Final = 8
CAP_LINUX_IMMUTABLE:    Final = 9
CAP_NET_BIND_SERVICE:   Final = 10
CAP_NET_BROADCAST:      Final = 11
CAP_NET_ADMIN:          Final = 12
CAP_NET_RAW:            Final = 13
CAP_IPC_LOCK:           Final = 14
CAP_IPC_OWNER:          Final = 15
CAP_SYS_MODULE:         Final = 16
CAP_SYS_RAWIO:          Final = 17
CAP_SYS_CHROOT:         Final = 18
CAP_SYS_PTRACE:         Final = 19
CAP_SYS_PACCT:          Final = 20
CAP_SYS_ADMIN:          Final = 21
CAP_SYS_BOOT:           Final = 22
CAP_SYS_NICE:           Final = 23
CAP_SYS_RESOURCE:       Final = 24
CAP_SYS_TIME:           Final = 25
CAP_SYS_TTY_CONFIG:     Final = 26
CAP_MKNOD:              Final = 27
CAP_LEASE:              Final = 28
CAP_AUDIT_WRITE:        Final = 29
CAP_AUDIT_CONTROL:      Final = 30
CAP_SETFCAP:            Final = 31
CAP_MAC_OVERRIDE:       Final = 32
CAP_MAC_ADMIN:          Final = 33
CAP_SYSLOG:             Final = 34
CAP_WAKE_ALARM:         Final = 35
CAP_BLOCK_SUSPEND:      Final = 36
CAP_AUDIT_READ:         Final = 37
CAP_PERFMON:            Final = 38  # 5.8
CAP_BPF:                Final = 39  # 5.8
CAP_CHECKPOINT_RESTORE: Final = 40  # 5.9
CAP_LAST_CAP:           Final = CAP_CHECKPOINT_RESTORE
# fmt: on


class cap_user_header(Struct, size=8):
    """``struct __user_cap_header_struct``."""

    version: u32
    pid: s32


class cap_user_data(Struct, size=12):
    """``struct __user_cap_data_struct``: 32 capabilities; version 3 takes two of these."""

    effective: u32
    permitted: u32
    inheritable: u32
