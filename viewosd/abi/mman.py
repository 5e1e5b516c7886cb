"""Mapping memory. Source: include/uapi/asm-generic/mman-common.h, include/uapi/linux/mman.h."""

from __future__ import annotations

from typing import Final

from .layout import Struct, u32

# fmt: off
PROT_NONE:  Final = 0x0
PROT_READ:  Final = 0x1
PROT_WRITE: Final = 0x2
PROT_EXEC:  Final = 0x4

MAP_SHARED:          Final = 0x01
MAP_PRIVATE:         Final = 0x02
MAP_SHARED_VALIDATE: Final = 0x03
MAP_TYPE:            Final = 0x0F
MAP_FIXED:           Final = 0x10
MAP_ANONYMOUS:       Final = 0x20
MAP_FIXED_NOREPLACE: Final = 0x10_0000
# fmt: on


class mmap_arg_struct32(Struct, size=24, packed=True):
    """i386's mmap (90) takes one address, of its six arguments. Source: arch/x86/kernel/sys_ia32.c."""

    addr: u32
    len: u32
    prot: u32
    flags: u32
    fd: u32
    offset: u32  # bytes
