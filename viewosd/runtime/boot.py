"""A supervisor's first steps, in the child that the keeper forks.

An empty view traps nothing, so PROG can run before there is anything to supervise. This file
starts it and waits for it with no more than a poll; the supervisor proper, which takes ten times as
long to load as all else here, comes when a client connects, or at once when there are services or
rc files to load before PROG.

Sessions: PROG stays in the keeper's process group and session, and then the supervisor leaves them
(setsid). So ^Z, `kill -9 %1` and the hang-up of a terminal do not touch it; and a process group is
orphaned when it would have been without us, for PROG's parent is outside its session and does not
count (POSIX, "orphaned process group").

A branch (viewos-run inside a view) goes the same way without a control socket: its root is this
process, which begins the branch with the supervisor that is there, and is the subreaper of all that
lives in it. It never becomes a supervisor.

Ends:

* PROG ends: the keeper is told and ends at once with PROG's status. The supervisor stays until the
  last process that PROG has left behind is gone.
* The keeper is killed: every process of the view gets SIGHUP and SIGCONT, as when a terminal is
  closed. Those that ignore SIGHUP live on, and the supervisor with them.
"""

from __future__ import annotations

import errno
import gc
import os
import resource
import select
import signal
import socket

from viewosd.keeper import inherit, place, unsafe
from viewosd.keeper.plan import StartError

from .prog import Prog
from .spawn import Child, Program, no_start, start

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from typing import NoReturn

    from viewosd.keeper.link import Link
    from viewosd.keeper.plan import Plan


class Booted:
    """What the empty view's loop hands to the supervisor, or boot if there is no such loop.

    Attributes:
        plan: what the view is to be.
        link: to the keeper.
        control: the listening control socket; connections may wait in it. None for a branch.
        signals: a signalfd for SIGCHLD; every signal is blocked.
        prog: PROG, if `prog.pid` is not 0.
    """

    def __init__(self, plan: Plan, link: Link, control: socket.socket | None) -> None:
        self.plan = plan
        self.link = link
        self.control = control
        self.signals = unsafe.signalfd({signal.SIGCHLD})
        self.prog = Prog(link, plan.keeper, detached=plan.detach)

    def leave(self) -> None:
        """Take the view's name away: it is about to end."""
        if self.control is not None:
            place.remove(self.plan.serverid)


def main(plan: Plan, link: Link) -> NoReturn:
    """Be the supervisor of a view until its last process is gone."""
    status = 125
    try:
        unsafe.prctl(unsafe.PR_SET_CHILD_SUBREAPER, 1)
        unsafe.set_name(b"viewosd: " + os.fsencode(plan.viewname or "view"))
        status = _branch(plan, link) if plan.enter else _boot(plan, link)
    except (StartError, place.PlaceError) as error:
        link.tell("failed", 125, error)
    except OSError as error:
        link.tell("failed", 125, no_start(error))
    except Exception as error:
        if _memory_is_limited():  # then it is MemoryError, by that name or as an ImportError
            link.tell("failed", 125, no_start(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))))
        else:
            _note_fault(plan)
            link.tell("failed", 125, f"a fault of the supervisor: {error!r}")
    finally:
        os._exit(status)


def _note_fault(plan: Plan) -> None:
    from traceback import format_exc

    if plan.log >= 0:
        os.write(plan.log, os.fsencode(format_exc()))
    else:
        place.note(plan.serverid, format_exc())


def _memory_is_limited() -> bool:
    limits = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    return any(resource.getrlimit(which)[0] != resource.RLIM_INFINITY for which in limits)


def program(plan: Plan, argv: list[bytes] | None = None) -> Program:
    """PROG, or an rc file, as spawn starts it: with all that the keeper was given."""
    return Program(
        plan.argv if argv is None else argv,
        plan.env,
        sigmask=plan.sigmask,
        ignored=plan.ignored,
        umask=plan.umask,
    )


def let_go(plan: Plan) -> None:
    """PROG has been forked: give up what is PROG's, and leave its session. Nothing that is started
    in the view from here on has its terminal.
    """
    inherit.let_go(plan.inherited)
    os.setsid()


def _boot(plan: Plan, link: Link) -> int:
    if not plan.serverid:
        plan.serverid = os.getpid()
        place.publish(plan.keeper, plan.serverid)
    control = socket.socket(fileno=plan.control)
    link.tell("view", plan.serverid, 0, plan.viewname)
    booted = Booted(plan, link, control)
    if plan.generation:
        os.setsid()
        return _supervise(booted)
    if not plan.light:
        return _supervise(booted)
    if not _wait_for_exec(start(program(plan)), booted):
        return 0
    let_go(plan)
    return _supervise(booted) if _wait(booted) else 0


def _branch(plan: Plan, link: Link) -> int:
    assert plan.enter is not None
    plan.enter()
    link.tell("view", plan.serverid, plan.view, plan.viewname)
    booted = Booted(plan, link, None)
    for path in plan.rc:
        _run_rc(plan, link, path)
    if _wait_for_exec(start(program(plan)), booted):
        let_go(plan)
        _wait(booted)
    return 0


def _run_rc(plan: Plan, link: Link, path: bytes) -> None:
    child = start(program(plan, [path, b"nested"]))
    os.read(child.status, 1)
    os.close(child.pidfd)
    failure = child.failure()
    _, status = os.waitpid(child.pid, 0)
    if failure or status:
        link.tell("note", rc_note(path, failure, status))


def rc_note(path: bytes, failure: tuple[int, str] | None, waitstatus: int) -> str:
    """How an rc file failed. It does not keep PROG from starting, as in View-OS."""
    code = os.waitstatus_to_exitcode(waitstatus)
    how = f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
    return f"rc file {os.fsdecode(path)}: {failure[1] if failure else how}"


def _wait_for_exec(child: Child, booted: Booted) -> bool:
    os.read(child.status, 1)  # nothing of the view's is trapped: exec needs nobody's help
    os.close(child.pidfd)
    if failure := child.failure():
        os.waitpid(child.pid, 0)
        booted.leave()
        booted.link.tell("failed", *failure)
        return False
    booted.prog.started(child.pid)
    return True


def _wait(booted: Booted) -> bool:
    """The empty view's loop. True: a client has come; False: the last process is gone."""
    prog, link = booted.prog, booted.link
    poller = select.poll()
    poller.register(booted.signals, select.POLLIN)
    poller.register(link, select.POLLIN)
    if booted.control is not None:
        poller.register(booted.control, select.POLLIN)
    linked = True
    while True:
        prog.reap()
        if prog.childless:
            # First the name, then the news: whoever waits for the keeper finds nothing of us left.
            booted.leave()
            prog.report(last=True)
            return False
        prog.report(last=False)
        ready = dict(poller.poll())
        if booted.signals in ready:
            os.read(booted.signals, 1 << 12)
        if linked and link.fileno() in ready:
            prog.obey()
            if not link.open:
                poller.unregister(link)
                linked = False
        if booted.control is not None and booted.control.fileno() in ready:
            return True


def _supervise(booted: Booted) -> int:
    gc.disable()  # a tenth of the time, and nothing of what is imported is ever let go
    from .supervisor import run

    gc.freeze()
    gc.enable()
    return run(booted)
