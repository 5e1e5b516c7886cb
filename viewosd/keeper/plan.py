"""What a view is to be: made by viewos-run, read by the keeper and by every supervisor it forks."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Step = tuple[str, str] | tuple[str, str, str, bytes, bytes]


class StartError(Exception):
    """PROG will not run; one line that says why."""


class Plan:
    """Plain data. It crosses the fork from keeper to supervisor in memory and is never sent.

    Attributes:
        argv: PROG and its arguments.
        env: PROG's environment, "NAME=value" entries as execve(2) takes them; a list, because an
            environment may hold an entry twice or one without "=", and PROG gets exactly those.
        viewname: the view's name, "" without one.
        steps: what is done before PROG starts, in order: ("service", text), as `um_add_service`
            would be told, and ("mount", type, options, source, target), as `viewmount` would be;
            the target is an absolute path, a comma inside an option is ``\\,``.
        rc: executables to run inside the view before PROG, in order.
        secure, nonesting, quiet: the options -s, -x, -q of kmview(1).
        log: a descriptor for diagnostics (-o FILE), -1 without one.
        detach: PROG runs on in a session of its own, and the end of the keeper does not end it.
        serverid: process id of the view's first supervisor; 0 until it runs. Users type it.
        generation: 0 for the first supervisor, one more for each that had to replace a dead one.
        view: the number of the view in its server: 0, or the branch's.
        suspicious: the supervisor before hung, or ended by itself: what it had in hand may be why.
        keeper: process id of whoever starts supervisors.
        started: seconds since the epoch.
        inherited: the descriptors that PROG gets and nobody else may keep.
        sigmask, ignored: signal numbers that are blocked, that are ignored, in PROG.
        umask: PROG's.
        link: the supervisor's end of the conversation with the keeper (`viewosd.keeper.link`).
        parking: both ends of a socket pair that holds a duplicate of every listener.
        control: the listening control socket, -1 for a branch. The keeper keeps it open, so that
            whoever connects between two supervisors waits and is not refused.
        enter: begins a branch, in the process that is to be its root; it raises StartError. None: a
            view with a supervisor of its own.
        journal, state: memfds, empty at first; what a successor needs of a dead supervisor.
    """

    def __init__(self, argv: Sequence[bytes], env: Sequence[bytes]) -> None:
        self.argv = list(argv)
        self.env = list(env)
        self.viewname = ""
        self.steps: list[Step] = []
        self.rc: list[bytes] = []
        self.secure = False
        self.nonesting = False
        self.quiet = False
        self.detach = False
        self.log = -1
        self.serverid = 0
        self.view = 0
        self.generation = 0
        self.suspicious = False
        self.keeper = 0
        self.started = 0.0
        self.inherited: list[int] = []
        self.sigmask: set[int] = set()
        self.ignored: set[int] = set()
        self.umask = 0o022
        self.enter: Callable[[], None] | None = None
        self.control = -1
        self.link = -1
        self.parking = (-1, -1)
        self.journal = -1
        self.state = -1

    @property
    def view_id(self) -> str:
        """How users name the view: SERVERID, or SERVERID:ID for a branch."""
        return f"{self.serverid}:{self.view}" if self.view else str(self.serverid)

    @property
    def light(self) -> bool:
        """Nothing to do before PROG starts, so PROG can start before the supervisor is loaded."""
        return not self.steps and not self.rc

    @property
    def services(self) -> list[str]:
        """The services among the steps."""
        return [step[1] for step in self.steps if step[0] == "service"]


def exit_status(waitstatus: int) -> int:
    """What a shell reports for a status of waitpid(2): the exit status, or 128 + the signal."""
    code = os.waitstatus_to_exitcode(waitstatus)
    return code if code >= 0 else 128 - code


def signal_name(number: int) -> str:
    """SIGTERM for 15; for a real-time signal its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
