"""Work that is done once, however often its call is asked.

A service may re-arm the tree while it makes a mount. The call that is being answered is then
restarted like any other: its hook is cancelled, and the thread makes the same call again. So the
work runs in a task of its own; the call that comes again finds it, running or done, and takes its
outcome. A thread that was killed comes no more: its work ends, and stands, as in the kernel.

An outcome is forgotten once it has been answered, and not before: a hook that ends in the very
moment in which its call is restarted has answered nobody.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable

import trio

from ...errors import Vanished
from ...keeper.processes import start_of
from ...syscalls.base import Syscall
from ...tracee import Tracee
from ...verdict import Errno, InjectFd, Verdict

log = logging.getLogger("viewosd")

Key = tuple[int, int, str, tuple[int, ...]]
"""Thread, its start (thread ids are given out again), call, registers."""


class Work:
    """Something that is being done for a call."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.verdict: Verdict = Errno(errno.EIO)
        self._wanted = True

    async def run(self, body: Callable[[], Awaitable[Verdict]]) -> None:
        """Raises nothing but trio's own: an exception of the body is the call's errno."""
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
    """What is being done, and what has been done and not been answered."""

    def __init__(self) -> None:
        self._works: dict[Key, Work] = {}

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
            found = consider()
            if not callable(found):
                return found
            tracee.let_go()
            work = self._works[key] = Work()
            trio.lowlevel.spawn_system_task(work.run, found)
        await work.done.wait()
        tracee.check()  # nothing waits between here and the answer
        self._works.pop(key, None)
        return work.verdict

    def _forget(self, tid: int) -> None:
        """What this thread will not ask for again, nor those that have ended."""
        for key in list(self._works):
            if key[0] == tid or (self._works[key].done.is_set() and start_of(key[0]) != key[1]):
                self._works.pop(key).give_up()
