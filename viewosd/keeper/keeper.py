"""viewos-run after its options: it starts the supervisor and then stands in PROG's place.

For the shell that started it, the keeper is the job. What happens to PROG it does too: it stops
when PROG stops, goes on when PROG does, and ends with PROG's status. What is done to it, it passes
on. It is in PROG's process group, so ^C, ^Z and the window's size reach PROG from the terminal
itself; the keeper blocks every signal and reads them one by one, to pass on only what PROG did not
get:

* not what the terminal sent to the whole foreground group (si_code SI_KERNEL, sigaction(2)),
* not what a process of the view sent: `kill 0` there means its group, and it has done that,
* everything else. A signal that kill(2) sends to the whole group from outside therefore reaches
  PROG twice; it can't be told from one that was meant for the keeper alone.

SIGSTOP can't be read. Sent to the group it stops PROG as well; sent to the keeper alone it stops
just that. If the keeper is killed the view ends: see `viewosd.runtime.boot`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import time
from importlib import import_module

from . import inherit, place, unsafe
from .link import Link
from .plan import exit_status
from .processes import descendants, descends, parent_of, state_of
from .succession import Succession

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from .plan import Plan

# struct signalfd_siginfo, signalfd(2): ssi_signo, ssi_errno, ssi_code, ssi_pid; 128 bytes in all.
_SIGINFO: Final = struct.Struct("=IiiI112x")
_SI_KERNEL: Final = 0x80
_FROM_TERMINAL: Final = {
    signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGHUP,
    signal.SIGWINCH,
}  # fmt: skip
_TAKING_OVER_S: Final = 30.0
"""How long PROG's end waits for a successor that has only just been started."""
_ENDING_S: Final = 10.0
"""How long it waits for that successor to end, if nothing else is left."""
_ENDING: Final = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}


class Keeper:
    """One view's.

    Args:
        plan: what viewos-run was asked for; what PROG inherits is added here.
        announce: told (0, "") when PROG runs, or the exit status and why PROG will not; before
            that any number of (0, line) that the user should see. All this while descriptors 0 to
            2 are still those that viewos-run was given.
    """

    def __init__(self, plan: Plan, announce: Callable[[int, str], None]) -> None:
        self._plan = plan
        self._announce = announce
        self._supervisor = 0
        self._prog = 0
        self._running = False
        self._told: list[int] = []
        """Signals that the supervisor was told to send and has not sent yet."""
        self._orphaned = False
        """PROG's parent has died, and we are it: a successor is not."""
        self._taken_over = True
        """The supervisor that runs knows its processes."""

    def run(self) -> int:
        """Start the view and stay until PROG has ended. Returns the exit status for viewos-run."""
        try:
            self._prepare()
            self._start()
        except OSError as error:
            self._announce(125, f"can't start a view: {error.strerror or error}")
            return 125
        status: int | None = None
        while status is None:
            poller = select.poll()
            poller.register(self._signals, select.POLLIN)
            if self._link.open:
                poller.register(self._link, select.POLLIN)
            poller.poll(self._succession.look_again_ms)
            if self._link.open:
                self._succession.look(self._supervisor)
            # The link first: a signal is for PROG once PROG is there.
            if self._link.open:
                status = self._listen()
                if not self._link.open and status is None:
                    status = self._supervisor_died()
            if status is None:
                status = self._read_signals()
        if self._orphaned and self._link.open:
            self._leave()
        return status

    def _leave(self) -> None:
        """PROG has ended after its supervisor. What it has left behind is the successor's, which
        finds it below us: so not before it has looked.
        """
        until = time.monotonic() + _TAKING_OVER_S
        poller = select.poll()
        poller.register(self._link, select.POLLIN)
        while self._link.open and not self._taken_over and time.monotonic() < until:
            poller.poll(100)
            self._listen()
        if not self._link.open:
            return
        self._link.tell("ended")  # our end is no hang-up
        # If nothing else is left of the view the successor ends too, and what it had on disk is
        # gone before we are.
        until = time.monotonic() + _ENDING_S
        while self._link.open and time.monotonic() < until:
            poller.poll(100)
            if self._listen() is not None:
                return

    def _prepare(self) -> None:
        plan = self._plan
        plan.keeper = os.getpid()
        every = signal.valid_signals()
        plan.sigmask = {int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, every)}
        plan.ignored, plan.umask = inherit.status()
        plan.inherited = inherit.inherited()
        plan.started = time.time()
        # Whoever started us may ignore it, and then no status of a child would be kept for us.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # PROG must be findable below us when its supervisor dies.
        unsafe.prctl(unsafe.PR_SET_CHILD_SUBREAPER, 1)
        one, other = Link.pair()
        plan.parking = (one.detach(), other.detach())
        plan.journal = os.memfd_create("viewos-journal", os.MFD_CLOEXEC)
        plan.state = os.memfd_create("viewos-state", os.MFD_CLOEXEC)
        if plan.enter is None:
            plan.control = place.listen().detach()
        self._signals = unsafe.signalfd({int(number) for number in every})
        self._succession = Succession(plan.journal)

    def _start(self) -> None:
        self._link, theirs = Link.pair()
        self._plan.link = theirs.fileno()
        self._supervisor = os.fork()
        if self._supervisor == 0:
            try:
                self._link.close()
                os.close(self._signals)
                # By name: this process never loads the supervisor, and nothing here depends on it.
                import_module("viewosd.runtime.boot").main(self._plan, theirs)
            except Exception as error:
                theirs.tell("failed", 125, f"the supervisor can't start: {error!r}")
            finally:
                os._exit(125)
        theirs.close()

    def _listen(self) -> int | None:
        stopped = 0
        for line in self._link.hear():
            word, _, rest = line.partition(" ")
            if word == "started":
                self._prog = int(rest)
                self._started()
            elif word == "stopped":
                stopped = int(rest)
            elif word == "continued":
                stopped = 0
            elif word == "exited":
                return self._ended(int(rest.split()[0]), last=rest.endswith("last"))
            elif word == "failed" and self._running:
                self._link.open = False  # it says why it dies; PROG runs on
            elif word == "failed":
                code, _, text = rest.partition(" ")
                self._announce(int(code), text)
                self._reap_supervisor()
                self._forget_socket()
                return int(code)
            elif word == "note":
                if not self._plan.quiet:
                    self._announce(0, rest)
            elif word == "signalled":
                del self._told[:1]
            elif word == "serving":
                self._taken_over = True
            elif word == "view":
                self._plan.serverid, self._plan.view = map(int, rest.split(" ", 2)[:2])
        if stopped:
            self._stop(stopped)
        return None

    def _started(self) -> None:
        self._running = True
        self._announce(0, "")
        inherit.let_go(self._plan.inherited)

    def _ended(self, waitstatus: int, *, last: bool) -> int:
        if last:
            self._reap_supervisor()
        return exit_status(waitstatus)

    def _reap_supervisor(self) -> int:
        """It is about to end and nothing of it shall be left when we do. Its wait status."""
        try:
            return os.waitpid(self._supervisor, 0)[1]
        except ChildProcessError:
            return 0

    def _supervisor_died(self) -> int | None:
        """PROG is our own child from here on, and the view gets another supervisor; or, if nothing
        is left of it, its end.
        """
        self._link.close()
        self._succession.died(self._reap_supervisor())
        if not self._running:
            self._end_all()
            self._announce(125, "the supervisor died before PROG could start")
            return 125
        self._orphaned = True
        status = self._reap_prog()
        for number in self._told if status is None else ():
            self._kill_prog(number)  # what the dead one was told and did not do
        if status is None and parent_of(self._prog) != os.getpid():
            status = 125  # collected by the supervisor, which did not come to tell
        plan = self._plan
        if plan.enter:
            return status  # we are the branch's root now: it ends with us
        if status is not None and not descendants(os.getpid()):
            place.remove(plan.serverid)
        else:
            self._succeed()
        return status

    def _succeed(self) -> None:
        """Start another supervisor. After too many none: what was parked for the next is let go,
        and then calls that are trapped fail with ENOSYS instead of waiting for ever.
        """
        plan = self._plan
        while self._succession.another():
            plan.generation += 1
            plan.suspicious = self._succession.suspicious
            self._taken_over = False
            try:
                return self._start()
            except OSError as error:  # no memory, no descriptors: perhaps at the next attempt
                place.note(plan.serverid, f"no other supervisor can be started: {error.strerror}")
        self._link.open = False
        for number in (*plan.parking, plan.control):
            os.close(number)
        place.remove(plan.serverid)
        place.note(plan.serverid, "its supervisors keep dying: there is no other one")

    def _end_all(self) -> None:
        """A supervisor that died while it started PROG may have left rc files, or half of PROG."""
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._forget_socket()

    def _give_up(self) -> None:
        """Before PROG runs: the supervisor sees the link close and ends. If somebody has killed it
        its socket is ours to remove; if it takes long, it will do that itself.
        """
        self._link.close()
        with contextlib.suppress(ProcessLookupError):
            gone = os.pidfd_open(self._supervisor)
            if select.select([gone], [], [], 1)[0]:
                self._forget_socket()

    def _forget_socket(self) -> None:
        if self._plan.enter is None:
            place.abandon()
            # Until it has told its id it may have died between publishing its socket and that.
            place.remove(self._plan.serverid or self._supervisor)

    def _reap_prog(self) -> int | None:
        flags = os.WNOHANG | os.WUNTRACED | os.WCONTINUED
        stopped = 0
        while True:
            try:
                pid, status = os.waitpid(-1, flags)
            except ChildProcessError:
                return 125  # PROG vanished with its supervisor; its status is lost
            if pid == 0:
                break
            if pid != self._prog:
                continue
            if os.WIFSTOPPED(status):
                stopped = os.WSTOPSIG(status)
            elif os.WIFCONTINUED(status):
                stopped = 0
            else:
                return exit_status(status)
        if stopped:
            self._stop(stopped)
        return None

    def _stop(self, number: int) -> None:
        """Stop as PROG did, so that the shell sees it, and go on when the shell says so.

        PROG may be continued at any time, and then we must not stop or nobody would continue us. So
        the signal is queued first and PROG looked at then: a SIGCONT that comes later, from the
        shell or from the supervisor, takes the queued signal away, signal(7).
        """
        if number == signal.SIGSTOP:
            # It can't be queued. The supervisor sends it, in order with its SIGCONT.
            if self._orphaned:
                os.kill(os.getpid(), number)
            return
        # An orphaned process group does not stop here, and then PROG has not by this signal either.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        if state_of(self._prog) == "T":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
            signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        else:
            signal.sigtimedwait({number}, 0)

    def _read_signals(self) -> int | None:
        try:
            raw = os.read(self._signals, 64 * _SIGINFO.size)
        except BlockingIOError:
            return None
        for number, _, code, sender in _SIGINFO.iter_unpack(raw):
            if number == signal.SIGCHLD:
                if self._orphaned and (status := self._reap_prog()) is not None:
                    return status
            elif not self._running:
                if number in _ENDING:
                    self._give_up()
                    return 128 + int(number)
            elif number == signal.SIGCONT:
                self._go_on(sender)
            elif self._is_for_prog(number, code, sender):
                self._pass_on(number)
        return None

    def _is_for_prog(self, number: int, code: int, sender: int) -> bool:
        if sender == os.getpid():
            return False
        if code == _SI_KERNEL and number in _FROM_TERMINAL:
            # Of a session only the leader hears that the terminal is gone, whoever is in front.
            return number == signal.SIGHUP and os.getsid(0) == os.getpid()
        return not (sender and descends(sender, os.getpid()))

    def _pass_on(self, number: int) -> None:
        if not self._orphaned:
            self._told.append(number)
            self._link.tell("signal", number)
        else:
            self._kill_prog(number)

    def _kill_prog(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._prog, number)

    def _go_on(self, sender: int) -> None:
        """We were continued. PROG was too if all its group was; if not, it shall be."""
        if sender == self._supervisor or state_of(self._prog) != "T":
            return
        with contextlib.suppress(ProcessLookupError):
            self._give_terminal()
            if self._orphaned:
                os.kill(self._prog, signal.SIGCONT)
            else:
                self._link.tell("continue")

    def _give_terminal(self) -> None:
        """We were brought to the front. PROG may be a shell that has made a group of its own and
        suspended itself; to the shell that continued us PROG is the job, and gets the terminal.
        """
        group, ours = os.getpgid(self._prog), os.getpgrp()
        if group == ours:
            return
        try:
            terminal = os.open("/dev/tty", os.O_RDWR)
        except OSError:
            return  # there is none
        with contextlib.suppress(OSError):
            if os.tcgetpgrp(terminal) == ours:
                os.tcsetpgrp(terminal, group)
        os.close(terminal)
