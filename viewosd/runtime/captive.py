"""A thread that is stopped for a moment with ptrace(2), to run system calls in it or change one.

PTRACE_SEIZE never sends it a signal and never shows: it is stopped by PTRACE_INTERRUPT, and a
detach leaves it as it was, stopped by job control included. All requests must come from the thread
that seized; the supervisor has only one.

Kernel facts met here:

* A thread that waits for our answer in a notification can't stop before it is answered: seize,
  interrupt, answer, and only then wait for the stop.
* With signals blocked (PTRACE_SETSIGMASK) while a call is injected, no handler runs in between;
  what arrives stays pending.
* The interrupt's stop is reported before any signal is taken from the queue
  (kernel/signal.c:get_signal()), so the call to be restarted is always the one that we answered.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from struct import pack
from typing import Final

from ..abi.arch import NATIVE, Arch
from ..abi.sysno import SYSNO
from ..errors import BadAddress, Vanished
from . import memory, unsafe
from .registers import Aarch64Registers, X86Registers, registers_of

PTRACE_SEIZE: Final = 0x4206
PTRACE_INTERRUPT: Final = 0x4207
PTRACE_SINGLESTEP: Final = 9
PTRACE_DETACH: Final = 17
PTRACE_GETSIGMASK: Final = 0x420A
PTRACE_SETSIGMASK: Final = 0x420B
_WALL: Final = 0x4000_0000
STOP_S: Final = 2.0
"""Seconds to wait for a stop. A thread in uninterruptible sleep does not reach one sooner."""


class CannotStop(Exception):
    """The thread can't be taken; the text says why and who holds it."""


class Captive:
    """One seized thread. Use as a context manager, or `release` it."""

    def __init__(self, tid: int, arch: Arch = NATIVE) -> None:
        """Seize it and ask it to stop.

        Raises:
            CannotStop: it is traced by somebody, or we may not trace it.
            ProcessLookupError: it is gone.
        """
        self.tid, self.arch = tid, arch
        self.stopped = False
        self._signal = 0
        self._gate_at = 0
        try:
            unsafe.ptrace(PTRACE_SEIZE, tid)
        except ProcessLookupError:
            raise
        except OSError as error:
            raise CannotStop(_why_not(tid, error)) from None
        unsafe.ptrace(PTRACE_INTERRUPT, tid)

    def wait(self, seconds: float = STOP_S) -> None:
        """Wait until it has stopped.

        Raises:
            ProcessLookupError: it died first.
            CannotStop: it does not stop in time; it is let go.
        """
        until = time.monotonic() + seconds
        nap = 0.0
        while not self.has_stopped():
            if time.monotonic() > until:
                raise CannotStop(f"thread {self.tid} did not stop within {seconds} s")
            time.sleep(nap)
            nap = min(nap + 0.00005, 0.002)

    def has_stopped(self) -> bool:
        """Has it stopped by now? Raises ProcessLookupError: it died first."""
        try:
            pid, status = os.waitpid(self.tid, _WALL | os.WNOHANG)
        except ChildProcessError:
            raise ProcessLookupError(self.tid) from None
        if not pid:
            return False
        if not os.WIFSTOPPED(status):
            raise ProcessLookupError(self.tid)
        self.stopped = True
        # A signal-delivery stop (no PTRACE_EVENT in the high half): hand the signal back.
        self._signal = 0 if status >> 16 else os.WSTOPSIG(status)
        return True

    def registers(self) -> X86Registers | Aarch64Registers:
        """As they are now."""
        return registers_of(self.tid, self.arch)

    def syscall(self, name: str, *args: int) -> int:
        """Run a system call in the thread; its result, negative for an errno.

        Args:
            name: looked up for the captive's own architecture.
            args: raw registers.

        Raises:
            ProcessLookupError: it died meanwhile.
            CannotStop: the call did not end in time (something traps it, or it sleeps), or the
                thread's memory has no system call instruction.
        """
        saved = self.registers()
        mode = saved.mode
        number = SYSNO[mode][name]
        changed = registers_of(self.tid, mode)
        changed.inject(number, (*args, *(0,) * (6 - len(args))), self._gate(mode, saved))
        changed.store()
        try:
            unsafe.ptrace(PTRACE_SINGLESTEP, self.tid)
            self.stopped = False
            self.wait()
            result = registers_of(self.tid, mode).result
        finally:
            if self.stopped:
                saved.store()
        self._signal = 0  # the step's own SIGTRAP
        return result

    def _gate(self, mode: Arch, registers: X86Registers | Aarch64Registers) -> int:
        """The address of a system call instruction: where it was stopped, or in its vDSO."""
        if not self._gate_at:
            code = _GATES[mode]
            for before in (len(code), 0):
                at = registers.instruction_pointer - before
                if _bytes_at(self.tid, at, len(code)) == code:
                    self._gate_at = at
                    return at
            self._gate_at = _search(self.tid, code)
        return self._gate_at

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """No signal is delivered meanwhile but SIGKILL and SIGSTOP."""
        mask = bytearray(8)
        _sigmask(PTRACE_GETSIGMASK, self.tid, mask)
        _sigmask(PTRACE_SETSIGMASK, self.tid, bytearray(pack("=Q", (1 << 64) - 1)))
        try:
            yield
        finally:
            if self.stopped:
                _sigmask(PTRACE_SETSIGMASK, self.tid, mask)

    def release(self) -> None:
        """Let it go on as it was. A dead one is no error."""
        try:
            if not self.stopped:
                self._catch_up()
            if self.stopped:
                unsafe.ptrace(PTRACE_DETACH, self.tid, 0, self._signal)
        except ProcessLookupError:
            pass
        self.stopped = False

    def _catch_up(self) -> None:
        """A detach needs a stop: one that was asked for may come late. When it never does, our
        death would detach; meanwhile it stays seized, which it does not notice."""
        try:
            self.wait(0.2)
        except CannotStop:
            pass

    def __enter__(self) -> Captive:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


# The instruction that enters the kernel: syscall, int 0x80, svc #0.
_GATES: Final = {
    Arch.X86_64: b"\x0f\x05",
    Arch.I386: b"\xcd\x80",
    Arch.AARCH64: b"\x01\x00\x00\xd4",
}


def _bytes_at(tid: int, address: int, length: int) -> bytes:
    try:
        return memory.read(tid, address, length)
    except (BadAddress, Vanished):
        return b""


def _search(tid: int, code: bytes) -> int:
    """Look for an instruction in executable memory, the vDSO first."""
    with open(f"/proc/{tid}/maps", "rb") as maps:
        lines = [line for line in maps.read().splitlines() if b" r-xp " in line]
    for line in sorted(lines, key=lambda line: not line.endswith(b"[vdso]")):
        low, _, high = line.split(b" ", 1)[0].partition(b"-")
        for page in range(int(low, 16), int(high, 16), memory.PAGE):
            found = _bytes_at(tid, page, memory.PAGE).find(code)
            if found >= 0:
                return page + found
    raise CannotStop(f"thread {tid} has no system call instruction in its memory")


def _sigmask(request: int, tid: int, mask: bytearray) -> None:
    unsafe.ptrace_buffer(request, tid, len(mask), mask)


def _why_not(tid: int, error: OSError) -> str:
    """Who holds a thread that can't be seized, in words."""
    try:
        with open(f"/proc/{tid}/status", encoding="utf-8", errors="replace") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        name, tracer = status["Name"], int(status["TracerPid"])
        if tracer:
            with open(f"/proc/{tracer}/comm", encoding="utf-8", errors="replace") as file:
                return f"process {tracer} ({file.read().strip()}) traces thread {tid} ({name})"
        return f"thread {tid} ({name}) may not be traced by us: {error.strerror or error}"
    except OSError:
        return f"thread {tid} may not be traced by us: {error}"
