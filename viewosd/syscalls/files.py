"""Calls on a descriptor: reading, writing, locking, asking, and making descriptors of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import (
    Buffer,
    CStr,
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
    from ..abi.files import cachestat as struct_cachestat
    from ..abi.files import cachestat_range
    from ..abi.stat import old_kernel_stat
    from ..abi.stat import stat as struct_stat
    from ..abi.stat import stat64 as struct_stat64
    from ..abi.stat import statfs as struct_statfs
    from ..abi.stat import statfs64 as struct_statfs64

# Read and write --------------------------------------------------------------------------------


class Read(Syscall, family=True):
    """read(2), pread64, readv(2), preadv(2), preadv2(2)."""

    fd: Fd


class read(Read):
    fd: Fd
    buf: Buffer
    count: Size


class pread64(Read):
    fd: Fd
    buf: Buffer
    count: Size
    pos: Offset
    compat = ("fd", "buf", "count", "pos:lo", "pos:hi")


class readv(Read):
    fd: Fd  # unsigned long, of which the kernel looks at 32 bits
    vec: Ptr  # iovec[vlen]
    vlen: ULong


class preadv(Read):
    fd: Fd
    vec: Ptr
    vlen: ULong
    pos_l: ULong
    pos_h: ULong  # counts on 32-bit programs only (fs/read_write.c:pos_from_hilo())


class preadv2(Read):
    fd: Fd
    vec: Ptr
    vlen: ULong
    pos_l: ULong
    pos_h: ULong
    flags: Flags  # RWF_*


class Write(Syscall, family=True):
    """write(2), pwrite64, writev(2), pwritev(2), pwritev2(2)."""

    fd: Fd


class write(Write):
    fd: Fd
    buf: Buffer
    count: Size


class pwrite64(Write):
    fd: Fd
    buf: Buffer
    count: Size
    pos: Offset
    compat = ("fd", "buf", "count", "pos:lo", "pos:hi")


class writev(Write):
    fd: Fd
    vec: Ptr
    vlen: ULong


class pwritev(Write):
    fd: Fd
    vec: Ptr
    vlen: ULong
    pos_l: ULong
    pos_h: ULong


class pwritev2(Write):
    fd: Fd
    vec: Ptr
    vlen: ULong
    pos_l: ULong
    pos_h: ULong
    flags: Flags


class Seek(Syscall, family=True):
    """lseek(2), i386's _llseek."""

    fd: Fd
    whence: UInt


class lseek(Seek):
    fd: Fd
    offset: Offset
    whence: UInt


class _llseek(Seek):
    fd: Fd
    offset_high: ULong
    offset_low: ULong
    result: Ptr  # loff_t *
    whence: UInt


class Sendfile(Syscall, family=True):
    """sendfile(2), i386's sendfile64. ``offset`` is NULL or an off_t *, there a loff_t *."""

    out_fd: Fd
    in_fd: Fd
    offset: Ptr
    count: Size


class sendfile(Sendfile):
    out_fd: Fd
    in_fd: Fd
    offset: Ptr
    count: Size


class sendfile64(Sendfile):
    out_fd: Fd
    in_fd: Fd
    offset: Ptr
    count: Size


class copy_file_range(Syscall):
    fd_in: Fd
    off_in: Ptr
    fd_out: Fd
    off_out: Ptr
    len: Size
    flags: Flags


class splice(Syscall):
    fd_in: Fd
    off_in: Ptr
    fd_out: Fd
    off_out: Ptr
    len: Size
    flags: Flags


class tee(Syscall):
    fdin: Fd
    fdout: Fd
    len: Size
    flags: Flags


class vmsplice(Syscall):
    fd: Fd
    iov: Ptr
    nr_segs: ULong
    flags: Flags


class Getdents(Syscall, family=True):
    """Read a directory: getdents(2), getdents64, i386's readdir. See `viewosd.abi.dirent`."""

    fd: Fd
    dirent: Buffer
    count: UInt


class getdents(Getdents):
    fd: Fd
    dirent: Buffer
    count: UInt


class getdents64(Getdents):
    fd: Fd
    dirent: Buffer
    count: UInt


class readdir(Getdents):
    fd: Fd
    dirent: Buffer
    count: UInt  # ignored: one entry a call (fs/readdir.c:old_readdir)


# Ask and change --------------------------------------------------------------------------------


class Fstat(Syscall, family=True):
    """What is behind a descriptor: fstat(2), i386's fstat64 and oldfstat. By path: `Stat`, which
    statx(2) and newfstatat with AT_EMPTY_PATH belong to."""

    fd: Fd
    buf: Ptr


class fstat(Fstat):
    fd: Fd
    buf: Out[struct_stat]


class fstat64(Fstat):
    fd: Fd
    buf: Out[struct_stat64]


class oldfstat(Fstat):
    fd: Fd
    buf: Out[old_kernel_stat]


class Fstatfs(Syscall, family=True):
    """fstatfs(2), i386's fstatfs64."""

    fd: Fd
    buf: Ptr


class fstatfs(Fstatfs):
    fd: Fd
    buf: Out[struct_statfs]


class fstatfs64(Fstatfs):
    fd: Fd
    sz: Size
    buf: Out[struct_statfs64]


class fchmod(Syscall):
    fd: Fd
    mode: Mode


class Fchown(Syscall, family=True):
    """fchown(2), i386's fchown32."""

    fd: Fd
    user: Uid
    group: Uid


class fchown(Fchown):
    fd: Fd
    user: Uid
    group: Uid
    uid16 = True


class fchown32(Fchown):
    fd: Fd
    user: Uid
    group: Uid


class Ftruncate(Syscall, family=True):
    """ftruncate(2), i386's ftruncate64."""

    fd: Fd
    length: Offset


class ftruncate(Ftruncate):
    fd: Fd
    length: Offset


class ftruncate64(Ftruncate):
    fd: Fd
    length: Offset
    compat = ("fd", "length:lo", "length:hi")


class fallocate(Syscall):
    fd: Fd
    mode: Int
    offset: Offset
    len: Offset
    compat = ("fd", "mode", "offset:lo", "offset:hi", "len:lo", "len:hi")


class Fadvise(Syscall, family=True):
    """posix_fadvise(2): fadvise64, i386's fadvise64_64."""

    fd: Fd
    offset: Offset
    advice: Int


class fadvise64(Fadvise):
    fd: Fd
    offset: Offset
    len: Size
    advice: Int
    compat = ("fd", "offset:lo", "offset:hi", "len", "advice")


class fadvise64_64(Fadvise):
    fd: Fd
    offset: Offset
    len: Offset
    advice: Int
    compat = ("fd", "offset:lo", "offset:hi", "len:lo", "len:hi", "advice")


class readahead(Syscall):
    fd: Fd
    offset: Offset
    count: Size
    compat = ("fd", "offset:lo", "offset:hi", "count")


class cachestat(Syscall):
    fd: Fd
    cstat_range: In[cachestat_range]
    cstat: Out[struct_cachestat]
    flags: Flags


class sync(Syscall):
    """sync(2)."""


class syncfs(Syscall):
    fd: Fd


class fsync(Syscall):
    fd: Fd


class fdatasync(Syscall):
    fd: Fd


class sync_file_range(Syscall):
    fd: Fd
    offset: Offset
    nbytes: Offset
    flags: Flags
    compat = ("fd", "offset:lo", "offset:hi", "nbytes:lo", "nbytes:hi", "flags")


# Descriptors -----------------------------------------------------------------------------------


class close(Syscall):
    fd: Fd


class close_range(Syscall):
    fd: UInt
    max_fd: UInt
    flags: Flags


class Dup(Syscall, family=True):
    """dup(2), dup2(2), dup3(2). See also fcntl(2), F_DUPFD."""

    oldfd: Fd


class dup(Dup):
    oldfd: Fd


class dup2(Dup):
    oldfd: Fd
    newfd: Fd


class dup3(Dup):
    oldfd: Fd
    newfd: Fd
    flags: Flags


class Fcntl(Syscall, family=True):
    """fcntl(2), i386's fcntl64. ``arg`` is a number or an address: ``cmd`` tells."""

    fd: Fd
    cmd: UInt
    arg: ULong


class fcntl(Fcntl):
    fd: Fd
    cmd: UInt
    arg: ULong


class fcntl64(Fcntl):
    fd: Fd
    cmd: UInt
    arg: ULong


class flock(Syscall):
    fd: Fd
    cmd: UInt


class Pipe(Syscall, family=True):
    """pipe(2), pipe2(2)."""

    fildes: Ptr  # int[2]
    flags: Flags


class pipe(Pipe):
    fildes: Ptr
    flags = Flags(0)


class pipe2(Pipe):
    fildes: Ptr
    flags: Flags


class memfd_create(Syscall):
    name: CStr  # shown in /proc/pid/fd, names nothing
    flags: Flags


class memfd_secret(Syscall):
    flags: Flags


class inotify_init(Syscall):
    """inotify_init(2)."""


class inotify_init1(Syscall):
    flags: Flags


class inotify_rm_watch(Syscall):
    fd: Fd
    wd: Int


class fanotify_init(Syscall):
    flags: Flags
    event_f_flags: Flags


class quotactl_fd(Syscall):
    fd: Fd
    cmd: UInt
    id: Uid
    addr: Ptr
