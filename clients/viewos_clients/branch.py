"""viewos-run inside a view: find the supervisor that is there, and begin a branch."""

from __future__ import annotations

import contextlib
import os

from viewosd.keeper import place
from viewosd.keeper.plan import StartError
from viewosd.keeper.processes import parent_of

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from viewosd.keeper.plan import Plan


def enclosing() -> int | None:
    """The serverid of the view that we are in; None: we are in none.

    Cheap where there is nothing to find: the supervisor is an ancestor with a socket, or else there
    is a filter on us (we are below an attached process, or below a successor's keeper), or some
    view has a successor, which would be no ancestor.
    """
    pid, found = os.getppid(), False
    while pid > 1 and not found:
        found = os.path.lexists(place.socket_path(pid))
        pid = parent_of(pid)
    if not found and not _filtered() and not any(map(_succeeded, place.names())):
        return None
    from .session import inside

    session = inside()
    if session is None:
        return None
    session.close()
    return session.serverid


def enter(serverid: int, plan: Plan) -> None:
    """Begin a branch whose root is this process, and load and mount what the plan says.

    Raises:
        StartError: the supervisor refuses.
    """
    from .session import Refused, Session

    here = _directory()
    try:
        # The supervisor looks at who connects: this process is to be the root.
        with Session(serverid) as ours:
            view = ours.call("branch", plan.viewname)["view"]
            plan.serverid, plan.view = ours.serverid, view
            loaded = {row["name"] for row in ours.call("list", view)} if plan.steps else set()
            for step in plan.steps:
                if len(step) == 2 and step[1] in loaded and len(plan.steps) > len(plan.services):
                    continue  # a shorthand needs it, and the view that we branch from has it
                if len(step) == 2:
                    ours.call("add", view, os.fsencode(step[1]), False)
                else:
                    _, type, options, source, target = step
                    ours.call("mount", view, type, os.fsencode(options), source, target)
            if plan.secure:
                ours.call("secure", view)
        if plan.steps and here:
            # What was mounted on our directory, or above it, is where PROG is to start.
            with contextlib.suppress(OSError):
                os.chdir(here)
    except (Refused, OSError) as error:
        raise StartError(str(error)) from None


def _directory() -> str:
    """Ours; "" if it has no name any more."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _succeeded(serverid: int) -> bool:
    """Is the first supervisor of a view gone?"""
    try:
        with open(f"/proc/{serverid}/comm", "rb") as comm:
            return not comm.read().startswith(b"viewosd: ")
    except OSError:
        return True


def _filtered() -> bool:
    with open("/proc/self/status", "rb") as status:
        return any(line.startswith(b"Seccomp:") and b"2" in line for line in status)
