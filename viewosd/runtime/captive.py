"""A thread that is stopped for a moment with ptrace(2), to look at it or change its call.

PTRACE_SEIZE never sends it a signal and never shows: it is stopped by PTRACE_INTERRUPT, and a
detach leaves it as it was, stopped by job control included. All requests must come from the thread
that seized; the supervisor has only one.

Kernel facts met here:

* A thread that waits for our answer in a notification can't stop before it is answered: seize,
  interrupt, answer, and only then wait for the stop.
* The interrupt's stop is reported before any signal is taken from the queue
  (kernel/signal.c:get_signal()), so the call to be restarted is always the one that we answered.
  Only a signal that was taken between the two requests is reported itself.
* A stop that is pending for a thread is forgotten when it executes a program and has fellow threads
  (kernel/signal.c:zap_other_threads(), since commit 90918794a4e2, June 2026, also in the stable
  kernels of that time). So who waits for a stop asks for it again and again.
* With the program it gets its leader's id as well, and its own is nobody's. It stays seized.
* PTRACE_SEIZE waits while any thread of the process executes a program: `undertaker`.
* Whether it has stopped is asked with PTRACE_GETSIGINFO, not waitid(2): a stop's status is seen
  once, and may be seen by whoever else of us waits for children.
* A dead thread stays a zombie until its tracer has waited for it, even if others wait for it: its
  parent, or an execve(2) that waits for its fellow threads to end (fs/exec.c:de_thread()).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from enum import Enum
from struct import Struct
from typing import Final

from ..abi.arch import NATIVE, Arch
from ..abi.errno import ERESTARTNOINTR
from ..keeper.processes import parent_of
from . import signals, unsafe
from .members import leader_of
from .registers import Aarch64Registers, X86Registers, registers_of

PTRACE_SEIZE: Final = 0x4206
PTRACE_INTERRUPT: Final = 0x4207
PTRACE_CONT: Final = 7
PTRACE_DETACH: Final = 17
PTRACE_GETSIGINFO: Final = 0x4202
PTRACE_O_TRACESYSGOOD: Final = 1
PTRACE_EVENT_STOP: Final = 128
_SIGINFO: Final = Struct("=iii")  # si_signo, si_errno, si_code of siginfo_t, 128 bytes
_CALL_STOP: Final = 5 | 0x80  # SIGTRAP and the mark that TRACESYSGOOD adds
_WALL: Final = 0x4000_0000
STOP_S: Final = 2.0
"""Seconds to wait for a stop. A thread in uninterruptible sleep does not reach one sooner."""


class Stop(Enum):
    """What kind of stop a thread is in."""

    EVENT = "it was interrupted, or by job control"
    SIGNAL = "a signal is about to be delivered"
    CALL = "a system call begins or ends (PTRACE_SYSCALL)"


class CannotStop(Exception):
    """The thread can't be taken; the text says why and who holds it."""


class Captive:
    """One seized thread. Use as a context manager, or `release` it.

    Attributes:
        stopped: it stands still now, for us.
        stop: how, when it was looked at last.
        signal: what is about to be delivered, 0 as a rule; it is when the thread is let go.
        pid: its process, where that is known, and where it may execute a program while it is held.
        released: told its id when it is let go.
        resend: signals that were swallowed while it ran for us; sent again when it is let go.
    """

    def __init__(self, tid: int, arch: Arch = NATIVE, pid: int = 0) -> None:
        """Seize it, unless it is seized already, and ask it to stop.

        Raises:
            CannotStop: it is traced by somebody, or we may not trace it.
            ProcessLookupError: it is gone.
        """
        self.tid, self.arch, self.pid = tid, arch, pid
        self.stopped = False
        self.stop = Stop.EVENT
        self.signal = 0
        self.resend: list[int] = []
        self.released: Callable[[int], object] = lambda tid: None
        try:
            unsafe.ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD)
        except ProcessLookupError:
            raise
        except OSError as error:
            if not is_held(tid):  # else it was seized by another id, before it executed a program
                raise CannotStop(_why_not(tid, error)) from None
        held[tid] = self
        try:
            self.interrupt()
        except ProcessLookupError:
            self.release()
            raise

    def interrupt(self) -> None:
        """Ask it to stop, again if it was asked before. Raises ProcessLookupError: it is gone."""
        unsafe.ptrace(PTRACE_INTERRUPT, self.tid)

    def wait(self, seconds: float = STOP_S, meanwhile: Callable[[], object] | None = None) -> None:
        """Wait until it has stopped as it was asked to. ``meanwhile`` is called again and again.

        Raises:
            ProcessLookupError: it died first.
            CannotStop: it does not stop in time.
        """
        self._wait(seconds, meanwhile or self.interrupt)

    def _wait(self, seconds: float, meanwhile: Callable[[], object] | None) -> None:
        until = time.monotonic() + seconds
        nap = 0.0
        while not self.has_stopped():
            if meanwhile is not None:
                meanwhile()
            if time.monotonic() > until:
                raise CannotStop(f"thread {self.tid} did not stop within {seconds} s")
            time.sleep(nap)
            nap = min(nap + 0.00005, 0.002)

    def has_stopped(self) -> bool:
        """Has it stopped by now? Raises ProcessLookupError: it died first."""
        if self.stands_still():
            return True
        self.bury()
        return False

    def stands_still(self) -> bool:
        """Does it stand still at this moment? Not if it was killed, or another thread has its id
        (execve(2)), whatever was seen before.
        """
        siginfo = bytearray(128)
        try:
            unsafe.ptrace_buffer(PTRACE_GETSIGINFO, self.tid, 0, siginfo)
        except ProcessLookupError:
            self.stopped = False
            return False
        self.stopped = True
        try:
            os.waitid(os.P_PID, self.tid, os.WSTOPPED | os.WNOHANG | _WALL)  # nobody's news
        except ChildProcessError:
            pass
        number, _, code = _SIGINFO.unpack_from(siginfo)
        self.signal = 0
        if code >> 8 == PTRACE_EVENT_STOP:
            self.stop = Stop.EVENT
        elif code == _CALL_STOP:
            self.stop = Stop.CALL
        else:
            self.stop, self.signal = Stop.SIGNAL, number
        return True

    def resume(
        self, request: int, signal: int = 0, meanwhile: Callable[[], object] | None = None
    ) -> None:
        """Let it run to its next stop. Raises as `wait`."""
        unsafe.ptrace(request, self.tid, 0, signal)
        self.stopped = False
        self._wait(STOP_S, meanwhile)

    def deliver(self) -> None:
        """Have the signal delivered that it is stopped with. Raises as `wait`."""
        while self.signal:
            unsafe.ptrace(PTRACE_INTERRUPT, self.tid)
            self.resume(PTRACE_CONT, self.signal)

    def bury(self) -> None:
        """If it has died let its death be known. Raises ProcessLookupError if so."""
        options = os.WEXITED | os.WNOHANG | _WALL
        try:
            found = os.waitid(os.P_PID, self.tid, options | os.WNOWAIT)
        except ChildProcessError:
            self.stopped = False
            raise ProcessLookupError(self.tid) from None
        if found is None or found.si_code in (os.CLD_TRAPPED, os.CLD_STOPPED):
            return
        self.stopped = False
        # Our own child's status is waited for elsewhere.
        if parent_of(self.tid) != os.getpid() or leader_of(self.tid) != self.tid:
            try:
                os.waitid(os.P_PID, self.tid, options)
            except ChildProcessError:
                pass  # the undertaker was faster
        raise ProcessLookupError(self.tid)

    def registers(self) -> X86Registers | Aarch64Registers:
        """As they are now."""
        return registers_of(self.tid, self.arch)

    def release(self, seconds: float = 0.2) -> bool:
        """Let it go on as it was. A dead one is no error.

        A detach needs a stop, and one that was asked for may come late: False, not within
        ``seconds``. It stays seized, which it does not notice, until `collect_late` or somebody
        who takes it from `late`.
        """
        late.pop(self.tid, None)
        try:
            self._detach(seconds)
        except CannotStop:
            late[self.tid] = self
            return False
        except ProcessLookupError:
            self._release_successor()
        self.stopped = False
        if held.get(self.tid) is self:
            del held[self.tid]
        self.released(self.tid)
        for number in self.resend:
            try:
                unsafe.tkill(self.tid, number)
            except OSError:
                pass  # it is gone
        return True

    def _detach(self, seconds: float) -> None:
        while True:
            if not self.stopped:
                self.wait(seconds)
            try:
                self._keep_restarting()
                unsafe.ptrace(PTRACE_DETACH, self.tid, 0, self.signal)
                return
            except ProcessLookupError:
                # It is being killed. Until we have waited for its end nobody else can.
                self.stopped = False

    def _release_successor(self) -> None:
        """It is not dead if it has executed a program: it has its leader's id then."""
        if self.pid and self.pid != self.tid and self.pid not in held and is_held(self.pid):
            try:
                Captive(self.pid).release(0.002)
            except (ProcessLookupError, CannotStop):
                pass

    def _keep_restarting(self) -> None:
        """Some calls say EINTR to any interruption (epoll_wait, semop; signal(7)). Ours is none."""
        registers = self.registers()
        broken_off = registers.in_call and registers.result == -errno.EINTR
        if broken_off and not self.signal and not signals.deliverable(self.tid):
            registers.set_result(-ERESTARTNOINTR)
            registers.store()

    def __enter__(self) -> Captive:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


held: Final[dict[int, Captive]] = {}
"""By thread id: all that are seized, `late` ones as well."""

late: Final[dict[int, Captive]] = {}
"""By thread id: those that had not stopped when they should have been let go."""


def collect_late() -> None:
    """Let those go that have stopped by now. Call it now and then."""
    for captive in list(late.values()):
        captive.release(0)


def will_stop(tid: int) -> bool:
    """Does this process trace the thread that has this id now? Then a stop is pending for it.

    Asked, and so made sure, for a thread that waits in a notification: until it is answered nothing
    can take the stop away, since no thread executes a program while it waits.
    """
    try:
        unsafe.ptrace(PTRACE_INTERRUPT, tid)
    except OSError:
        return False
    return True


def is_held(tid: int) -> bool:
    """Does this process trace the living thread that has this id now?"""
    try:
        with open(f"/proc/{tid}/status", "rb", 0) as file:
            status = file.read(2048)
    except OSError:
        return False
    return b"\nTracerPid:\t%d\n" % os.getpid() in status and b"\nState:\tZ" not in status


def name_of(tid: int) -> str:
    """A thread's name, for messages."""
    try:
        with open(f"/proc/{tid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "gone"


def _why_not(tid: int, error: OSError) -> str:
    """Who holds a thread that can't be seized, in words."""
    name = name_of(tid)
    try:
        with open(f"/proc/{tid}/status", "rb", 0) as file:
            lines = file.read().splitlines()
        tracer = next(int(line.split()[1]) for line in lines if line.startswith(b"TracerPid"))
    except (OSError, StopIteration):
        tracer = 0
    if tracer:
        return f"process {tracer} ({name_of(tracer)}) traces thread {tid} ({name})"
    if not os.access(f"/proc/{tid}/mem", os.R_OK):
        return f"thread {tid} ({name}) is not ours to trace: another user's, or not dumpable"
    if error.errno in (errno.EPERM, errno.ENOSYS):
        return (
            f"thread {tid} ({name}) may not be traced by us: ptrace(2) is forbidden here, as by "
            "Yama's ptrace_scope and in some containers; 'viewos doctor' tells what works"
        )
    return f"thread {tid} ({name}) may not be traced by us: {error.strerror or error}"
