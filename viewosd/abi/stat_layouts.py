"""One `statx` in the structures that older calls fill.

Source: fs/stat.c:cp_new_stat(), cp_old_stat(); arch/x86/kernel/sys_ia32.c:cp_stat64().
"""

from __future__ import annotations

from .arch import NATIVE, Arch
from .errno import EOVERFLOW
from .stat import old_kernel_stat, stat, stat64, statx

_LOW = 0xFFFF_FFFF
# Times before 1970: aarch64 has them signed, x86-64 as the same bits without a sign.
_NATIVE_MASK = -1 if NATIVE is Arch.AARCH64 else (1 << 64) - 1
_TIMES = ("st_atime", "st_mtime", "st_ctime")


def stat_of(found: statx, *, narrow: bool = False) -> stat:
    """As stat(2) tells it.

    Args:
        narrow: for a 32-bit program: of times the low 32 bits, ids that fit 16.
    """
    mask = _LOW if narrow else _NATIVE_MASK
    return stat(
        st_dev=_device(found.stx_dev_major, found.stx_dev_minor),
        st_ino=found.stx_ino,
        st_nlink=found.stx_nlink,
        st_mode=found.stx_mode,
        st_uid=id16(found.stx_uid) if narrow else found.stx_uid,
        st_gid=id16(found.stx_gid) if narrow else found.stx_gid,
        st_rdev=_device(found.stx_rdev_major, found.stx_rdev_minor),
        st_size=found.stx_size,
        st_blksize=found.stx_blksize,
        st_blocks=found.stx_blocks,
        st_atime=found.stx_atime_tv_sec & mask,
        st_atime_nsec=found.stx_atime_tv_nsec,
        st_mtime=found.stx_mtime_tv_sec & mask,
        st_mtime_nsec=found.stx_mtime_tv_nsec,
        st_ctime=found.stx_ctime_tv_sec & mask,
        st_ctime_nsec=found.stx_ctime_tv_nsec,
    )


def stat64_of(found: stat) -> stat64:
    """i386's own structure."""
    same = {n: getattr(found, n) for n in stat64._fields if n != "st_ino_low"}
    times = {n: same[n] & _LOW for n in _TIMES}
    return stat64(**same | times | {"st_ino_low": found.st_ino & _LOW})


def old_stat_of(found: stat) -> old_kernel_stat:
    """The oldest of i386: ids and mode of 16 bits.

    Raises:
        OSError: EOVERFLOW, a number does not fit.
    """
    same = {n: getattr(found, n) for n in old_kernel_stat._fields}
    cut = {n: same[n] & _LOW for n in _TIMES} | {n: id16(same[n]) for n in ("st_uid", "st_gid")}
    wide = same | cut
    fits = all(wide[n] <= 0xFFFF for n in ("st_dev", "st_rdev", "st_ino", "st_nlink"))
    if not fits or wide["st_size"] > 0x7FFF_FFFF:
        raise OSError(EOVERFLOW, "a number does not fit 16 bits")
    return old_kernel_stat(**wide)


def id16(id: int) -> int:
    """An id as a structure with 16 bits shows it: include/linux/highuid.h:high2lowuid()."""
    return id if id <= 0xFFFF else 0xFFFE


def _device(major: int, minor: int) -> int:
    """include/linux/kdev_t.h:new_encode_dev()."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
