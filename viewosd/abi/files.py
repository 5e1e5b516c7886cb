"""Structures of the calls on files: openat2(2), fcntl(2), extended attributes, page cache.

The constants that go with them are in `fcntl`.
"""

from __future__ import annotations

from .layout import Struct, s16, s32, s64, u32, u64


class open_how(Struct, size=24):
    """openat2(2). It may grow; the call says its size. Source: include/uapi/linux/openat2.h."""

    flags: u64
    mode: u64
    resolve: u64


class compat_flock(Struct, size=16, packed=True):
    """`flock` of a 32-bit program, F_GETLK and F_SETLK. Source: include/linux/compat.h."""

    l_type: s16
    l_whence: s16
    l_start: s32
    l_len: s32
    l_pid: s32


class compat_flock64(Struct, size=24, packed=True):
    """`flock` of a 32-bit program, F_GETLK64 and F_OFD_*. Source: include/linux/compat.h."""

    l_type: s16
    l_whence: s16
    l_start: s64
    l_len: s64
    l_pid: s32


class flock(Struct, size=32):
    """A lock on part of a file. Source: include/uapi/asm-generic/fcntl.h."""

    compat = compat_flock

    l_type: s16
    l_whence: s16
    l_start: s64
    l_len: s64
    l_pid: s32


class flock64(Struct, size=32):
    """What F_GETLK64 and F_OFD_* of an i386 program widen to; natively the same as `flock`.

    Source: include/uapi/asm-generic/fcntl.h.
    """

    compat = compat_flock64

    l_type: s16
    l_whence: s16
    l_start: s64
    l_len: s64
    l_pid: s32


class f_owner_ex(Struct, size=8):
    """F_SETOWN_EX. Source: include/uapi/asm-generic/fcntl.h."""

    type: s32
    pid: s32


class xattr_args(Struct, size=16):
    """setxattrat(2), getxattrat(2). Source: include/uapi/linux/xattr.h; 6.13."""

    value: u64  # address
    size: u32  # bytes
    flags: u32


class file_attr(Struct, size=24):
    """file_getattr(2). Source: include/uapi/linux/fs.h; 6.17."""

    fa_xflags: u64
    fa_extsize: u32
    fa_nextents: u32
    fa_projid: u32
    fa_cowextsize: u32


class cachestat_range(Struct, size=16):
    """cachestat(2). Source: include/uapi/linux/mman.h; 6.5."""

    off: u64
    len: u64


class cachestat(Struct, size=40):
    """cachestat(2): pages. Source: include/uapi/linux/mman.h; 6.5."""

    nr_cache: u64
    nr_dirty: u64
    nr_writeback: u64
    nr_evicted: u64
    nr_recently_evicted: u64
