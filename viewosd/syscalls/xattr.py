"""Extended attributes, by path and by descriptor: xattr(7).

``at_flags`` are AT_*: the ``l`` calls imply AT_SYMLINK_NOFOLLOW. The ``*xattrat`` calls (6.13)
keep the value's address, size and XATTR_* in memory, in `xattr_args`; so no family promises them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import Buffer, CStr, DirFd, Fd, Flags, In, Size
from .paths import CWD, FOLLOW, NOFOLLOW, ByPath

if TYPE_CHECKING:
    from ..abi.files import xattr_args


class Getxattr(ByPath, family=True):
    """getxattr(2), lgetxattr(2), getxattrat(2). A size of 0 asks how large the value is."""

    dirfd: DirFd
    path: CStr
    name: CStr
    at_flags: Flags


class getxattr(Getxattr):
    path: CStr
    name: CStr
    value: Buffer
    size: Size
    dirfd, at_flags = CWD, FOLLOW


class lgetxattr(Getxattr):
    path: CStr
    name: CStr
    value: Buffer
    size: Size
    dirfd, at_flags = CWD, NOFOLLOW


class getxattrat(Getxattr):
    dirfd: DirFd
    path: CStr
    at_flags: Flags
    name: CStr
    uargs: In[xattr_args]
    usize: Size


class Setxattr(ByPath, family=True):
    """setxattr(2), lsetxattr(2), setxattrat(2)."""

    dirfd: DirFd
    path: CStr
    name: CStr
    at_flags: Flags


class setxattr(Setxattr):
    path: CStr
    name: CStr
    value: Buffer
    size: Size
    flags: Flags  # XATTR_CREATE, XATTR_REPLACE
    dirfd, at_flags = CWD, FOLLOW


class lsetxattr(Setxattr):
    path: CStr
    name: CStr
    value: Buffer
    size: Size
    flags: Flags
    dirfd, at_flags = CWD, NOFOLLOW


class setxattrat(Setxattr):
    dirfd: DirFd
    path: CStr
    at_flags: Flags
    name: CStr
    uargs: In[xattr_args]
    usize: Size


class Listxattr(ByPath, family=True):
    """listxattr(2), llistxattr(2), listxattrat(2): names, each with a NUL."""

    dirfd: DirFd
    path: CStr
    list: Buffer
    size: Size
    at_flags: Flags


class listxattr(Listxattr):
    path: CStr
    list: Buffer
    size: Size
    dirfd, at_flags = CWD, FOLLOW


class llistxattr(Listxattr):
    path: CStr
    list: Buffer
    size: Size
    dirfd, at_flags = CWD, NOFOLLOW


class listxattrat(Listxattr):
    dirfd: DirFd
    path: CStr
    at_flags: Flags
    list: Buffer
    size: Size


class Removexattr(ByPath, family=True):
    """removexattr(2), lremovexattr(2), removexattrat(2)."""

    dirfd: DirFd
    path: CStr
    name: CStr
    at_flags: Flags


class removexattr(Removexattr):
    path: CStr
    name: CStr
    dirfd, at_flags = CWD, FOLLOW


class lremovexattr(Removexattr):
    path: CStr
    name: CStr
    dirfd, at_flags = CWD, NOFOLLOW


class removexattrat(Removexattr):
    dirfd: DirFd
    path: CStr
    at_flags: Flags
    name: CStr


class fgetxattr(Syscall):
    fd: Fd
    name: CStr
    value: Buffer
    size: Size


class fsetxattr(Syscall):
    fd: Fd
    name: CStr
    value: Buffer
    size: Size
    flags: Flags


class flistxattr(Syscall):
    fd: Fd
    list: Buffer
    size: Size


class fremovexattr(Syscall):
    fd: Fd
    name: CStr
