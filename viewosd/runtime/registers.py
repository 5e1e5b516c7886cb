"""A stopped thread's registers, as a system call uses them.

How a call is restarted, which decides what must be changed to run another one:

* x86 (arch/x86/kernel/signal.c:arch_do_signal_or_restart()): at the stop the result register holds
  −ERESTARTNOINTR and ``orig_ax`` the number; *after* the stop the kernel loads ``ax`` from
  ``orig_ax`` and goes back by the two bytes of the instruction. So: change the arguments and
  ``orig_ax``.
* aarch64 (arch/arm64/kernel/signal.c:do_signal()): the kernel goes back *before* the stop; x0
  holds the first argument again and x8 the number. So: change x0 to x5 and x8.
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

from ..abi.arch import NATIVE, Arch
from . import unsafe

PTRACE_GETREGS: Final = 12  # x86 only
PTRACE_SETREGS: Final = 13
PTRACE_GETREGSET: Final = 0x4204
PTRACE_SETREGSET: Final = 0x4205
NT_PRSTATUS: Final = 1
_NO_CALL: Final = (1 << 64) - 1
_M64: Final = (1 << 64) - 1


class Registers(Protocol):
    """One thread's general registers; nothing reaches the thread before `store`."""

    def restart_with(self, number: int, args: tuple[int, ...]) -> None:
        """Make the interrupted call restart as another one."""

    def inject(self, number: int, args: tuple[int, ...], at: int) -> None:
        """Make the next single step run a system call, by the instruction at ``at``."""

    @property
    def result(self) -> int:
        """What the call returned, signed."""

    @property
    def mode(self) -> Arch:
        """What the thread's code runs as now: it decides how the kernel is entered."""

    @property
    def in_call(self) -> bool:
        """Was it stopped on its way out of a system call, rather than in its own code?"""

    def set_result(self, value: int) -> None:
        """What the call shall have returned; a restart code restarts it."""

    def store(self) -> None:
        """Write them to the thread."""


class X86Registers:
    """struct user_regs_struct (arch/x86/include/asm/user_64.h), also for i386 programs."""

    # r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip ...
    _FIELDS: Final = struct.Struct("=27Q")
    _RAX, _ORIG, _RIP, _CS = 10, 15, 16, 17
    _ARGS: Final = {
        Arch.X86_64: (14, 13, 12, 7, 9, 8),  # rdi rsi rdx r10 r8 r9
        Arch.I386: (5, 11, 12, 13, 14, 4),  # rbx rcx rdx rsi rdi rbp
    }

    def __init__(self, tid: int, arch: Arch) -> None:
        self.tid, self.arch = tid, arch
        buffer = bytearray(self._FIELDS.size)
        # Not GETREGSET: of an i386 thread that gives the 32-bit set, without orig_rax' width.
        unsafe.ptrace_buffer(PTRACE_GETREGS, tid, 0, buffer)
        self._values = list(self._FIELDS.unpack(buffer))

    @property
    def instruction_pointer(self) -> int:
        return int(self._values[self._RIP])

    def restart_with(self, number: int, args: tuple[int, ...]) -> None:
        self._values[self._ORIG] = number
        self._set_args(args)

    def inject(self, number: int, args: tuple[int, ...], at: int) -> None:
        self._values[self._RAX] = number
        self._values[self._ORIG] = _NO_CALL  # no call to restart: only our instruction runs
        self._values[self._RIP] = at
        self._set_args(args)

    def _set_args(self, args: tuple[int, ...]) -> None:
        for slot, value in zip(self._ARGS[self.arch], args, strict=False):
            self._values[slot] = value & _M64

    @property
    def result(self) -> int:
        value = int(self._values[self._RAX])
        if self.arch is Arch.I386:
            value &= 0xFFFF_FFFF
            return value - (1 << 32) if value > 0xFFFF_F000 else value
        return value - (1 << 64) if value >> 63 else value

    @property
    def mode(self) -> Arch:
        # __USER32_CS (arch/x86/include/asm/segment.h): compatibility mode.
        return Arch.I386 if self._values[self._CS] == 0x23 else Arch.X86_64

    @property
    def in_call(self) -> bool:
        value = int(self._values[self._ORIG])
        return not value >> (31 if self.arch is Arch.I386 else 63) & 1

    def set_result(self, value: int) -> None:
        self._values[self._RAX] = value & _M64

    def store(self) -> None:
        buffer = bytearray(self._FIELDS.pack(*self._values))
        unsafe.ptrace_buffer(PTRACE_SETREGS, self.tid, 0, buffer)


class Aarch64Registers:
    """struct user_pt_regs (arch/arm64/include/uapi/asm/ptrace.h): x0 to x30, sp, pc, pstate."""

    _FIELDS: Final = struct.Struct("=34Q")
    _PC = 32

    def __init__(self, tid: int) -> None:
        self.tid = tid
        buffer = bytearray(self._FIELDS.size)
        unsafe.ptrace_regset(PTRACE_GETREGSET, tid, NT_PRSTATUS, buffer)
        self._values = list(self._FIELDS.unpack(buffer))

    @property
    def instruction_pointer(self) -> int:
        return int(self._values[self._PC])

    def restart_with(self, number: int, args: tuple[int, ...]) -> None:
        self._set(number, args)

    def inject(self, number: int, args: tuple[int, ...], at: int) -> None:
        self._values[self._PC] = at
        self._set(number, args)

    def _set(self, number: int, args: tuple[int, ...]) -> None:
        self._values[8] = number
        for slot, value in enumerate(args):
            self._values[slot] = value & _M64

    @property
    def result(self) -> int:
        value = int(self._values[0])
        return value - (1 << 64) if value >> 63 else value

    @property
    def mode(self) -> Arch:
        return Arch.AARCH64

    @property
    def in_call(self) -> bool:
        return False  # the kernel forgets the number before the stop; EINTR is left as it is

    def set_result(self, value: int) -> None:
        self._values[0] = value & _M64

    def store(self) -> None:
        buffer = bytearray(self._FIELDS.pack(*self._values))
        unsafe.ptrace_regset(PTRACE_SETREGSET, self.tid, NT_PRSTATUS, buffer)


def registers_of(tid: int, arch: Arch) -> X86Registers | Aarch64Registers:
    """The registers of a stopped thread whose call was made as ``arch``."""
    return Aarch64Registers(tid) if NATIVE is Arch.AARCH64 else X86Registers(tid, arch)
