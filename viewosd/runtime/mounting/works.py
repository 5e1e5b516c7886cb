"""Work that is done once, however often its call is asked.

A service may re-arm the tree while it makes a mount. The call that is being answered is then
restarted like any other: its hook is cancelled, and the thread makes the same call again. So the
work runs in a task of its own; the call that comes again finds it, running or done, and takes its
outcome. A thread that was killed comes no more: its work ends, and stands, as in the kernel.

What the agent does for a call it does under the call's token. So a successor that finds a call in
hand learns how far it had come: what can't be done again was done, and is answered; everything else
is undone, and begun anew.

An outcome is forgotten once it has been answered, and not before: a hook that ends in the very
moment in which its call is restarted has answered nobody.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ...errors import Vanished
from ...keeper.processes import start_of
from ...syscalls.base import Syscall
from ...tracee import Tracee
from ...verdict import Errno, InjectFd, Return, Verdict
from ..space_calls import token
from .calls import MountCalls

log = logging.getLogger("viewosd")

_FINAL: Final = {
    "umount": "umount",
    "umount2": "umount",
    "mount": "mount",
    "move_mount": "move_mount",
    "mount_setattr": "mount_setattr",
    "fsconfig": "fsconfig",
    "fsmount": "fsmount",
}
"""What can't be done again once the agent has: by call."""

Key = tuple[int, int, str, tuple[int, ...]]
"""Thread, its start (thread ids are given out again), call, registers."""


class Work:
    """Something that is being done for a call."""

    def __init__(self, token: bytes = b"") -> None:
        self.token = token
        self.done = trio.Event()
        self.verdict: Verdict = Errno(errno.EIO)
        self._wanted = True

    async def run(self, body: Callable[[], Awaitable[Verdict]]) -> None:
        """Raises nothing but trio's own: an exception of the body is the call's errno."""
        token.set(self.token)
        try:
            self.verdict = await body()
        except Exception as error:
            self.verdict = Errno(code_of(error))
        finally:
            self.done.set()
            if not self._wanted:
                self.give_up()

    def give_up(self) -> None:
        """Nobody will ask for the outcome."""
        self._wanted = False
        if self.done.is_set() and isinstance(self.verdict, InjectFd):
            os.close(self.verdict.fd)
            self.verdict = Errno(errno.EIO)


def code_of(error: BaseException) -> int:
    """The errno that an exception means; one that is no OSError is a bug, and logged."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if isinstance(error, Vanished):
        return errno.EINTR
    log.error("mounting: a bug, in a service or here", exc_info=error)
    return errno.EIO


class Works:
    """What is being done, and what has been done and not been answered.

    Args:
        space: whose agent does it.
        given: the answer with a tree that the agent has made for a call.
        undone: called when nothing of a call has happened, or all of it.

    Attributes:
        inherited: a dead supervisor may have begun what is asked.
    """

    def __init__(
        self,
        space: MountCalls | None = None,
        given: Callable[[Syscall, int], Verdict] = lambda call, fd: InjectFd(fd),
        undone: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        self._works: dict[Key, Work] = {}
        self._space, self._given, self._undone = space, given, undone
        self.inherited = False

    async def once(
        self,
        call: Syscall,
        tracee: Tracee,
        consider: Callable[[], Verdict | Callable[[], Awaitable[Verdict]]],
    ) -> Verdict:
        """Answer a call by work that is not begun twice.

        Args:
            consider: looks at the call at once, and says its answer or what is to be done.
        """
        key = (tracee.tid, start_of(tracee.tid), type(call).__name__, call.args)
        work = self._works.get(key)
        if work is None:
            self._forget(tracee.tid)
            if self.inherited and (verdict := await self._inherited(call, tracee)) is not None:
                return verdict
            found = consider()
            if not callable(found):
                return found
            tracee.let_go()
            work = self._works[key] = Work(_token_of(tracee))
            trio.lowlevel.spawn_system_task(work.run, found)
        await work.done.wait()
        tracee.check()  # nothing waits between here and the answer
        self._works.pop(key, None)
        if self._space is not None and work.token:
            # It begins when this call has been answered.
            trio.lowlevel.spawn_system_task(_forget, self._space, work.token)
        return work.verdict

    async def _inherited(self, call: Syscall, tracee: Tracee) -> Verdict | None:
        """The answer to what a dead supervisor has done; None: nothing, or it is undone."""
        mine = _token_of(tracee)
        if self._space is None or not mine:
            return None
        done, fds = await self._space.recall(mine)
        final = _FINAL.get(type(call).__name__)
        if any(not undo and verb in (final, "attach") for verb, undo in done):
            await self._undone()  # or moved, or changed
            return self._given(call, fds[0]) if fds else Return(0)
        for fd in fds:
            os.close(fd)
        if done:
            await self._space.take_back(mine)
        await self._undone()
        return None

    def _forget(self, tid: int) -> None:
        """What this thread will not ask for again, nor those that have ended."""
        for key in list(self._works):
            if key[0] == tid or (self._works[key].done.is_set() and start_of(key[0]) != key[1]):
                self._works.pop(key).give_up()


def _token_of(tracee: Tracee) -> bytes:
    """Names a call while it is in hand: listener and cookie. A fake has none."""
    listener = getattr(tracee, "listener", None)
    return b"" if listener is None else b"%d:%d" % (listener.key, getattr(tracee, "cookie", 0))


async def _forget(space: MountCalls, token: bytes) -> None:
    try:
        await space.forget(token)
    except (OSError, EOFError) as error:
        log.info("the agent: %s", error)
