"""Scatter and gather. Source: include/uapi/linux/uio.h; readv(2)."""

from __future__ import annotations

from typing import Final

from .layout import Struct, u32, u64

# fmt: off
UIO_FASTIOV: Final = 8
UIO_MAXIOV:  Final = 1024  # most entries of one call (EINVAL beyond)

# Flags of preadv2(2) and pwritev2(2). Source: include/uapi/linux/fs.h
RWF_HIPRI:     Final = 0x01
RWF_DSYNC:     Final = 0x02
RWF_SYNC:      Final = 0x04
RWF_NOWAIT:    Final = 0x08
RWF_APPEND:    Final = 0x10
RWF_NOAPPEND:  Final = 0x20
RWF_ATOMIC:    Final = 0x40
RWF_DONTCACHE: Final = 0x80

# Flags of splice(2), tee(2) and vmsplice(2). Source: include/linux/splice.h
SPLICE_F_MOVE:     Final = 0x01
SPLICE_F_NONBLOCK: Final = 0x02
SPLICE_F_MORE:     Final = 0x04
SPLICE_F_GIFT:     Final = 0x08
# fmt: on


class compat_iovec(Struct, size=8, packed=True):
    """`iovec` of a 32-bit program. Source: include/uapi/linux/uio.h via include/linux/compat.h."""

    iov_base: u32
    iov_len: u32


class iovec(Struct, size=16):
    """One piece of memory."""

    compat = compat_iovec

    iov_base: u64  # address
    iov_len: u64  # bytes
