"""A thread that is stopped for a moment with ptrace(2), to run system calls in it or change one.

PTRACE_SEIZE never sends it a signal and never shows: it is stopped by PTRACE_INTERRUPT, and a
detach leaves it as it was, stopped by job control included. All requests must come from the thread
that seized; the supervisor has only one.

Kernel facts met here:

* A thread that waits for our answer in a notification can't stop before it is answered: seize,
  interrupt, answer, and only then wait for the stop.
* With signals blocked (PTRACE_SETSIGMASK) while a call is injected, no handler runs in between;
  what arrives stays pending.
* A single step would end in a forced SIGTRAP, which resets a handler of the tracee's where it is
  blocked or ignored (kernel/signal.c:force_sig_info_to_task()); PTRACE_SYSCALL's stops are no
  signals.
* A thread that dies while we trace it is ours to wait for, before its parent sees it
  (kernel/exit.c:wait_task_zombie()); but a child of our own is left to whoever reaps our children.
* The interrupt's stop is reported before any signal is taken from the queue
  (kernel/signal.c:get_signal()), so the call to be restarted is always the one that we answered.
"""

from __future__ import annotations

import contextlib
import os
import signal
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
PTRACE_CONT: Final = 7
PTRACE_DETACH: Final = 17
PTRACE_SYSCALL: Final = 24
PTRACE_O_TRACESYSGOOD: Final = 1
PTRACE_GETSIGMASK: Final = 0x420A
PTRACE_SETSIGMASK: Final = 0x420B
_WALL: Final = 0x4000_0000
_EITHER: Final = os.WSTOPPED | os.WEXITED | os.WNOHANG | _WALL
_SYSCALL_STOP: Final = signal.SIGTRAP | 0x80
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
        self._stop = 0  # what stopped it: a signal, SYSCALL_STOP, or an event above eight bits
        self._postponed = False  # a SIGSTOP came while a call was injected
        self._gate_at = 0
        try:
            unsafe.ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD)
        except ProcessLookupError:
            raise
        except OSError as error:
            raise CannotStop(_why_not(tid, error)) from None
        try:
            unsafe.ptrace(PTRACE_INTERRUPT, tid)
        except ProcessLookupError:
            self.release()
            raise

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
            found = os.waitid(os.P_PID, self.tid, _EITHER | os.WNOWAIT)
            if found is None:
                return False
            if found.si_code != os.CLD_TRAPPED:
                if not _is_our_child(self.tid):
                    os.waitpid(self.tid, _WALL)
                raise ProcessLookupError(self.tid)
            os.waitpid(self.tid, _WALL)
        except ChildProcessError:
            raise ProcessLookupError(self.tid) from None
        self.stopped = True
        self._stop = found.si_status
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
            self._run_to_call()  # its beginning
            self._run_to_call()  # its end
            result = registers_of(self.tid, mode).result
        finally:
            if self.stopped:
                saved.store()
        # Back to where signals are delivered, and calls restarted, on its way out.
        unsafe.ptrace(PTRACE_INTERRUPT, self.tid)
        self._resume(PTRACE_CONT)
        return result

    def _run_to_call(self) -> None:
        while True:
            self._resume(PTRACE_SYSCALL)
            if self._stop == _SYSCALL_STOP:
                return
            if self._stop == signal.SIGSTOP:
                self._postponed = True
            elif self._stop < 0x100:
                raise CannotStop(f"thread {self.tid} got signal {self._stop} in an injected call")

    def _resume(self, request: int) -> None:
        unsafe.ptrace(request, self.tid)
        self.stopped = False
        self.wait()

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
        with contextlib.suppress(ProcessLookupError):
            if self.stopped or self._stops_soon():
                self._detach()

    def _detach(self) -> None:
        # Stopped by a signal, it is to have it.
        back = self._stop if self._stop < _SYSCALL_STOP else 0
        self.stopped = False
        try:
            unsafe.ptrace(PTRACE_DETACH, self.tid, 0, back)
        except ProcessLookupError:
            # Being killed. Until we have waited for its end nobody else can.
            if self._stops_soon():
                unsafe.ptrace(PTRACE_DETACH, self.tid)
        if self._postponed:
            os.kill(self.tid, signal.SIGSTOP)

    def _stops_soon(self) -> bool:
        """A detach needs a stop; one that was asked for may come late, and then `collect_late`."""
        try:
            self.wait(0.2)
        except CannotStop:
            _late.append(self)
        return self.stopped

    def __enter__(self) -> Captive:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


_late: list[Captive] = []


def collect_late() -> None:
    """Let those go that had not stopped when they should have been let go. Call it now and then."""
    for captive in _late[:]:
        with contextlib.suppress(ProcessLookupError):
            if not captive.has_stopped():
                continue
            captive._detach()
        _late.remove(captive)


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


def _is_our_child(tid: int) -> bool:
    """Is it a process (no further thread) whose end is ours to collect, traced or not?"""
    try:
        with open(f"/proc/{tid}/status", "rb", 0) as file:
            lines = file.read().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"Tgid:\t%d" % tid in lines and b"PPid:\t%d" % os.getpid() in lines


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
