"""System calls that a captive makes for us, and does not know of afterwards.

Each is made by a system call instruction that lies in its memory anyway. Kernel facts met here:

* PTRACE_SYSCALL's stops are no signals. A single step would end in a SIGTRAP that the kernel
  forces: where it is blocked or ignored a handler of the program's is lost
  (kernel/signal.c:force_sig_info_to_task()).
* With signals blocked (PTRACE_SETSIGMASK) no handler runs in between; what arrives stays pending.
  Not SIGSYS, which a filter of the program's own may force. SIGSTOP can't be blocked: it is sent
  again afterwards. Stops that job control adds are passed over.
* A stop at a call's end lies behind the place where calls are restarted; so at last it is led to
  where the interrupt stops it (kernel/signal.c:get_signal()), with its own registers.
* A thread inside a restartable sequence (rseq(2)) must not be led out of it and back; inside a
  system call none is. Who has a choice takes a thread that is stopped in one.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from struct import pack
from typing import Final

from ..abi.arch import Arch
from ..abi.sysno import SYSNO
from ..errors import BadAddress, Vanished
from . import memory, unsafe
from .captive import PTRACE_CONT, PTRACE_INTERRUPT, CannotStop, Captive, Stop
from .registers import registers_of

PTRACE_SYSCALL: Final = 24
PTRACE_GETSIGMASK: Final = 0x420A
PTRACE_SETSIGMASK: Final = 0x420B
_BLOCKED: Final = pack("=Q", ((1 << 64) - 1) & ~(1 << signal.SIGSYS - 1))
_STOPS: Final = 100  # stops of other kinds that one call may meet
_GATES: Final = {
    Arch.X86_64: b"\x0f\x05",  # syscall
    Arch.I386: b"\xcd\x80",  # int 0x80
    Arch.AARCH64: b"\x01\x00\x00\xd4",  # svc #0
}


class Injection:
    """Makes a stopped captive run system calls; as a context manager it puts all back at its end.

    Args:
        captive: stopped.
        let_pass: called with its thread id while a call lasts: continues it if a hook of ours
            traps it.
    """

    def __init__(self, captive: Captive, let_pass: Callable[[int], None]) -> None:
        self._captive, self._let_pass = captive, let_pass
        captive.deliver()
        self._saved = captive.registers()
        self.mode = self._saved.mode
        """How its code enters the kernel, and so which table its call numbers are of."""
        self._code = _GATES[self.mode]
        self._called = False
        self._mask = bytearray(8)

    def __enter__(self) -> Injection:
        self._gate = self._find_gate()
        unsafe.ptrace_buffer(PTRACE_GETSIGMASK, self._captive.tid, 8, self._mask)
        unsafe.ptrace_buffer(PTRACE_SETSIGMASK, self._captive.tid, 8, bytearray(_BLOCKED))
        return self

    def __exit__(self, *_: object) -> None:
        captive = self._captive
        if not captive.stopped:
            return  # it died, or a call of ours does not end
        try:
            self._saved.store()
            if self._called:
                unsafe.ptrace(PTRACE_INTERRUPT, captive.tid)
                self._run_to(PTRACE_CONT, Stop.EVENT)
            unsafe.ptrace_buffer(PTRACE_SETSIGMASK, captive.tid, 8, self._mask)
        except ProcessLookupError:
            pass  # killed meanwhile

    def syscall(self, name: str, *args: int) -> int:
        """Run a system call; its result, negative for an errno.

        Args:
            name: looked up for the captive's own architecture.
            args: raw registers.

        Raises:
            ProcessLookupError: the captive died meanwhile.
            CannotStop: the call did not end in time, or a filter of the program's own answers it
                with a signal.
        """
        registers = registers_of(self._captive.tid, self.mode)
        given = (*args, *(0,) * (6 - len(args)))
        registers.inject(SYSNO[self.mode][name], given, self._gate)
        registers.store()
        self._called = True
        self._run_to(PTRACE_SYSCALL, Stop.CALL, name)
        self._run_to(PTRACE_SYSCALL, Stop.CALL, name)
        return registers_of(self._captive.tid, self.mode).result

    def _run_to(self, request: int, wanted: Stop, name: str = "") -> None:
        captive = self._captive
        for _ in range(_STOPS):
            captive.resume(request, meanwhile=lambda: self._let_pass(captive.tid))
            if captive.stop is wanted:
                return
            if captive.stop is Stop.SIGNAL:
                if captive.signal == signal.SIGSYS:
                    raise CannotStop(f"a filter of its own forbids {name}(2)")
                captive.resend.append(captive.signal)
        raise CannotStop(f"thread {captive.tid} can't be made to call {name}(2)")

    def _find_gate(self) -> int:
        """The address of a system call instruction: where it was stopped, or in its vDSO."""
        tid = self._captive.tid
        at = self._saved.instruction_pointer - len(self._code)
        if _bytes_at(tid, at, len(self._code)) == self._code:
            return at
        with open(f"/proc/{tid}/maps", "rb") as maps:
            lines = [line for line in maps.read().splitlines() if b" r-xp " in line]
        for line in sorted(lines, key=lambda line: not line.endswith(b"[vdso]")):
            low, _, high = line.split(b" ", 1)[0].partition(b"-")
            for page in range(int(low, 16), int(high, 16), memory.PAGE):
                found = _bytes_at(tid, page, memory.PAGE).find(self._code)
                if found >= 0:
                    return page + found
        raise CannotStop(f"thread {tid} has no system call instruction in its memory")


def _bytes_at(tid: int, address: int, length: int) -> bytes:
    try:
        return memory.read(tid, address, length)
    except (BadAddress, Vanished):
        return b""
