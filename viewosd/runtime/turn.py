"""The right to receive: one task at a time has it.

The task that has received a call runs its hook itself, after it has given the turn away. Did the
hook not wait, it takes the turn back before anybody else ran. So a hook that does not wait costs no
task, and one that waits costs one wake-up of a parked task (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

SPARE_TASKS: Final = 8
"""How many tasks may wait for their turn with nothing to do; more end."""


class Turn:
    """Lets tasks receive, one after the other.

    Args:
        receive: receives for as long as its task has the turn.
        nursery: where the tasks live.
    """

    def __init__(self, receive: Callable[[], Awaitable[None]], nursery: trio.Nursery) -> None:
        self._receive, self._nursery = receive, nursery
        self._holder: trio.lowlevel.Task | None = None
        self.parked: list[trio.lowlevel.Task] = []
        self._waking = False
        nursery.start_soon(self._work)

    def give(self) -> None:
        """Let somebody else receive as soon as this task waits."""
        self._holder = None
        if not self._waking:
            self._waking = True
            if self.parked:
                trio.lowlevel.reschedule(self.parked.pop())
            else:
                self._nursery.start_soon(self._work)

    def take_back(self) -> bool:
        """Have it again; False: somebody has received meanwhile, and has it now."""
        if self._holder is not None:
            return False
        self._holder = trio.lowlevel.current_task()
        return True

    async def _work(self) -> None:
        me = trio.lowlevel.current_task()
        while True:
            self._waking = False
            if self._holder is not None:
                if len(self.parked) >= SPARE_TASKS:
                    return
                await self._park(me)
                continue
            self._holder = me
            try:
                await self._receive()
            finally:
                if self._holder is me:
                    self._holder = None

    async def _park(self, me: trio.lowlevel.Task) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self.parked.remove(me)
            return trio.lowlevel.Abort.SUCCEEDED

        self.parked.append(me)
        await trio.lowlevel.wait_task_rescheduled(abort)
