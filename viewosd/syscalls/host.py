"""Calls about the machine: its names, its state, its modules, its power."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import Buffer, CStr, Fd, Flags, Int, Out, Ptr, Size, UInt, ULong

if TYPE_CHECKING:
    from ..abi.stat import ustat as struct_ustat
    from ..abi.sysinfo import sysinfo as struct_sysinfo
    from ..abi.utsname import new_utsname, old_utsname, oldold_utsname


class Uname(Syscall, family=True):
    """What the machine says it is: uname(2), i386's olduname and oldolduname.

    ``buf`` points at a structure of the call's own kind.
    """

    buf: Ptr


class uname(Uname):
    buf: Out[new_utsname]


class olduname(Uname):
    buf: Out[old_utsname]


class oldolduname(Uname):
    buf: Out[oldold_utsname]


class SetName(Syscall, family=True):
    """sethostname(2), setdomainname(2): ``len`` bytes, without a NUL, at most 64 (EINVAL)."""

    name: Buffer
    len: Int


class sethostname(SetName):
    name: Buffer
    len: Int


class setdomainname(SetName):
    name: Buffer
    len: Int


class sysinfo(Syscall):
    info: Out[struct_sysinfo]


class syslog(Syscall):
    type: Int
    buf: Buffer
    len: Int


class getrandom(Syscall):
    buf: Buffer
    len: Size
    flags: Flags


class getcpu(Syscall):
    cpup: Ptr
    nodep: Ptr
    unused: Ptr


class sysfs(Syscall):
    option: Int
    arg1: ULong
    arg2: ULong


class ustat(Syscall):
    dev: UInt
    ubuf: Out[struct_ustat]


class vhangup(Syscall):
    """vhangup(2)."""


class reboot(Syscall):
    magic1: Int
    magic2: Int
    cmd: UInt
    arg: Ptr


class init_module(Syscall):
    umod: Buffer
    len: ULong
    uargs: CStr


class finit_module(Syscall):
    fd: Fd
    uargs: CStr
    flags: Flags


class delete_module(Syscall):
    name: CStr
    flags: Flags


class kexec_load(Syscall):
    entry: ULong
    nr_segments: ULong
    segments: Ptr
    flags: ULong


class kexec_file_load(Syscall):
    kernel_fd: Fd
    initrd_fd: Fd
    cmdline_len: ULong
    cmdline: CStr
    flags: ULong


class iopl(Syscall):
    level: UInt


class ioperm(Syscall):
    from_: ULong
    num: ULong
    turn_on: Int
