"""A hook that waits until the test lets it."""

from __future__ import annotations

from typing import Any

import trio

from helpers.rig import Rig, serve, until
from viewosd.runtime import journal as journal_module
from viewosd.syscalls.process import getppid
from viewosd.verdict import Return, Verdict


class Hanging:
    """A hook that waits until the test lets it, and tells how it ended."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.cancelled = 0
        self.go = trio.Event()
        self.answers: list[Verdict] = []

    async def __call__(self, call: Any, tracee: Any) -> Verdict:
        self.asked.append(tracee.cookie)
        try:
            await self.go.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        return Return(7)

    def service(self, call: Any = getppid, **mark: Any) -> Any:
        async def answer(call: Any, tracee: Any) -> Verdict:
            return await self(call, tracee)

        return serve(call, answer, name=call.__name__, deadline_s=None, **mark)


async def at_rest(view: Rig) -> None:
    """No hook runs and no slot but the next call's is taken."""
    await until(lambda: not view.live, "the hooks to end")
    await until(lambda: len(view.journal._free) == journal_module.SLOTS - 2, "free slots")
