"""Between a class and its number: the one place that knows both.

A class is named as the kernel's table names the call, with two exceptions on i386, whose ``select``
and ``mmap`` take one address of all their arguments: `old_select`, `old_mmap`.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from ..abi.arch import Arch
from ..abi.sysno import SYSNO
from .base import TABLE, Syscall

RENAMED: Final[dict[Arch, dict[str, str]]] = {
    Arch.I386: {"mmap": "old_mmap", "select": "old_select"},
}
"""Architecture to (the kernel's name to the class's), where they differ."""

_ENOSYS: Final = "never implemented"
_GONE: Final = "removed from the kernel"
_OTHER: Final = "not offered to these programs by a 64-bit kernel"

STUBS: Final[dict[str, str]] = {
    "afs_syscall": _ENOSYS,
    "break": _ENOSYS,
    "ftime": _ENOSYS,
    "getpmsg": _ENOSYS,
    "gtty": _ENOSYS,
    "idle": f"{_GONE} (2.3)",
    "lock": _ENOSYS,
    "mpx": _ENOSYS,
    "prof": _ENOSYS,
    "profil": _ENOSYS,
    "putpmsg": _ENOSYS,
    "security": _ENOSYS,
    "stty": _ENOSYS,
    "tuxcall": _ENOSYS,
    "ulimit": _ENOSYS,
    "vserver": _ENOSYS,
    "_sysctl": f"{_GONE} (5.5)",
    "bdflush": f"{_GONE} (5.15)",
    "create_module": f"{_GONE} (2.6)",
    "get_kernel_syms": f"{_GONE} (2.6)",
    "lookup_dcookie": f"{_GONE} (6.7)",
    "nfsservctl": f"{_GONE} (3.1)",
    "query_module": f"{_GONE} (2.6)",
    "epoll_ctl_old": _ENOSYS,
    "epoll_wait_old": _ENOSYS,
    "vm86": _OTHER,
    "vm86old": _OTHER,
}
"""Names of the kernel's tables that have no class, because they fail with ENOSYS, and why."""


@cache
def by_number(arch: Arch) -> dict[int, type[Syscall]]:
    """Number to class of every call that a program of ``arch`` can make. Do not change it."""
    renamed = RENAMED.get(arch, {})
    named = ((number, renamed.get(name, name)) for name, number in SYSNO[arch].items())
    return {number: TABLE[name] for number, name in named if name in TABLE}


@cache
def _numbers(arch: Arch) -> dict[type[Syscall], int]:
    return {call: number for number, call in by_number(arch).items()}


def number_of(call: type[Syscall], arch: Arch) -> int | None:
    """The number by which a program of ``arch`` makes this call; None: it can't."""
    return _numbers(arch).get(call)
