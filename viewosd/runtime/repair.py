"""What a supervisor that is killed over a re-arm leaves behind, and what its successor does.

A re-arm closes the old listeners before it makes the first new one (`arming`). A supervisor that
dies in between leaves three kinds of processes, all of them let go at once by the kernel:

* not armed yet: under a filter whose listener is closed, so that what it traps fails with ENOSYS;
* armed, and the listener fetched and parked: nothing to do;
* armed, and the listener still in the process's own table: there it keeps trapped calls waiting for
  an answer that nobody gives, and a re-arm from going on (EBUSY).

So the successor fetches and closes what it finds in tables, and arms all once more. Until then, a
successor's start, the first kind sees ENOSYS: that can't be helped, for the kernel has no listener
without a filter, and no second listener beside one that is open.

A listener in a table is taken to be ours: a program under our filter can't have made one (EBUSY).
It could hold one that was sent to it from outside of the view; then it loses that.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from ..errors import ViewError
from . import loading, unsafe
from .captive import Captive
from .crew import pidfd_of
from .injection import Injection

if TYPE_CHECKING:
    from .supervisor import Supervisor

log = logging.getLogger("viewosd")

_LISTENER = "anon_inode:seccomp notify"  # kernel/seccomp.c:init_listener()


async def finish_arming(supervisor: Supervisor) -> None:
    """Arm what a dead supervisor was about to arm. What can't be done is logged."""
    armory, members = supervisor.armory, supervisor.members

    def take(pid: int, captives: dict[int, Captive]) -> None:
        chief = next(captive for captive in captives.values() if captive.stopped)
        for number in _listeners_in(pid):
            pidfd = pidfd_of(chief.tid, pid)
            try:
                armory.serve(unsafe.pidfd_getfd(pidfd, number))
            finally:
                os.close(pidfd)
            with Injection(chief, supervisor.pump.let_pass) as inside:
                inside.syscall("close", number)

    try:
        members.remember()
        await armory.visit(members.processes, take)
        await loading.rearm(supervisor, supervisor.root)
    except ViewError as error:
        log.error("what the last supervisor was arming stays as it is: %s", error)


def _listeners_in(pid: int) -> list[int]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{name}") == _LISTENER:
                found.append(int(name))
        except FileNotFoundError:
            continue
    return found
