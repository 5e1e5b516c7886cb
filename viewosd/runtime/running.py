"""Programs that are run in a view, or pulled into it, or ended, for a client.

The functions are the supervisor's methods of these names.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import trio

from ..core.view import View
from ..errors import ViewError
from . import attach as attaching
from . import beginning, spawn
from .children import Executed

if TYPE_CHECKING:
    from .supervisor import Supervisor


async def execute(
    supervisor: Supervisor,
    view: View,
    argv: list[bytes],
    env: dict[bytes, bytes],
    fds: list[int],
    cwd: bytes,
) -> Any:
    """Run a program in a view.

    Args:
        fds: what becomes its descriptors 0, 1, 2; they stay the caller's.

    Raises:
        OSError: it could not be executed.
    """
    space = supervisor.spaces.of(view)
    look = os.open if space is None else space.open
    directory = look(cwd, os.O_PATH | os.O_DIRECTORY)
    try:
        entries = [name + b"=" + value for name, value in env.items()]
        given = dict(enumerate(fds))
        program = spawn.Program(argv, entries, fds=given, cwd=directory, session=True)
        child = supervisor.start(program, view)
    finally:
        os.close(directory)
    supervisor.children.expect(child.pid)
    if view.root:
        supervisor.members.adopt(child.pid, view.root)
        if listener := supervisor.pump.listeners.get(child.listener or -1):
            supervisor.members.through[listener.key] = view.root
    supervisor.save()
    if failure := await beginning.exec_failure(child):
        await supervisor.children.wait(child.pid)
        raise (FileNotFoundError if failure[0] == 127 else PermissionError)(0, failure[1])
    return Executed(supervisor.children, child.pid)


async def stop(supervisor: Supervisor, view: View, seconds: float) -> None:
    """End every process of a view: SIGTERM, and SIGKILL to what is left after ``seconds``."""
    told: set[int] = set()
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
        until = time.monotonic() + patience
        while (left := supervisor.processes(view)) and time.monotonic() < until:
            for pid in left if number == signal.SIGKILL else set(left) - told:
                try:
                    os.kill(pid, number)
                except (ProcessLookupError, PermissionError):
                    pass
            told |= set(left)
            await trio.sleep(0.02)


async def attach(supervisor: Supervisor, view: View, pid: int) -> str:
    """Pull a process that was started elsewhere, and what it starts from now on, into a view.

    Returns:
        What the user should know: it does not see the view's mounts; "" as a rule.

    Raises:
        ViewError: it can't be; the text says why. It goes on as it was.
    """
    if reason := attaching.refusal(pid, supervisor.members):
        raise ViewError(reason)
    supervisor.members.left_out |= await supervisor.armory.arm_stranger(pid, supervisor.wanted())
    supervisor.members.note(pid)
    supervisor.members.strangers.add(pid)
    if view.root:
        supervisor.members.adopt(pid, view.root)
    supervisor.tell_pump()
    if outside := await supervisor.spaces.bring(view, pid):
        supervisor.spaces.await_latecomers(view)
        await supervisor.rearm(view)
    return outside
