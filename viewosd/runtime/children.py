"""The processes of a view that end: whose statuses are waited for, and when none is left.

The supervisor is parent or subreaper of all of a view. SIGCHLD is read from a signalfd, so no
signal handler ever runs here.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

from .prog import Prog


class Children:
    """Collects what ends. PROG itself is mirrored to the keeper by `Prog`."""

    def __init__(self, prog: Prog, signals: int) -> None:
        self.prog = prog
        self._signals = signals
        self._statuses: dict[int, int | None] = {}
        self._ended: dict[int, trio.Event] = {}

    def expect(self, pid: int) -> None:
        """This child's status will be asked for."""
        self._statuses[pid] = None
        self._ended[pid] = trio.Event()

    async def wait(self, pid: int) -> int:
        """The wait status with which an expected child ends; once."""
        await self._ended[pid].wait()
        del self._ended[pid]
        status = self._statuses.pop(pid)
        assert status is not None
        return status

    def reap(self) -> None:
        """Collect every status there is, without waiting."""
        for pid, status in self.prog.reap():
            if pid in self._statuses:
                self._statuses[pid] = status
                self._ended[pid].set()

    async def run(self, changed: Callable[[], None]) -> None:
        """Collect for ever; ``changed`` is called after each round."""
        while True:
            self.reap()
            changed()
            await trio.lowlevel.wait_readable(self._signals)
            try:
                os.read(self._signals, 1 << 12)
            except BlockingIOError:
                pass


class Executed:
    """A program that a client has started in a view."""

    def __init__(self, children: Children, pid: int) -> None:
        self._children, self.pid = children, pid

    async def wait(self) -> int:
        """Its wait status."""
        return await self._children.wait(self.pid)
