"""System call names and numbers, per architecture.

The names are those of the kernel's tables, which is what ``__NR_*`` spells: on i386 ``getuid`` is
the 16-bit call and ``getuid32`` the other. Where one name asks for different registers on two
architectures, `viewosd.syscalls.by_number` knows. The tables are made by scripts/gen-sysno.
"""

from __future__ import annotations

from typing import Final

from .arch import Arch
from .sysno_aarch64 import SYSNO_AARCH64
from .sysno_i386 import SYSNO_I386
from .sysno_x86_64 import SYSNO_X86_64

SYSNO: Final[dict[Arch, dict[str, int]]] = {
    Arch.X86_64: SYSNO_X86_64,
    Arch.I386: SYSNO_I386,
    Arch.AARCH64: SYSNO_AARCH64,
}
"""Architecture to (name to number)."""

NAME: Final[dict[Arch, dict[int, str]]] = {
    arch: {number: name for name, number in table.items()} for arch, table in SYSNO.items()
}
"""Architecture to (number to name)."""
