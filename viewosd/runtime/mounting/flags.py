"""The flags of mount(2), sorted by what they say. Pure.

Source: fs/namespace.c:path_mount(), include/uapi/linux/mount.h, mount(2).
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from ...abi.mount import (
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
    MS_BIND,
    MS_DIRSYNC,
    MS_LAZYTIME,
    MS_MANDLOCK,
    MS_MGC_MSK,
    MS_MGC_VAL,
    MS_MOVE,
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_NOSYMFOLLOW,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_REMOUNT,
    MS_SHARED,
    MS_SILENT,
    MS_SLAVE,
    MS_STRICTATIME,
    MS_SYNCHRONOUS,
    MS_UNBINDABLE,
)

PROPAGATION: Final = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE

_ATTRIBUTE: Final = {
    MS_RDONLY: MOUNT_ATTR_RDONLY,
    MS_NOSUID: MOUNT_ATTR_NOSUID,
    MS_NODEV: MOUNT_ATTR_NODEV,
    MS_NOEXEC: MOUNT_ATTR_NOEXEC,
    MS_NODIRATIME: MOUNT_ATTR_NODIRATIME,
    MS_NOSYMFOLLOW: MOUNT_ATTR_NOSYMFOLLOW,
}
OF_MOUNTPOINT: Final = (
    MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NODIRATIME | MS_NOSYMFOLLOW
    | MS_NOATIME | MS_RELATIME | MS_STRICTATIME
)  # fmt: skip
"""They say something of the mountpoint and nothing of the file system. (MS_RDONLY is both.)"""

_NAMED: Final = {
    "ro": (MS_RDONLY, 0),
    "rw": (0, MS_RDONLY),
    "nosuid": (MS_NOSUID, 0),
    "suid": (0, MS_NOSUID),
    "nodev": (MS_NODEV, 0),
    "dev": (0, MS_NODEV),
    "noexec": (MS_NOEXEC, 0),
    "exec": (0, MS_NOEXEC),
    "sync": (MS_SYNCHRONOUS, 0),
    "async": (0, MS_SYNCHRONOUS),
    "dirsync": (MS_DIRSYNC, 0),
    "mand": (MS_MANDLOCK, 0),
    "nomand": (0, MS_MANDLOCK),
    "noatime": (MS_NOATIME, 0),
    "atime": (0, MS_NOATIME),
    "nodiratime": (MS_NODIRATIME, 0),
    "diratime": (0, MS_NODIRATIME),
    "relatime": (MS_RELATIME, 0),
    "norelatime": (0, MS_RELATIME),
    "strictatime": (MS_STRICTATIME, 0),
    "nostrictatime": (0, MS_STRICTATIME),
    "lazytime": (MS_LAZYTIME, 0),
    "nolazytime": (0, MS_LAZYTIME),
    "nosymfollow": (MS_NOSYMFOLLOW, 0),
    "symfollow": (0, MS_NOSYMFOLLOW),
    "silent": (MS_SILENT, 0),
    "loud": (0, MS_SILENT),
    "bind": (MS_BIND, 0),
    "rbind": (MS_BIND | MS_REC, 0),
    "move": (MS_MOVE, 0),
    "remount": (MS_REMOUNT, 0),
    "shared": (MS_SHARED, 0),
    "rshared": (MS_SHARED | MS_REC, 0),
    "slave": (MS_SLAVE, 0),
    "rslave": (MS_SLAVE | MS_REC, 0),
    "private": (MS_PRIVATE, 0),
    "rprivate": (MS_PRIVATE | MS_REC, 0),
    "unbindable": (MS_UNBINDABLE, 0),
    "runbindable": (MS_UNBINDABLE | MS_REC, 0),
    "defaults": (0, 0),
}
"""What mount(8) makes flags of: set, cleared."""


def without_magic(flags: int) -> int:
    """The flags of a call; programs of before Linux 2.4 had a magic number in the high half."""
    return flags & ~MS_MGC_MSK if flags & MS_MGC_MSK == MS_MGC_VAL else flags


def is_new(flags: int) -> bool:
    """Is a file system mounted, not something that is there bound, moved or changed?"""
    return not flags & (MS_REMOUNT | MS_BIND | MS_MOVE | PROPAGATION)


def makes_a_mount(flags: int) -> bool:
    """Is there one mount more afterwards? Then its mountpoint may be made for it."""
    return is_new(flags) or flags & (MS_REMOUNT | MS_BIND) == MS_BIND


def has_source(flags: int) -> bool:
    """Is what is named as the source a file that is bound or moved?"""
    if flags & MS_REMOUNT:
        return False
    return bool(flags & MS_BIND) or flags & (MS_MOVE | PROPAGATION) == MS_MOVE


def attributes(flags: int) -> int:
    """MOUNT_ATTR_* that the flags set. Relatime, the default, is all zeros."""
    found = sum(attribute for flag, attribute in _ATTRIBUTE.items() if flags & flag)
    if flags & MS_STRICTATIME:
        return found | MOUNT_ATTR_STRICTATIME
    return found | (MOUNT_ATTR_NOATIME if flags & MS_NOATIME else 0)


OWN: Final = ("bind", "move", "rw")
"""Words in which a service's type may see more than a flag: a mode, or that an image is to be
written."""


def from_words(
    options: list[tuple[str, str]], kept: Container[str] = ()
) -> tuple[int, list[tuple[str, str]]]:
    """Flags out of options as users write them, and the options that are none: mount(8).

    Args:
        kept: words that are no flags here.
    """
    flags, rest = 0, []
    for name, value in options:
        if value or name not in _NAMED or name in kept:
            rest.append((name, value))
        else:
            on, off = _NAMED[name]
            flags = flags & ~off | on
    return flags, rest


def from_attributes(attr: int) -> int:
    """The MS_* that say the same as MOUNT_ATTR_*."""
    found = sum(flag for flag, attribute in _ATTRIBUTE.items() if attr & attribute)
    if attr & MOUNT_ATTR_NOATIME:
        return found | MS_NOATIME
    return found | (MS_STRICTATIME if attr & MOUNT_ATTR_STRICTATIME else 0)
