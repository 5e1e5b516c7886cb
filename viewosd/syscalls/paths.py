"""Calls that ask about, open or change the file at a path.

``path`` is what the program wrote, ``dirfd`` what it counts from; the calls without a descriptor
imply AT_FDCWD. Making, moving and removing names is in `entries`, extended attributes in `xattr`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..abi.fcntl import AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_CREAT, O_TRUNC, O_WRONLY
from .base import Syscall
from .kinds import (
    Buffer,
    CStr,
    DirFd,
    Fd,
    Flags,
    In,
    Int,
    Mode,
    Offset,
    Out,
    Ptr,
    Size,
    Uid,
    UInt,
    ULong,
)

if TYPE_CHECKING:
    from ..abi.files import file_attr, open_how
    from ..abi.mount import file_handle
    from ..abi.stat import old_kernel_stat
    from ..abi.stat import stat as struct_stat
    from ..abi.stat import stat64 as struct_stat64
    from ..abi.stat import statfs as struct_statfs
    from ..abi.stat import statfs64 as struct_statfs64
    from ..abi.stat import statx as struct_statx
    from ..abi.time import utimbuf

CWD = DirFd(AT_FDCWD)
FOLLOW = Flags(0)
NOFOLLOW = Flags(AT_SYMLINK_NOFOLLOW)


class ByPath(Syscall, family=True):
    """Everything that names one file: hooking it hooks every call with ``dirfd`` and ``path``.

    An empty path means ``dirfd`` itself where the call's flags have AT_EMPTY_PATH.
    """

    dirfd: DirFd
    path: CStr


# Open ------------------------------------------------------------------------------------------


class Open(ByPath, family=True):
    """Open or create a file by path: open(2), creat(2), openat(2), openat2(2).

    Promises ``dirfd`` and ``path`` alone: the flags of openat2 lie in memory, and a promise that
    reads memory could be kept twice with different answers. A hook that wants them asks
    ``isinstance(call, openat2)`` and reads ``call.how`` once.
    """


class open(Open):
    path: CStr
    flags: Flags
    mode: Mode  # read by the kernel only with O_CREAT or O_TMPFILE
    dirfd = CWD


class openat(Open):
    dirfd: DirFd
    path: CStr
    flags: Flags
    mode: Mode  # read by the kernel only with O_CREAT or O_TMPFILE


class creat(Open):
    path: CStr
    mode: Mode
    dirfd = CWD
    flags = Flags(O_CREAT | O_WRONLY | O_TRUNC)  # fs/open.c:creat


class openat2(Open):
    dirfd: DirFd
    path: CStr
    how: In[open_how]
    usize: Size  # bytes of ``how``; larger than we know only if the rest is 0, else E2BIG


class open_by_handle_at(Syscall):
    mountdirfd: Fd
    handle: In[file_handle]
    flags: Flags


class name_to_handle_at(ByPath):
    dirfd: DirFd
    path: CStr
    handle: Ptr  # file_handle, read and filled, and the bytes behind it
    mnt_id: Ptr  # int *; u64 * with AT_HANDLE_MNT_ID_UNIQUE
    flags: Flags


# Ask -------------------------------------------------------------------------------------------


class Stat(ByPath, family=True):
    """What is at a path: stat(2), lstat(2), newfstatat, statx(2) and their old and 64-bit forms.

    ``flags`` are AT_*: lstat implies AT_SYMLINK_NOFOLLOW. ``buf`` points at a structure of the
    call's own kind. By descriptor: `Fstat`.
    """

    dirfd: DirFd
    path: CStr
    flags: Flags
    buf: Ptr


class stat(Stat):
    path: CStr
    buf: Out[struct_stat]
    dirfd, flags = CWD, FOLLOW


class lstat(Stat):
    path: CStr
    buf: Out[struct_stat]
    dirfd, flags = CWD, NOFOLLOW


class newfstatat(Stat):
    dirfd: DirFd
    path: CStr
    buf: Out[struct_stat]
    flags: Flags


class statx(Stat):
    dirfd: DirFd
    path: CStr
    flags: Flags
    mask: Flags  # STATX_*
    buf: Out[struct_statx]


class stat64(Stat):
    path: CStr
    buf: Out[struct_stat64]
    dirfd, flags = CWD, FOLLOW


class lstat64(Stat):
    path: CStr
    buf: Out[struct_stat64]
    dirfd, flags = CWD, NOFOLLOW


class fstatat64(Stat):
    dirfd: DirFd
    path: CStr
    buf: Out[struct_stat64]
    flags: Flags


class oldstat(Stat):
    path: CStr
    buf: Out[old_kernel_stat]
    dirfd, flags = CWD, FOLLOW


class oldlstat(Stat):
    path: CStr
    buf: Out[old_kernel_stat]
    dirfd, flags = CWD, NOFOLLOW


class Access(ByPath, family=True):
    """May the caller do that? access(2), faccessat(2), faccessat2. ``mode`` is R_OK, W_OK, X_OK."""

    dirfd: DirFd
    path: CStr
    mode: Int
    flags: Flags


class access(Access):
    path: CStr
    mode: Int
    dirfd, flags = CWD, FOLLOW


class faccessat(Access):
    dirfd: DirFd
    path: CStr
    mode: Int
    flags = FOLLOW


class faccessat2(Access):
    dirfd: DirFd
    path: CStr
    mode: Int
    flags: Flags


class Readlink(ByPath, family=True):
    """Where a symbolic link points, without a NUL: readlink(2), readlinkat(2)."""

    dirfd: DirFd
    path: CStr
    buf: Buffer
    bufsiz: Int


class readlink(Readlink):
    path: CStr
    buf: Buffer
    bufsiz: Int
    dirfd = CWD


class readlinkat(Readlink):
    dirfd: DirFd
    path: CStr
    buf: Buffer
    bufsiz: Int


class Statfs(ByPath, family=True):
    """The file system at a path: statfs(2), statfs64. By descriptor: `Fstatfs`."""

    path: CStr
    buf: Ptr


class statfs(Statfs):
    path: CStr
    buf: Out[struct_statfs]
    dirfd = CWD


class statfs64(Statfs):
    path: CStr
    sz: Size  # must be sizeof(struct statfs64), 84 (or 88) bytes: EINVAL
    buf: Out[struct_statfs64]
    dirfd = CWD


# Change ----------------------------------------------------------------------------------------


class Chmod(ByPath, family=True):
    """Permission bits: chmod(2), fchmodat(2), fchmodat2. By descriptor: `fchmod`."""

    dirfd: DirFd
    path: CStr
    mode: Mode
    flags: Flags


class chmod(Chmod):
    path: CStr
    mode: Mode
    dirfd, flags = CWD, FOLLOW


class fchmodat(Chmod):
    dirfd: DirFd
    path: CStr
    mode: Mode
    flags = FOLLOW  # the C library's function has flags, the call has none


class fchmodat2(Chmod):
    dirfd: DirFd
    path: CStr
    mode: Mode
    flags: Flags


class Chown(ByPath, family=True):
    """Owner and group: chown(2), lchown(2), fchownat(2), and i386's 32. By descriptor: `Fchown`."""

    dirfd: DirFd
    path: CStr
    user: Uid
    group: Uid
    flags: Flags


class chown(Chown):
    path: CStr
    user: Uid
    group: Uid
    dirfd, flags = CWD, FOLLOW
    uid16 = True


class lchown(Chown):
    path: CStr
    user: Uid
    group: Uid
    dirfd, flags = CWD, NOFOLLOW
    uid16 = True


class fchownat(Chown):
    dirfd: DirFd
    path: CStr
    user: Uid
    group: Uid
    flags: Flags


class chown32(Chown):
    path: CStr
    user: Uid
    group: Uid
    dirfd, flags = CWD, FOLLOW


class lchown32(Chown):
    path: CStr
    user: Uid
    group: Uid
    dirfd, flags = CWD, NOFOLLOW


class Truncate(ByPath, family=True):
    """A file's length by path: truncate(2), truncate64. By descriptor: `Ftruncate`."""

    path: CStr
    length: Offset


class truncate(Truncate):
    path: CStr
    length: Offset
    dirfd = CWD


class truncate64(Truncate):
    path: CStr
    length: Offset
    dirfd = CWD
    compat = ("path", "length:lo", "length:hi")


class Utimes(ByPath, family=True):
    """Access and modification time: utime(2), utimes(2), futimesat(2), utimensat(2).

    ``times`` is NULL (now) or points at the call's own kind: `utimbuf`, two `timeval`, two
    `timespec`. utimensat with a NULL path means ``dirfd`` itself.
    """

    dirfd: DirFd
    path: CStr
    times: Ptr
    flags: Flags


class utime(Utimes):
    path: CStr
    times: In[utimbuf]
    dirfd, flags = CWD, FOLLOW


class utimes(Utimes):
    path: CStr
    times: Ptr
    dirfd, flags = CWD, FOLLOW


class futimesat(Utimes):
    dirfd: DirFd
    path: CStr
    times: Ptr
    flags = FOLLOW


class utimensat(Utimes):
    dirfd: DirFd
    path: CStr
    times: Ptr
    flags: Flags


class utimensat_time64(Utimes):
    dirfd: DirFd
    path: CStr
    times: Ptr
    flags: Flags


class file_getattr(ByPath):
    dirfd: DirFd
    path: CStr
    attr: Out[file_attr]
    usize: Size
    at_flags: Flags


class file_setattr(ByPath):
    dirfd: DirFd
    path: CStr
    attr: In[file_attr]
    usize: Size
    at_flags: Flags


# Watch -----------------------------------------------------------------------------------------


class inotify_add_watch(ByPath):
    fd: Fd
    path: CStr
    mask: UInt
    dirfd = CWD


class fanotify_mark(ByPath):
    fanotify_fd: Fd
    flags: Flags
    mask: ULong
    dirfd: DirFd
    path: CStr  # NULL: dirfd itself
    compat = ("fanotify_fd", "flags", "mask:lo", "mask:hi", "dirfd", "path")


# Whole machine ---------------------------------------------------------------------------------


class acct(ByPath):
    path: CStr  # NULL: off
    dirfd = CWD


class swapon(ByPath):
    path: CStr
    flags: Flags
    dirfd = CWD


class swapoff(ByPath):
    path: CStr
    dirfd = CWD


class uselib(ByPath):
    path: CStr
    dirfd = CWD


class quotactl(ByPath):
    cmd: UInt
    path: CStr  # a block device
    id: Uid
    addr: Ptr
    dirfd = CWD
