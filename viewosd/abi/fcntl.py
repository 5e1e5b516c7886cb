"""Opening, locking and naming files: the constants. The structures are in `files`.

Source: include/uapi/asm-generic/fcntl.h, arch/arm64/include/uapi/asm/fcntl.h,
include/uapi/linux/fcntl.h, openat2.h, falloc.h, memfd.h; open(2), fcntl(2), openat2(2).
Four of the O_* differ between x86 and arm64; here they are those of the machine we run on, which
are also those of every program that can live in a view of it.
"""

from __future__ import annotations

from typing import Final

from .arch import NATIVE, Arch

_ARM64: Final = NATIVE is Arch.AARCH64

# fmt: off
AT_FDCWD: Final = -100

O_ACCMODE:   Final = 0o0000_0003
O_RDONLY:    Final = 0o0000_0000
O_WRONLY:    Final = 0o0000_0001
O_RDWR:      Final = 0o0000_0002
O_CREAT:     Final = 0o0000_0100
O_EXCL:      Final = 0o0000_0200
O_NOCTTY:    Final = 0o0000_0400
O_TRUNC:     Final = 0o0000_1000
O_APPEND:    Final = 0o0000_2000
O_NONBLOCK:  Final = 0o0000_4000
O_DSYNC:     Final = 0o0001_0000
FASYNC:      Final = 0o0002_0000  # O_ASYNC of the C library
O_DIRECT:    Final = 0o0020_0000 if _ARM64 else 0o0004_0000
O_LARGEFILE: Final = 0o0040_0000 if _ARM64 else 0o0010_0000
O_DIRECTORY: Final = 0o0004_0000 if _ARM64 else 0o0020_0000
O_NOFOLLOW:  Final = 0o0010_0000 if _ARM64 else 0o0040_0000
O_NOATIME:   Final = 0o0100_0000
O_CLOEXEC:   Final = 0o0200_0000
O_SYNC:      Final = 0o0400_0000 | O_DSYNC
O_PATH:      Final = 0o1000_0000
O_TMPFILE:   Final = 0o2000_0000 | O_DIRECTORY

# *at() calls
AT_SYMLINK_NOFOLLOW:   Final = 0x100
AT_EACCESS:            Final = 0x200  # faccessat2(2)
AT_REMOVEDIR:          Final = 0x200  # unlinkat(2)
AT_SYMLINK_FOLLOW:     Final = 0x400  # linkat(2)
AT_NO_AUTOMOUNT:       Final = 0x800
AT_EMPTY_PATH:         Final = 0x1000
AT_STATX_SYNC_TYPE:    Final = 0x6000
AT_STATX_SYNC_AS_STAT: Final = 0x0000
AT_STATX_FORCE_SYNC:   Final = 0x2000
AT_STATX_DONT_SYNC:    Final = 0x4000
AT_RECURSIVE:          Final = 0x8000
AT_HANDLE_FID:         Final = 0x200  # name_to_handle_at(2); 6.5
AT_HANDLE_MNT_ID_UNIQUE: Final = 0x001  # 6.12
AT_HANDLE_CONNECTABLE: Final = 0x002  # 6.13
AT_EXECVE_CHECK:       Final = 0x10000  # execveat(2); 6.14

# openat2(2)
RESOLVE_NO_XDEV:       Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS:   Final = 0x04
RESOLVE_BENEATH:       Final = 0x08
RESOLVE_IN_ROOT:       Final = 0x10
RESOLVE_CACHED:        Final = 0x20  # 5.12

# renameat2(2). Source: include/uapi/linux/fs.h
RENAME_NOREPLACE: Final = 1 << 0
RENAME_EXCHANGE:  Final = 1 << 1
RENAME_WHITEOUT:  Final = 1 << 2

# access(2). Source: include/uapi/linux/fcntl.h has none; include/linux/fs.h: MAY_*
F_OK: Final = 0
X_OK: Final = 1
W_OK: Final = 2
R_OK: Final = 4

# lseek(2). Source: include/uapi/linux/fs.h
SEEK_SET:  Final = 0
SEEK_CUR:  Final = 1
SEEK_END:  Final = 2
SEEK_DATA: Final = 3
SEEK_HOLE: Final = 4

# fcntl(2)
F_DUPFD:         Final = 0
F_GETFD:         Final = 1
F_SETFD:         Final = 2
F_GETFL:         Final = 3
F_SETFL:         Final = 4
F_GETLK:         Final = 5
F_SETLK:         Final = 6
F_SETLKW:        Final = 7
F_SETOWN:        Final = 8
F_GETOWN:        Final = 9
F_SETSIG:        Final = 10
F_GETSIG:        Final = 11
F_GETLK64:       Final = 12  # i386 only
F_SETLK64:       Final = 13
F_SETLKW64:      Final = 14
F_SETOWN_EX:     Final = 15
F_GETOWN_EX:     Final = 16
F_OFD_GETLK:     Final = 36
F_OFD_SETLK:     Final = 37
F_OFD_SETLKW:    Final = 38
F_SETLEASE:      Final = 1024
F_GETLEASE:      Final = 1025
F_NOTIFY:        Final = 1026
F_DUPFD_QUERY:   Final = 1027  # 6.10
F_CREATED_QUERY: Final = 1028  # 6.12
F_CANCELLK:      Final = 1029
F_DUPFD_CLOEXEC: Final = 1030
F_SETPIPE_SZ:    Final = 1031
F_GETPIPE_SZ:    Final = 1032
F_ADD_SEALS:     Final = 1033
F_GET_SEALS:     Final = 1034

FD_CLOEXEC: Final = 1

F_RDLCK: Final = 0
F_WRLCK: Final = 1
F_UNLCK: Final = 2

F_SEAL_SEAL:         Final = 0x01
F_SEAL_SHRINK:       Final = 0x02
F_SEAL_GROW:         Final = 0x04
F_SEAL_WRITE:        Final = 0x08
F_SEAL_FUTURE_WRITE: Final = 0x10
F_SEAL_EXEC:         Final = 0x20  # 6.3

# memfd_create(2)
MFD_CLOEXEC:       Final = 0x01
MFD_ALLOW_SEALING: Final = 0x02
MFD_HUGETLB:       Final = 0x04
MFD_NOEXEC_SEAL:   Final = 0x08  # 6.3
MFD_EXEC:          Final = 0x10  # 6.3

# flock(2)
LOCK_SH: Final = 1
LOCK_EX: Final = 2
LOCK_NB: Final = 4
LOCK_UN: Final = 8

# fallocate(2)
FALLOC_FL_KEEP_SIZE:      Final = 0x01
FALLOC_FL_PUNCH_HOLE:     Final = 0x02
FALLOC_FL_COLLAPSE_RANGE: Final = 0x08
FALLOC_FL_ZERO_RANGE:     Final = 0x10
FALLOC_FL_INSERT_RANGE:   Final = 0x20
FALLOC_FL_UNSHARE_RANGE:  Final = 0x40

# close_range(2). Source: include/uapi/linux/close_range.h
CLOSE_RANGE_UNSHARE: Final = 1 << 1
CLOSE_RANGE_CLOEXEC: Final = 1 << 2

# setxattr(2). Source: include/uapi/linux/xattr.h
XATTR_CREATE:   Final = 1
XATTR_REPLACE:  Final = 2
XATTR_SIZE_MAX: Final = 65536
XATTR_LIST_MAX: Final = 65536
XATTR_NAME_MAX: Final = 255

PATH_MAX: Final = 4096  # bytes, with the NUL. Source: include/uapi/linux/limits.h
# fmt: on
