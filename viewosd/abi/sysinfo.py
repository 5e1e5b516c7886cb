"""sysinfo(2). Source: include/uapi/linux/sysinfo.h; kernel/sys.c, struct compat_sysinfo."""

from __future__ import annotations

from typing import Annotated, Final

from .layout import Struct, s32, s64, u16, u32, u64

SI_LOAD_SHIFT: Final = 16
"""The load averages are fixed-point numbers with this many bits after the point."""


class compat_sysinfo(Struct, size=64, packed=True):
    """`sysinfo` of a 32-bit program; sizes that do not fit are scaled by a larger mem_unit."""

    uptime: s32
    loads_1: u32
    loads_5: u32
    loads_15: u32
    totalram: u32
    freeram: u32
    sharedram: u32
    bufferram: u32
    totalswap: u32
    freeswap: u32
    procs: Annotated[int, "H2x"]
    totalhigh: u32
    freehigh: u32
    mem_unit: Annotated[int, "I8x"]


class sysinfo(Struct, size=112):
    """The machine's memory and load. ``unsigned long loads[3]`` is flattened."""

    compat = compat_sysinfo

    uptime: s64  # seconds
    loads_1: u64
    loads_5: u64
    loads_15: u64
    totalram: u64  # of mem_unit bytes, like the next five
    freeram: u64
    sharedram: u64
    bufferram: u64
    totalswap: u64
    freeswap: u64
    procs: u16
    totalhigh: u64
    freehigh: u64
    mem_unit: u32
