"""User and group ids, groups, capabilities.

i386 has two of each: the plain name passes ids of 16 bits (`Syscall.uid16`; results are cut to 16
bits too, 65534 for what does not fit), the one that ends in 32 is the modern one. A family is both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import InOut, Int, Ptr, Uid

if TYPE_CHECKING:
    from ..abi.capability import cap_user_header


class Getuid(Syscall, family=True):
    """getuid(2)."""


class getuid(Getuid):
    uid16 = True


class getuid32(Getuid):
    """getuid(2)."""


class Geteuid(Syscall, family=True):
    """geteuid(2)."""


class geteuid(Geteuid):
    uid16 = True


class geteuid32(Geteuid):
    """geteuid(2)."""


class Getgid(Syscall, family=True):
    """getgid(2)."""


class getgid(Getgid):
    uid16 = True


class getgid32(Getgid):
    """getgid(2)."""


class Getegid(Syscall, family=True):
    """getegid(2)."""


class getegid(Getegid):
    uid16 = True


class getegid32(Getegid):
    """getegid(2)."""


class Getresuid(Syscall, family=True):
    """getresuid(2): three addresses of ids, of 2 bytes when ``uid16`` and the program is i386."""

    ruid: Ptr
    euid: Ptr
    suid: Ptr


class getresuid(Getresuid):
    ruid: Ptr
    euid: Ptr
    suid: Ptr
    uid16 = True


class getresuid32(Getresuid):
    ruid: Ptr
    euid: Ptr
    suid: Ptr


class Getresgid(Syscall, family=True):
    """getresgid(2): as `Getresuid`."""

    rgid: Ptr
    egid: Ptr
    sgid: Ptr


class getresgid(Getresgid):
    rgid: Ptr
    egid: Ptr
    sgid: Ptr
    uid16 = True


class getresgid32(Getresgid):
    rgid: Ptr
    egid: Ptr
    sgid: Ptr


class Getgroups(Syscall, family=True):
    """getgroups(2): the array's items have 2 bytes when ``uid16`` and the program is i386."""

    size: Int
    grouplist: Ptr


class getgroups(Getgroups):
    size: Int
    grouplist: Ptr
    uid16 = True


class getgroups32(Getgroups):
    size: Int
    grouplist: Ptr


class SetIds(Syscall, family=True):
    """Every call that changes the caller's user or group ids."""


class Setuid(SetIds, family=True):
    """setuid(2)."""

    uid: Uid


class setuid(Setuid):
    uid: Uid
    uid16 = True


class setuid32(Setuid):
    uid: Uid


class Setgid(SetIds, family=True):
    """setgid(2)."""

    gid: Uid


class setgid(Setgid):
    gid: Uid
    uid16 = True


class setgid32(Setgid):
    gid: Uid


class Setreuid(SetIds, family=True):
    """setreuid(2)."""

    ruid: Uid
    euid: Uid


class setreuid(Setreuid):
    ruid: Uid
    euid: Uid
    uid16 = True


class setreuid32(Setreuid):
    ruid: Uid
    euid: Uid


class Setregid(SetIds, family=True):
    """setregid(2)."""

    rgid: Uid
    egid: Uid


class setregid(Setregid):
    rgid: Uid
    egid: Uid
    uid16 = True


class setregid32(Setregid):
    rgid: Uid
    egid: Uid


class Setresuid(SetIds, family=True):
    """setresuid(2)."""

    ruid: Uid
    euid: Uid
    suid: Uid


class setresuid(Setresuid):
    ruid: Uid
    euid: Uid
    suid: Uid
    uid16 = True


class setresuid32(Setresuid):
    ruid: Uid
    euid: Uid
    suid: Uid


class Setresgid(SetIds, family=True):
    """setresgid(2)."""

    rgid: Uid
    egid: Uid
    sgid: Uid


class setresgid(Setresgid):
    rgid: Uid
    egid: Uid
    sgid: Uid
    uid16 = True


class setresgid32(Setresgid):
    rgid: Uid
    egid: Uid
    sgid: Uid


class Setfsuid(SetIds, family=True):
    """setfsuid(2): returns the old one, never an error."""

    uid: Uid


class setfsuid(Setfsuid):
    uid: Uid
    uid16 = True


class setfsuid32(Setfsuid):
    uid: Uid


class Setfsgid(SetIds, family=True):
    """setfsgid(2): returns the old one, never an error."""

    gid: Uid


class setfsgid(Setfsgid):
    gid: Uid
    uid16 = True


class setfsgid32(Setfsgid):
    gid: Uid


class Setgroups(SetIds, family=True):
    """setgroups(2): as `Getgroups`."""

    size: Int
    grouplist: Ptr


class setgroups(Setgroups):
    size: Int
    grouplist: Ptr
    uid16 = True


class setgroups32(Setgroups):
    size: Int
    grouplist: Ptr


class capget(Syscall):
    header: InOut[cap_user_header]
    data: Ptr  # cap_user_data[2], or NULL


class capset(Syscall):
    header: InOut[cap_user_header]
    data: Ptr
