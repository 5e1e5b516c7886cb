"""The filters and listeners of a view tree: put on new programs, and on those that already run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

import trio

from ..abi.sysno import SYSNO
from ..core.bypass import refused
from ..core.filter import compile_filter
from ..core.traps import Traps, covers, union
from ..errors import ViewError
from ..keeper.processes import descendants, start_of
from . import arming, spawn
from .listener import Listener
from .parking import Parking
from .pump import Pump

log = logging.getLogger("viewosd")


BESIDES: Final = 0xFFFF_0000
"""Parked keys from here on are of descriptors that are no listeners: agents', plus a view's id."""


class Armory:
    """Knows what is trapped, and makes it more.

    Attributes:
        installed: what all filters together trap by now. It never becomes less: a filter below a
            newer one has lost its listener, and a call that only it traps would fail with ENOSYS.
        everywhere: that is so in every process.
        attempted: what a re-arm that is under way would add. If we die just then, a successor must
            count on it, but can't rely on it.
        attaching: a process outside of the tree for which that is so.
        broken_off: a supervisor died over a re-arm, which has not been made up for yet: `repair`.
        record: called when one of these has changed, to have it written down.
    """

    def __init__(self, pump: Pump, parking: Parking) -> None:
        self.pump, self.parking = pump, parking
        self.installed: Traps = {}
        self.everywhere = True
        self.attempted: Traps = {}
        self.attaching: set[int] = set()
        self.broken_off = False
        self.record: Callable[[], None] = lambda: None
        self._lock = trio.Lock()
        self._besides: dict[int, int] = {}

    def suffices(self, wanted: Traps) -> bool:
        """Is everything that is wanted trapped already?"""
        return self.everywhere and covers(self.installed, wanted)

    def start(self, program: spawn.Program, wanted: Traps) -> spawn.Child:
        """Start a program; under a filter, if anything is or was trapped."""
        wanted = union(self.installed, wanted)
        bytecode = _bytecode(wanted) if any(wanted.values()) else None
        key = self.pump.journal.next_key()
        # Parked before it goes on: a program never runs whose listener only we have.
        child = spawn.start(program, bytecode, lambda fd: self._park(key, fd))
        if child.listener is not None:
            self._now_installed(wanted)
            self.pump.add(Listener(child.listener, key))
        return child

    async def rearm(
        self,
        processes: Callable[[], Iterable[int]],
        wanted: Traps,
        also: arming.Visit | None = None,
    ) -> None:
        """Trap more in every process of the tree.

        Args:
            also: called for each process in the end, while everybody stands still.

        Raises:
            ViewError: somebody is in the way; nothing was changed.
        """
        if any(SYSNO[arch]["seccomp"] in numbers for arch, numbers in self.installed.items()):
            # Once the listener is closed the call that puts on the next filter would get ENOSYS.
            raise ViewError("a service hooks seccomp(2): load those that hook more before it")

        def close_old() -> bool:
            old = list(self.pump.listeners.values())
            for listener in old:
                self.pump.drop(listener)
            self.parking.keep_only(self._besides.items())
            return bool(old)

        try:
            await self._arm(processes, wanted, close_old, also)
            self.everywhere, self.broken_off = True, False
        finally:
            self.record()

    async def visit(self, processes: Callable[[], Iterable[int]], also: arming.Visit) -> None:
        """Stop every process for a moment, and call ``also`` for each. Raises ViewError."""
        async with self._lock:
            try:
                await arming.visit(processes, self.pump, also)
            except arming.ArmError as error:
                raise ViewError(str(error)) from None

    async def arm_stranger(self, pid: int, wanted: Traps) -> dict[int, int]:
        """Put a filter on a process that has none of ours.

        Returns:
            Its children, and theirs, from before, with their start times: they have no filter.

        Raises:
            ViewError: it can't be taken, or has ended; it goes on as it was.
        """
        children: dict[int, int] = {}

        def look() -> bool:
            children.update({child: start_of(child) for child in descendants(pid)})
            return False

        if any(union(self.installed, wanted).values()):
            self.attaching = {pid}
            try:
                if not await self._arm(lambda: [pid], wanted, look):
                    raise ViewError(f"process {pid} has ended")
            finally:
                self.attaching = set()
        else:
            look()
        return children

    async def _arm(
        self,
        processes: Callable[[], Iterable[int]],
        wanted: Traps,
        close_old: Callable[[], bool],
        also: arming.Visit | None = None,
    ) -> int:
        """How many listeners there are by it."""
        served = 0

        def keep(fd: int) -> None:
            nonlocal served
            served += 1
            self._now_installed(wanted)
            self.serve(fd)

        async with self._lock:
            wanted = self.attempted = union(self.installed, wanted)
            self.record()
            try:
                await arming.arm(processes, _bytecode(wanted), self.pump, close_old, keep, also)
            except arming.ArmError as error:
                # A wider filter here and there harms nobody, but does not suffice.
                self.everywhere = self.everywhere and not served
                raise ViewError(str(error)) from None
            finally:
                self.attempted = {}
        return served

    def serve(self, fd: int) -> None:
        """Park a duplicate of a listener for a successor, and receive from it from now on."""
        key = self.pump.journal.next_key()
        self._park(key, fd)
        self.pump.add(Listener(fd, key))

    def _park(self, key: int, fd: int) -> None:
        try:
            try:
                self.parking.put([(key, fd)])
            except OSError:
                # Full, perhaps of those whose processes have ended.
                alive = [(one.key, one.fd) for one in self.pump.listeners.values()]
                self.parking.keep_only([*alive, *self._besides.items(), (key, fd)])
        except OSError as error:
            log.warning("cannot park a descriptor, a successor will miss it: %s", error)

    def park_besides(self, key: int, fd: int) -> None:
        """Park a descriptor that is no listener, the caller's, until `unpark_besides`."""
        self._besides[key] = fd
        self._park(key, fd)

    def unpark_besides(self, key: int) -> None:
        """It need not be parked any more."""
        del self._besides[key]
        try:
            alive = [(one.key, one.fd) for one in self.pump.listeners.values()]
            self.parking.keep_only([*alive, *self._besides.items()])
        except OSError as error:
            log.warning("cannot take a descriptor out of the parking place: %s", error)

    def take_over(
        self, installed: Traps, everywhere: bool
    ) -> tuple[dict[int, Listener], dict[int, int]]:
        """Take the listeners of a supervisor that died. They stay parked.

        They are not received from yet: first all must be known that answers their calls.

        Returns:
            The listeners by their keys, and what was parked besides, by key; its descriptors are
            the caller's.
        """
        self.everywhere = everywhere
        self._now_installed(installed)
        parked = dict(self.parking.look())
        besides = {key: fd for key, fd in parked.items() if key >= BESIDES}
        return {key: Listener(fd, key) for key, fd in parked.items() if key < BESIDES}, besides

    def _now_installed(self, traps: Traps) -> None:
        self.installed = union(self.installed, traps)
        self.pump.answers.trapped = {
            arch: frozenset(numbers) for arch, numbers in self.installed.items()
        }


def _bytecode(traps: Traps) -> bytes:
    return compile_filter(traps, refuse=refused(traps))
