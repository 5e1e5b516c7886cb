"""The FUSE protocol, 7.36 to 7.45, as spoken on /dev/fuse. Source: include/uapi/linux/fuse.h; fuse(4).

A request is `fuse_in_header`, its structure, then names, each ended by a zero byte, or data. An
answer is `fuse_out_header`, then its structure or data. Numbers are in the machine's byte order.
"""

from __future__ import annotations

from typing import Annotated, Final

from .ioctl import IOR, IOW
from .layout import Struct, s32, s64, u16, u32, u64

# fmt: off
FUSE_KERNEL_VERSION:       Final = 7
FUSE_MINOR:                Final = 45  # spoken here: 6.18. Linux 6.1 speaks 7.37
FUSE_ROOT_ID:              Final = 1
FUSE_MIN_READ_BUFFER:      Final = 8192  # bytes; beside a request's data at most 4096 are used
FUSE_SUPER_MAGIC:          Final = 0x6573_5546  # statfs.f_type. Source: include/uapi/linux/magic.h

# fuse_in_header.opcode
FUSE_LOOKUP:          Final = 1
FUSE_FORGET:          Final = 2  # no answer
FUSE_GETATTR:         Final = 3
FUSE_SETATTR:         Final = 4
FUSE_READLINK:        Final = 5
FUSE_SYMLINK:         Final = 6
FUSE_MKNOD:           Final = 8
FUSE_MKDIR:           Final = 9
FUSE_UNLINK:          Final = 10
FUSE_RMDIR:           Final = 11
FUSE_RENAME:          Final = 12
FUSE_LINK:            Final = 13
FUSE_OPEN:            Final = 14
FUSE_READ:            Final = 15
FUSE_WRITE:           Final = 16
FUSE_STATFS:          Final = 17
FUSE_RELEASE:         Final = 18
FUSE_FSYNC:           Final = 20
FUSE_SETXATTR:        Final = 21
FUSE_GETXATTR:        Final = 22
FUSE_LISTXATTR:       Final = 23
FUSE_REMOVEXATTR:     Final = 24
FUSE_FLUSH:           Final = 25
FUSE_INIT:            Final = 26
FUSE_OPENDIR:         Final = 27
FUSE_READDIR:         Final = 28
FUSE_RELEASEDIR:      Final = 29
FUSE_FSYNCDIR:        Final = 30
FUSE_GETLK:           Final = 31
FUSE_SETLK:           Final = 32
FUSE_SETLKW:          Final = 33
FUSE_ACCESS:          Final = 34
FUSE_CREATE:          Final = 35
FUSE_INTERRUPT:       Final = 36  # no answer, but EAGAIN
FUSE_BMAP:            Final = 37
FUSE_DESTROY:         Final = 38
FUSE_IOCTL:           Final = 39
FUSE_POLL:            Final = 40
FUSE_NOTIFY_REPLY:    Final = 41
FUSE_BATCH_FORGET:    Final = 42  # no answer
FUSE_FALLOCATE:       Final = 43
FUSE_READDIRPLUS:     Final = 44
FUSE_RENAME2:         Final = 45
FUSE_LSEEK:           Final = 46
FUSE_COPY_FILE_RANGE: Final = 47
FUSE_SYNCFS:          Final = 50
FUSE_TMPFILE:         Final = 51  # 6.1
FUSE_STATX:           Final = 52  # 6.6
FUSE_COPY_FILE_RANGE_64: Final = 53  # 6.18

# fuse_init_in.flags and fuse_init_out.flags; from bit 32 on flags2
FUSE_ASYNC_READ:          Final = 1 << 0
FUSE_POSIX_LOCKS:         Final = 1 << 1
FUSE_ATOMIC_O_TRUNC:      Final = 1 << 3
FUSE_EXPORT_SUPPORT:      Final = 1 << 4
FUSE_BIG_WRITES:          Final = 1 << 5
FUSE_DONT_MASK:           Final = 1 << 6
FUSE_FLOCK_LOCKS:         Final = 1 << 10
FUSE_HAS_IOCTL_DIR:       Final = 1 << 11
FUSE_AUTO_INVAL_DATA:     Final = 1 << 12
FUSE_DO_READDIRPLUS:      Final = 1 << 13
FUSE_READDIRPLUS_AUTO:    Final = 1 << 14
FUSE_ASYNC_DIO:           Final = 1 << 15
FUSE_WRITEBACK_CACHE:     Final = 1 << 16
FUSE_NO_OPEN_SUPPORT:     Final = 1 << 17
FUSE_PARALLEL_DIROPS:     Final = 1 << 18
FUSE_HANDLE_KILLPRIV:     Final = 1 << 19
FUSE_POSIX_ACL:           Final = 1 << 20
FUSE_ABORT_ERROR:         Final = 1 << 21
FUSE_MAX_PAGES:           Final = 1 << 22
FUSE_CACHE_SYMLINKS:      Final = 1 << 23
FUSE_NO_OPENDIR_SUPPORT:  Final = 1 << 24
FUSE_EXPLICIT_INVAL_DATA: Final = 1 << 25
FUSE_HANDLE_KILLPRIV_V2:  Final = 1 << 28
FUSE_SETXATTR_EXT:        Final = 1 << 29
FUSE_INIT_EXT:            Final = 1 << 30
FUSE_HAS_EXPIRE_ONLY:     Final = 1 << 35
FUSE_DIRECT_IO_ALLOW_MMAP: Final = 1 << 36  # 6.6
FUSE_PASSTHROUGH:         Final = 1 << 37  # 6.9
FUSE_HAS_RESEND:          Final = 1 << 39  # 6.9

# fuse_setattr_in.valid
FATTR_MODE:         Final = 1 << 0
FATTR_UID:          Final = 1 << 1
FATTR_GID:          Final = 1 << 2
FATTR_SIZE:         Final = 1 << 3
FATTR_ATIME:        Final = 1 << 4
FATTR_MTIME:        Final = 1 << 5
FATTR_FH:           Final = 1 << 6
FATTR_ATIME_NOW:    Final = 1 << 7
FATTR_MTIME_NOW:    Final = 1 << 8
FATTR_LOCKOWNER:    Final = 1 << 9
FATTR_CTIME:        Final = 1 << 10
FATTR_KILL_SUIDGID: Final = 1 << 11

# fuse_open_out.open_flags
FOPEN_DIRECT_IO:   Final = 1 << 0
FOPEN_KEEP_CACHE:  Final = 1 << 1
FOPEN_NONSEEKABLE: Final = 1 << 2
FOPEN_CACHE_DIR:   Final = 1 << 3
FOPEN_NOFLUSH:     Final = 1 << 5
FOPEN_PASSTHROUGH: Final = 1 << 7

# Flags of single requests
FUSE_GETATTR_FH:           Final = 1 << 0
FUSE_RELEASE_FLUSH:        Final = 1 << 0
FUSE_RELEASE_FLOCK_UNLOCK: Final = 1 << 1
FUSE_LK_FLOCK:             Final = 1 << 0
FUSE_WRITE_CACHE:          Final = 1 << 0
FUSE_WRITE_LOCKOWNER:      Final = 1 << 1
FUSE_WRITE_KILL_SUIDGID:   Final = 1 << 2
FUSE_OPEN_KILL_SUIDGID:    Final = 1 << 0
FUSE_FSYNC_FDATASYNC:      Final = 1 << 0
FUSE_IOCTL_UNRESTRICTED:   Final = 1 << 1
FUSE_POLL_SCHEDULE_NOTIFY: Final = 1 << 0
FUSE_UNIQUE_RESEND:        Final = 1 << 63  # in fuse_in_header.unique

# fuse_out_header.error of a message that nobody asked for (unique is 0)
FUSE_NOTIFY_POLL:        Final = 1
FUSE_NOTIFY_INVAL_INODE: Final = 2
FUSE_NOTIFY_INVAL_ENTRY: Final = 3
FUSE_NOTIFY_STORE:       Final = 4
FUSE_NOTIFY_RETRIEVE:    Final = 5
FUSE_NOTIFY_DELETE:      Final = 6
FUSE_NOTIFY_RESEND:      Final = 7

FUSE_DEV_IOC_CLONE:         Final = IOR(229, 0, 4)
FUSE_DEV_IOC_BACKING_OPEN:  Final = IOW(229, 1, 16)  # fuse_backing_map; the result is its id
FUSE_DEV_IOC_BACKING_CLOSE: Final = IOW(229, 2, 4)
# fmt: on


class fuse_in_header(Struct, size=40):
    len: u32  # of the whole request, bytes
    opcode: u32
    unique: u64
    nodeid: u64
    uid: u32
    gid: u32
    pid: u32
    total_extlen: Annotated[int, "H2x"]  # of what follows the rest, in units of 8 bytes


class fuse_out_header(Struct, size=16):
    len: u32
    error: s32  # a negative errno
    unique: u64


class fuse_init_in(Struct, size=64):
    major: u32
    minor: u32
    max_readahead: u32
    flags: u32
    flags2: Annotated[int, "I44x"]


class fuse_init_out(Struct, size=64):
    major: u32
    minor: u32
    max_readahead: u32
    flags: u32
    max_background: u16
    congestion_threshold: u16
    max_write: u32
    time_gran: u32  # ns
    max_pages: u16
    map_alignment: u16
    flags2: u32
    max_stack_depth: Annotated[int, "I24x"]  # with FUSE_PASSTHROUGH: of file systems, at least 1


class fuse_attr(Struct, size=88):
    ino: u64
    size: u64
    blocks: u64
    atime: s64  # seconds; the header says uint64_t, the kernel takes it as time64_t
    mtime: s64
    ctime: s64
    atimensec: u32
    mtimensec: u32
    ctimensec: u32
    mode: u32
    nlink: u32
    uid: u32
    gid: u32
    rdev: u32
    blksize: u32
    flags: u32


class fuse_entry_out(Struct, size=128):
    nodeid: u64  # 0: no such name, and remember that
    generation: u64
    entry_valid: u64
    attr_valid: u64
    entry_valid_nsec: u32
    attr_valid_nsec: u32
    attr: Annotated[bytes, "88s"]


class fuse_attr_out(Struct, size=104):
    attr_valid: u64
    attr_valid_nsec: Annotated[int, "I4x"]
    attr: Annotated[bytes, "88s"]


class fuse_forget_in(Struct, size=8):
    nlookup: u64


class fuse_forget_one(Struct, size=16):
    nodeid: u64
    nlookup: u64


class fuse_batch_forget_in(Struct, size=8):
    count: Annotated[int, "I4x"]  # fuse_forget_one follow


class fuse_getattr_in(Struct, size=16):
    getattr_flags: Annotated[int, "I4x"]
    fh: u64


class fuse_setattr_in(Struct, size=88):
    valid: Annotated[int, "I4x"]
    fh: u64
    size: u64
    lock_owner: u64
    atime: s64
    mtime: s64
    ctime: s64
    atimensec: u32
    mtimensec: u32
    ctimensec: u32
    mode: Annotated[int, "I4x"]
    uid: u32
    gid: Annotated[int, "I4x"]


class fuse_mknod_in(Struct, size=16):
    mode: u32
    rdev: u32
    umask: Annotated[int, "I4x"]


class fuse_mkdir_in(Struct, size=8):
    mode: u32
    umask: u32


class fuse_rename_in(Struct, size=8):
    newdir: u64


class fuse_rename2_in(Struct, size=16):
    newdir: u64
    flags: Annotated[int, "I4x"]


class fuse_link_in(Struct, size=8):
    oldnodeid: u64


class fuse_open_in(Struct, size=8):
    flags: u32
    open_flags: u32


class fuse_create_in(Struct, size=16):
    flags: u32
    mode: u32
    umask: u32
    open_flags: u32


class fuse_open_out(Struct, size=16):
    fh: u64
    open_flags: u32
    backing_id: s32  # with FOPEN_PASSTHROUGH


class fuse_backing_map(Struct, size=16):
    fd: s32
    flags: Annotated[int, "I8x"]


class fuse_release_in(Struct, size=24):
    fh: u64
    flags: u32
    release_flags: u32
    lock_owner: u64


class fuse_flush_in(Struct, size=24):
    fh: Annotated[int, "Q8x"]
    lock_owner: u64


class fuse_read_in(Struct, size=40):
    fh: u64
    offset: u64
    size: u32
    read_flags: u32
    lock_owner: u64
    flags: Annotated[int, "I4x"]


class fuse_write_in(Struct, size=40):
    fh: u64
    offset: u64
    size: u32
    write_flags: u32
    lock_owner: u64
    flags: Annotated[int, "I4x"]


class fuse_write_out(Struct, size=8):
    size: Annotated[int, "I4x"]


class fuse_kstatfs(Struct, size=80):
    blocks: u64
    bfree: u64
    bavail: u64
    files: u64
    ffree: u64
    bsize: u32
    namelen: u32
    frsize: Annotated[int, "I28x"]


class fuse_fsync_in(Struct, size=16):
    fh: u64
    fsync_flags: Annotated[int, "I4x"]


class fuse_setxattr_in(Struct, size=16):
    """With FUSE_SETXATTR_EXT; else its first 8 bytes. Source: include/uapi/linux/fuse.h."""

    size: u32
    flags: u32
    setxattr_flags: Annotated[int, "I4x"]


class fuse_getxattr_in(Struct, size=8):
    size: Annotated[int, "I4x"]


class fuse_getxattr_out(Struct, size=8):
    size: Annotated[int, "I4x"]


class fuse_file_lock(Struct, size=24):
    start: u64
    end: u64
    type: u32
    pid: u32


class fuse_lk_in(Struct, size=48):
    fh: u64
    owner: u64
    lk_start: u64
    lk_end: u64
    lk_type: u32
    lk_pid: u32
    lk_flags: Annotated[int, "I4x"]


class fuse_access_in(Struct, size=8):
    mask: Annotated[int, "I4x"]


class fuse_interrupt_in(Struct, size=8):
    unique: u64


class fuse_ioctl_in(Struct, size=32):
    fh: u64
    flags: u32
    cmd: u32
    arg: u64
    in_size: u32
    out_size: u32


class fuse_ioctl_out(Struct, size=16):
    result: s32
    flags: u32
    in_iovs: u32
    out_iovs: u32


class fuse_fallocate_in(Struct, size=32):
    fh: u64
    offset: u64
    length: u64
    mode: Annotated[int, "I4x"]


class fuse_lseek_in(Struct, size=24):
    fh: u64
    offset: u64
    whence: Annotated[int, "I4x"]


class fuse_lseek_out(Struct, size=8):
    offset: u64


class fuse_copy_file_range_in(Struct, size=56):
    fh_in: u64
    off_in: u64
    nodeid_out: u64
    fh_out: u64
    off_out: u64
    len: u64
    flags: u64


class fuse_copy_file_range_out(Struct, size=8):
    bytes_copied: u64


class fuse_poll_in(Struct, size=24):
    fh: u64
    kh: u64  # which file is to be woken up
    flags: u32
    events: u32


class fuse_poll_out(Struct, size=8):
    revents: Annotated[int, "I4x"]


class fuse_statx_in(Struct, size=24):
    getattr_flags: Annotated[int, "I4x"]
    fh: u64
    sx_flags: u32
    sx_mask: u32


class fuse_sx_time(Struct, size=16):
    tv_sec: s64
    tv_nsec: Annotated[int, "I4x"]


class fuse_statx(Struct, size=256):
    mask: u32
    blksize: u32
    attributes: u64
    nlink: u32
    uid: u32
    gid: u32
    mode: Annotated[int, "H2x"]
    ino: u64
    size: u64
    blocks: u64
    attributes_mask: u64
    atime: Annotated[bytes, "16s"]
    btime: Annotated[bytes, "16s"]
    ctime: Annotated[bytes, "16s"]
    mtime: Annotated[bytes, "16s"]
    rdev_major: u32
    rdev_minor: u32
    dev_major: u32
    dev_minor: Annotated[int, "I112x"]


class fuse_statx_out(Struct, size=288):
    attr_valid: u64
    attr_valid_nsec: u32
    flags: Annotated[int, "I16x"]
    stat: Annotated[bytes, "256s"]


class fuse_syncfs_in(Struct, size=8):
    padding: u64


class fuse_dirent(Struct, size=24):
    """The name follows, and zero bytes up to a multiple of 8. In include/uapi/linux/fuse.h."""

    ino: u64
    off: u64
    namelen: u32
    type: u32  # DT_*


class fuse_notify_inval_inode_out(Struct, size=24):
    ino: u64
    off: s64
    len: s64


class fuse_notify_inval_entry_out(Struct, size=16):
    parent: u64
    namelen: u32
    flags: u32


class fuse_notify_delete_out(Struct, size=24):
    parent: u64
    child: u64
    namelen: Annotated[int, "I4x"]


class fuse_notify_poll_wakeup_out(Struct, size=8):
    kh: u64


class fuse_notify_retrieve_out(Struct, size=32):
    notify_unique: u64
    nodeid: u64
    offset: u64
    size: Annotated[int, "I4x"]


class fuse_notify_retrieve_in(Struct, size=40):
    """What comes with FUSE_NOTIFY_REPLY; the data follows. Source: include/uapi/linux/fuse.h."""

    dummy1: u64
    offset: u64
    size: Annotated[int, "I20x"]


class fuse_notify_store_out(Struct, size=24):
    nodeid: u64
    offset: u64
    size: Annotated[int, "I4x"]
