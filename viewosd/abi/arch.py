"""The architectures whose programs can live in a view.

Source: include/uapi/linux/audit.h, AUDIT_ARCH_*; include/uapi/linux/elf-em.h, EM_*.
"""

from __future__ import annotations

import platform
from enum import IntEnum
from typing import Final

X32_SYSCALL_BIT: Final = 0x4000_0000
"""An x32 call is AUDIT_ARCH_X86_64 with this bit in its number (arch/x86/include/uapi/asm/unistd.h)."""


class Arch(IntEnum):
    """AUDIT_ARCH_*: what ``seccomp_data.arch`` says."""

    X86_64 = 0xC000_003E
    I386 = 0x4000_0003
    AARCH64 = 0xC000_00B7

    @property
    def is_compat(self) -> bool:
        """True for 32-bit programs on a 64-bit kernel: their structures differ (`Struct.compat`)."""
        return self is Arch.I386

    @property
    def pointer_size(self) -> int:
        """Bytes of a pointer, a ``long`` and a ``size_t``."""
        return 4 if self.is_compat else 8


NATIVE: Final = Arch.AARCH64 if platform.machine() == "aarch64" else Arch.X86_64
"""What this Python, and so the supervisor, runs as."""

SUPPORTED: Final = (Arch.X86_64, Arch.I386) if NATIVE is Arch.X86_64 else (Arch.AARCH64,)
"""What programs here may be; every other architecture gets ENOSYS from the filter."""
