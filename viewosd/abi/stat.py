"""What a file is: stat(2), statx(2), statfs(2).

Source: arch/x86/include/uapi/asm/stat.h, include/uapi/asm-generic/stat.h (arm64),
include/uapi/linux/stat.h, include/uapi/asm-generic/statfs.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from .arch import NATIVE, Arch
from .layout import Struct, s32, s64, u16, u32, u64

# fmt: off
S_IFMT:   Final = 0o170000
S_IFSOCK: Final = 0o140000
S_IFLNK:  Final = 0o120000
S_IFREG:  Final = 0o100000
S_IFBLK:  Final = 0o060000
S_IFDIR:  Final = 0o040000
S_IFCHR:  Final = 0o020000
S_IFIFO:  Final = 0o010000
S_ISUID:  Final = 0o004000
S_ISGID:  Final = 0o002000
S_ISVTX:  Final = 0o001000

# statx(2): what is asked for and what was filled
STATX_TYPE:           Final = 0x0000_0001
STATX_MODE:           Final = 0x0000_0002
STATX_NLINK:          Final = 0x0000_0004
STATX_UID:            Final = 0x0000_0008
STATX_GID:            Final = 0x0000_0010
STATX_ATIME:          Final = 0x0000_0020
STATX_MTIME:          Final = 0x0000_0040
STATX_CTIME:          Final = 0x0000_0080
STATX_INO:            Final = 0x0000_0100
STATX_SIZE:           Final = 0x0000_0200
STATX_BLOCKS:         Final = 0x0000_0400
STATX_BASIC_STATS:    Final = 0x0000_07FF
STATX_BTIME:          Final = 0x0000_0800
STATX_MNT_ID:         Final = 0x0000_1000  # 5.8
STATX_DIOALIGN:       Final = 0x0000_2000  # 6.1
STATX_MNT_ID_UNIQUE:  Final = 0x0000_4000  # 6.8
STATX_SUBVOL:         Final = 0x0000_8000  # 6.10
STATX_WRITE_ATOMIC:   Final = 0x0001_0000  # 6.11
STATX_DIO_READ_ALIGN: Final = 0x0002_0000  # 6.14

STATX_ATTR_COMPRESSED:   Final = 0x0000_0004
STATX_ATTR_IMMUTABLE:    Final = 0x0000_0010
STATX_ATTR_APPEND:       Final = 0x0000_0020
STATX_ATTR_NODUMP:       Final = 0x0000_0040
STATX_ATTR_ENCRYPTED:    Final = 0x0000_0800
STATX_ATTR_AUTOMOUNT:    Final = 0x0000_1000
STATX_ATTR_MOUNT_ROOT:   Final = 0x0000_2000
STATX_ATTR_VERITY:       Final = 0x0010_0000
STATX_ATTR_DAX:          Final = 0x0020_0000
STATX_ATTR_WRITE_ATOMIC: Final = 0x0040_0000

# statfs.f_flags. Source: include/linux/statfs.h
ST_RDONLY:      Final = 0x0001
ST_NOSUID:      Final = 0x0002
ST_NODEV:       Final = 0x0004
ST_NOEXEC:      Final = 0x0008
ST_SYNCHRONOUS: Final = 0x0010
ST_VALID:       Final = 0x0020
ST_MANDLOCK:    Final = 0x0040
ST_NOATIME:     Final = 0x0400
ST_NODIRATIME:  Final = 0x0800
ST_RELATIME:    Final = 0x1000
ST_NOSYMFOLLOW: Final = 0x2000
# fmt: on


class compat_stat(Struct, size=64, packed=True):
    """`stat` as i386's stat (106), lstat and fstat give it. Source: arch/x86/include/asm/compat.h."""

    st_dev: u32
    st_ino: u32
    st_mode: u16
    st_nlink: u16
    st_uid: u16
    st_gid: u16
    st_rdev: u32
    st_size: u32
    st_blksize: u32
    st_blocks: u32
    st_atime: u32
    st_atime_nsec: u32
    st_mtime: u32
    st_mtime_nsec: u32
    st_ctime: u32
    st_ctime_nsec: Annotated[int, "I8x"]


class x86_64_stat(Struct, size=144):
    """`stat` of x86_64."""

    compat = compat_stat

    st_dev: u64
    st_ino: u64
    st_nlink: u64
    st_mode: u32
    st_uid: u32
    st_gid: Annotated[int, "I4x"]
    st_rdev: u64
    st_size: s64  # bytes
    st_blksize: s64  # bytes
    st_blocks: s64  # of 512 bytes
    st_atime: u64
    st_atime_nsec: u64
    st_mtime: u64
    st_mtime_nsec: u64
    st_ctime: u64
    st_ctime_nsec: Annotated[int, "Q24x"]


class aarch64_stat(Struct, size=128):
    """`stat` of aarch64 and every later architecture."""

    st_dev: u64
    st_ino: u64
    st_mode: u32
    st_nlink: u32
    st_uid: u32
    st_gid: u32
    st_rdev: Annotated[int, "Q8x"]
    st_size: s64
    st_blksize: Annotated[int, "i4x"]
    st_blocks: s64
    st_atime: s64
    st_atime_nsec: u64
    st_mtime: s64
    st_mtime_nsec: u64
    st_ctime: s64
    st_ctime_nsec: Annotated[int, "Q8x"]


if TYPE_CHECKING or NATIVE is Arch.X86_64:  # noqa: SIM108  (a type checker reads this form)
    stat = x86_64_stat
else:
    stat = aarch64_stat


class stat64(Struct, size=96, packed=True):
    """i386's stat64, lstat64, fstat64 and fstatat64: its own structure, not a narrowed one.

    Source: arch/x86/include/uapi/asm/stat.h, struct stat64 of i386; packed, as
    arch/x86/include/asm/ia32.h has it.
    """

    st_dev: Annotated[int, "Q4x"]
    st_ino_low: u32  # ``__st_ino``: the low 32 bits, for programs that never learned better
    st_mode: u32
    st_nlink: u32
    st_uid: u32
    st_gid: u32
    st_rdev: Annotated[int, "Q4x"]
    st_size: s64
    st_blksize: u32
    st_blocks: s64
    st_atime: u32
    st_atime_nsec: u32
    st_mtime: u32
    st_mtime_nsec: u32
    st_ctime: u32
    st_ctime_nsec: u32
    st_ino: u64


class old_kernel_stat(Struct, size=32, packed=True):
    """i386's oldstat (18), oldlstat and oldfstat: ``struct __old_kernel_stat``."""

    st_dev: u16
    st_ino: u16
    st_mode: u16
    st_nlink: u16
    st_uid: u16
    st_gid: u16
    st_rdev: Annotated[int, "H2x"]
    st_size: u32
    st_atime: u32
    st_mtime: u32
    st_ctime: u32


class statx(Struct, size=256):
    """statx(2), the same on every architecture."""

    stx_mask: u32  # STATX_*: which fields were filled
    stx_blksize: u32
    stx_attributes: u64
    stx_nlink: u32
    stx_uid: u32
    stx_gid: u32
    stx_mode: Annotated[int, "H2x"]
    stx_ino: u64
    stx_size: u64
    stx_blocks: u64  # of 512 bytes
    stx_attributes_mask: u64
    stx_atime_tv_sec: s64
    stx_atime_tv_nsec: Annotated[int, "I4x"]
    stx_btime_tv_sec: s64
    stx_btime_tv_nsec: Annotated[int, "I4x"]
    stx_ctime_tv_sec: s64
    stx_ctime_tv_nsec: Annotated[int, "I4x"]
    stx_mtime_tv_sec: s64
    stx_mtime_tv_nsec: Annotated[int, "I4x"]
    stx_rdev_major: u32
    stx_rdev_minor: u32
    stx_dev_major: u32
    stx_dev_minor: u32
    stx_mnt_id: u64
    stx_dio_mem_align: u32
    stx_dio_offset_align: u32
    stx_subvol: u64
    stx_atomic_write_unit_min: u32
    stx_atomic_write_unit_max: u32
    stx_atomic_write_segments_max: u32
    stx_dio_read_offset_align: u32
    stx_atomic_write_unit_max_opt: Annotated[int, "I68x"]


class compat_statfs(Struct, size=64, packed=True):
    """`statfs` of a 32-bit program. Source: include/linux/compat.h."""

    f_type: s32
    f_bsize: s32
    f_blocks: s32
    f_bfree: s32
    f_bavail: s32
    f_files: s32
    f_ffree: s32
    f_fsid: Annotated[bytes, "8s"]
    f_namelen: s32
    f_frsize: s32
    f_flags: Annotated[int, "i16x"]


class compat_statfs64(Struct, size=84, packed=True):
    """`statfs64` of a 32-bit program, packed to 84 bytes.

    Source: include/uapi/asm-generic/statfs.h, struct compat_statfs64.
    """

    f_type: u32
    f_bsize: u32
    f_blocks: u64
    f_bfree: u64
    f_bavail: u64
    f_files: u64
    f_ffree: u64
    f_fsid: Annotated[bytes, "8s"]
    f_namelen: u32
    f_frsize: u32
    f_flags: Annotated[int, "I16x"]


class statfs(Struct, size=120):
    """A file system."""

    compat = compat_statfs

    f_type: s64
    f_bsize: s64
    f_blocks: s64  # of f_frsize bytes
    f_bfree: s64
    f_bavail: s64
    f_files: s64
    f_ffree: s64
    f_fsid: Annotated[bytes, "8s"]
    f_namelen: s64
    f_frsize: s64
    f_flags: Annotated[int, "q32x"]


class statfs64(Struct, size=120):
    """What i386's statfs64 and fstatfs64 widen to."""

    compat = compat_statfs64

    f_type: s64
    f_bsize: s64
    f_blocks: u64
    f_bfree: u64
    f_bavail: u64
    f_files: u64
    f_ffree: u64
    f_fsid: Annotated[bytes, "8s"]
    f_namelen: s64
    f_frsize: s64
    f_flags: Annotated[int, "q32x"]


class compat_ustat(Struct, size=20, packed=True):
    """`ustat` of a 32-bit program."""

    f_tfree: s32
    f_tinode: u32
    f_fname: Annotated[bytes, "6s"]
    f_fpack: Annotated[bytes, "6s"]


class ustat(Struct, size=32):
    """ustat(2). Source: include/linux/types.h."""

    compat = compat_ustat

    f_tfree: s32
    f_tinode: u64
    f_fname: Annotated[bytes, "6s"]
    f_fpack: Annotated[bytes, "6s"]
