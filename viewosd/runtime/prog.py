"""PROG as its parent, the supervisor, sees it; what becomes of it is told to the keeper.

The empty view's loop (boot) and the full supervisor use it alike: `reap()` when SIGCHLD came,
`obey()` when the link can be read.
"""

from __future__ import annotations

import contextlib
import os
import signal

from viewosd.keeper.processes import descendants, state_of

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable

    from viewosd.keeper.link import Link


class Prog:
    """PROG, its end, and the other children that the supervisor, a subreaper, collects.

    Attributes:
        pid: 0 before it was started.
        waitstatus: as waitpid(2) gave it; None while PROG lives.
        childless: no process of the view is left.
    """

    def __init__(self, link: Link, keeper: int, *, detached: bool) -> None:
        self.pid = 0
        self.waitstatus: int | None = None
        self.childless = False
        self._link = link
        self._detached = detached
        self._keeper = keeper
        self._group = os.getpgrp()
        self._told = self._reported = self._stopped = False
        self.everybody: Callable[[], list[int]] = lambda: descendants(os.getpid())
        """Process ids of the whole view."""
        self.others_left: Callable[[], bool] = lambda: True
        """There are children. Is any of them of the view?"""

    def started(self, pid: int) -> None:
        """Its exec has succeeded, or a signal came before; then it may have ended already."""
        self.pid = pid
        self._told = True
        self._link.tell("started", pid)
        self.report(last=False)

    def reap(self) -> list[tuple[int, int]]:
        """Collect what has ended, mirror PROG's stops. Returns (pid, wait status) of all others."""
        others = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                self.childless = True
                break
            if pid == 0:
                self.childless = not self.others_left()
                break
            if os.WIFSTOPPED(status) and state_of(pid) == "t":
                continue  # by ptrace: a re-arm of ours, nobody's news
            if pid == self.pid:
                self._changed(status)
            elif not (os.WIFSTOPPED(status) or os.WIFCONTINUED(status)):
                others.append((pid, status))
        return others

    def _changed(self, status: int) -> None:
        ended = os.WIFEXITED(status) or os.WIFSIGNALED(status)
        # It may end before we hear that it went on, or be killed as it stands.
        continued = os.WIFCONTINUED(status) or (ended and self._stopped)
        self._stopped = os.WIFSTOPPED(status)
        if self._stopped:
            self._link.tell("stopped", os.WSTOPSIG(status))
            if os.WSTOPSIG(status) == signal.SIGSTOP:
                self._tell_keeper(signal.SIGSTOP)
        elif continued:
            self._link.tell("continued")
            # The keeper may stand still just now, or be about to; then it reads nothing.
            self._tell_keeper(signal.SIGCONT)
        if ended:
            self.waitstatus = status

    def _tell_keeper(self, number: int) -> None:
        if os.getppid() == self._keeper:
            os.kill(self._keeper, number)

    def report(self, *, last: bool) -> None:
        """Tell the keeper that PROG has ended, if it has. `last`: and we end at once, too."""
        if self.waitstatus is not None and self._told and not self._reported:
            self._reported = True
            self._link.tell("exited", self.waitstatus, *(("last",) if last else ()))

    def obey(self) -> None:
        """Do what the keeper says. If it was killed the view ends with it, as if its terminal had
        been closed; a detached view has nobody in front of it and goes on.
        """
        for line in self._link.hear():
            if line == "continue":
                self._go_on()
            elif line == "ended":  # and our keeper would know when nothing of the view is left
                self.waitstatus, self._told = 0, True
            elif line.startswith("signal "):
                self._signal(int(line.split()[1]))
                self._link.tell("signalled")
        if not self._link.open and self.waitstatus is None and not self._detached:
            self.hang_up()

    def hang_up(self) -> None:
        """SIGHUP, then SIGCONT for those that are stopped, to every process of the view."""
        for pid in self.everybody():
            for number in (signal.SIGHUP, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)

    def _signal(self, number: int) -> None:
        if self.pid and self.waitstatus is None:
            # It may have become somebody else; a shell's kill would fail alike.
            with contextlib.suppress(PermissionError):
                os.kill(self.pid, number)

    def _go_on(self) -> None:
        """The shell has continued the keeper's group. PROG is in it; or it is a shell that made a
        group of its own and suspended itself with it.
        """
        if not self.pid or self.waitstatus is not None or state_of(self.pid) != "T":
            return
        group = os.getpgid(self.pid)  # it has not been waited for, so it has one
        if group == self._group:
            self._signal(signal.SIGCONT)
        else:
            os.killpg(group, signal.SIGCONT)
