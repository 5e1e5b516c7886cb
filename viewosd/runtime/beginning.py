"""A supervisor's first steps in a view that has something to do before PROG.

Services are loaded and mounts made in the order given, then the rc files run, then PROG.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from ..errors import ServiceError, ViewError
from ..keeper import place
from . import boot, spawn

if TYPE_CHECKING:
    from .supervisor import Supervisor


async def begin(supervisor: Supervisor) -> int:
    """Prepare the view and start PROG. Not 0: it will not run, and viewos-run has been told why."""
    plan, root = supervisor.plan, supervisor.root
    try:
        for step in plan.steps:
            if step[0] == "service":
                await supervisor.add_service(root, step[1])
            else:
                await supervisor.mount(root, *step[1:])
        for path in plan.rc:
            await _run_rc(supervisor, path)
        root.secure = plan.secure  # what came before is what its owner wanted
        child = supervisor.start(boot.program(plan), root)
    except (ServiceError, ViewError) as error:
        return give_up(supervisor, 125, str(error))
    except OSError as error:
        return give_up(supervisor, 125, spawn.no_start(error))
    supervisor.prog.pid = child.pid
    if failure := await exec_failure(child):
        return give_up(supervisor, *failure)
    supervisor.prog.started(child.pid)
    supervisor.save()
    boot.let_go(plan)
    return 0


def give_up(supervisor: Supervisor, code: int, line: str) -> int:
    """Tell viewos-run with which exit status to end, and what to say."""
    place.remove(supervisor.serverid)
    supervisor.link.tell("failed", code, line)
    return code


async def _run_rc(supervisor: Supervisor, path: bytes) -> None:
    """An rc file's failure is told and does not keep PROG from starting, as in View-OS."""
    child = supervisor.start(boot.program(supervisor.plan, [path]), supervisor.root)
    supervisor.children.expect(child.pid)
    failure = await exec_failure(child)
    status = await supervisor.children.wait(child.pid)
    if failure or status:
        supervisor.link.tell("note", boot.rc_note(path, failure, status))


async def exec_failure(child: spawn.Child) -> tuple[int, str] | None:
    """Wait until the child has executed its program, while its calls are served."""
    await trio.lowlevel.wait_readable(child.status)
    os.close(child.pidfd)
    return child.failure()
