"""The file trees of a supervisor's views: which view has one, who is in it, who is not.

A view gets a space when its first file service is loaded, or, as a branch, when its parent has one.
Programs that are started come into it by themselves (spawn); those that run already are brought in
while they stand still (entering).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import trio

from ..agent.namespaces import Namespaces
from ..core.view import View
from ..errors import ViewError
from ..keeper.processes import descendants
from . import arming
from .armory import BESIDES
from .captive import Captive, name_of
from .entering import Outside, enter, mnt_of
from .hosts import FLUSH_S
from .ids import UnmappedIds
from .kept import Kept
from .latecomers import Latecomers
from .networks import ViewNetworks
from .space import ViewSpace
from .spawn import Program
from .treeservers import TreeServers

if TYPE_CHECKING:
    from .mounting import Mounting
    from .supervisor import Supervisor

log = logging.getLogger("viewosd")

END_S: Final = 2.0
"""Seconds that helpers may take to end with the supervisor."""


async def _call(function: Callable[[], None]) -> None:
    function()


class Spaces:
    """By view id."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._helpers = supervisor.members.helpers
        self._spaces: dict[int, ViewSpace] = {}
        self._mountings: dict[int, Mounting] = {}
        self._tables: dict[int, int] = {}  # numbers of Served's
        self._networks: dict[int, ViewNetworks] = {}
        self._kept = Kept(supervisor.armory)

    def of(self, view: View) -> ViewSpace | None:
        """None: no file service was ever loaded into it."""
        return self._spaces.get(view.id)

    def mounting(self, view: View) -> Mounting | None:
        """Who mounts in a view; None as `of`."""
        return self._mountings.get(view.id)

    def networks(self, view: View) -> ViewNetworks | None:
        """Who makes a view's network stacks; None as `of`."""
        space = self.of(view)
        if space is not None and view.id not in self._networks:

            def alone() -> bool:
                return not self._supervisor.processes(view)

            above = self.networks(view.parent) if view.parent is not None else None
            made = ViewNetworks(self._helpers, space, self._kept, alone, above)
            self._networks[view.id] = made
        return self._networks.get(view.id)

    async def open(self, view: View) -> None:
        """Give a view a file tree of its own. Nobody is in it yet.

        Raises:
            ViewError: this machine does not allow it.
        """
        self._put(view, await ViewSpace.make(self._helpers, None))

    async def branch(self, view: View, parent: View) -> None:
        """Begin a branch's file tree as a copy of its parent's. Raises ViewError."""
        if (above := self.of(parent)) is None:
            return
        space = await ViewSpace.make(self._helpers, above)
        self._put(view, space)
        if (before := self.mounting(parent)) and (ours := self.mounting(view)):
            ours.restore(before.describe())
        if why := await self.bring(view, view.root):
            raise ViewError(why)

    def _put(self, view: View, space: ViewSpace) -> None:
        from .mounting import Mounting

        self._spaces[view.id] = space
        armory, key = self._supervisor.armory, BESIDES + view.id
        armory.park_besides(key, space.end.fileno())
        self._tables[view.id] = self._supervisor.served.watch(f"/proc/{space.pid}/mountinfo")

        def replaced() -> None:
            armory.unpark_besides(key)
            armory.park_besides(key, space.end.fileno())
            self._supervisor.served.forget(self._tables[view.id])
            self._tables[view.id] = self._supervisor.served.watch(f"/proc/{space.pid}/mountinfo")

        space.replaced = replaced
        mounting = self._mountings[view.id] = Mounting(view, space)
        mounting.remember = self._supervisor.save
        view.inner = [mounting, UnmappedIds(space)] if space.ordinary else [mounting]
        view.rebuild()

    def place(self, program: Program, view: View) -> Program:
        """Have a program start in the view's namespaces."""
        if (space := self.of(view)) is not None:
            program.namespaces = space.namespaces
        return program

    def entrance(self, view: View, outside: dict[int, str]) -> arming.Visit | None:
        """Brings one stopped process after the other in, those of this view; None: nothing to do.

        Args:
            outside: filled with who stays outside, and why.
        """
        space = self.of(view)
        if space is None:
            return None
        rewriter = self._supervisor.pump.answers.rewriter
        origins = {mnt_of(os.getpid()), *(mnt_of(one.agent()) for one in self._spaces.values())}

        def visit(pid: int, captives: dict[int, Captive]) -> None:
            if self._supervisor.view_of(pid) is view:
                try:
                    enter(pid, captives, rewriter, space, origins)
                except Outside as error:
                    outside[pid] = f"process {pid} ({name_of(pid)}) sees no mounts: {error}"

        return visit

    async def bring(self, view: View, pid: int) -> str:
        """Bring a process in that has just come to the view.

        Returns:
            Why it stays outside; "" if it does not.

        Raises:
            ViewError: it can't be stopped.
        """
        outside: dict[int, str] = {}
        if (visit := self.entrance(view, outside)) is not None:
            await self._supervisor.armory.visit(lambda: [pid], visit)
            self._supervisor.children.reap()
        return outside.get(pid, "")

    def await_latecomers(self, view: View) -> None:
        """Those who are outside come in with their next program, once exec is trapped."""
        space = self._spaces[view.id]
        if not any(isinstance(one, Latecomers) for one in view.inner):
            view.inner.append(Latecomers(space, functools.partial(self.bring, view)))
            view.rebuild()

    async def end(self, view: View) -> None:
        """A view has ended, and its mounts with it."""
        if (mounting := self.mounting(view)) is not None:
            with trio.CancelScope(shield=True), trio.move_on_after(END_S):
                try:
                    await mounting.stop()
                except OSError:
                    log.exception("view %d: not all is as it was before its mounts", view.id)
        self.close(view)

    def close(self, view: View) -> None:
        """Let a view's file tree go."""
        self._mountings.pop(view.id, None)
        if (networks := self._networks.pop(view.id, None)) is not None:
            networks.close()
        if (space := self._spaces.pop(view.id, None)) is not None:
            view.inner = []
            view.rebuild()
            self._supervisor.armory.unpark_besides(BESIDES + view.id)
            self._supervisor.served.forget(self._tables.pop(view.id))
            space.close()

    async def close_all(self) -> None:
        """The supervisor ends: nothing of it is left when this returns."""
        until = time.monotonic() + END_S
        last = time.monotonic() + FLUSH_S
        while left := self._helpers.pids():
            if time.monotonic() > until:
                for pid in left:
                    if time.monotonic() < last and self._helpers.may_take_long(pid):
                        continue
                    log.error("helper %d does not end and is killed", pid)
                    for one in (*descendants(pid), pid):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(one, signal.SIGKILL)
                until += END_S
            self._supervisor.children.reap()
            self._helpers.forget_ended()
            await trio.sleep(0.002)

    # -- what a successor needs

    def facts(self) -> dict[str, Any]:
        """The helpers; agents are found in the parking place."""
        mounts = [[id, mounting.describe()] for id, mounting in self._mountings.items()]
        inodes = [[id, space.inode] for id, space in self._spaces.items()]
        return {"helpers": self._helpers.pids(), "mounts": mounts, "inodes": inodes}

    async def take_over(self, known: dict[str, Any], parked: dict[int, int]) -> None:
        """Go on with the agents of a supervisor that died; its descriptors are ours now."""
        mounts, inodes = dict(known.get("mounts", ())), dict(known.get("inodes", ()))
        replaced: list[Callable[[], None]] = []
        for pid in known.get("helpers", ()):
            self._helpers.add(pid)
        for key, fd in self._kept.take_over(parked).items():
            view = self._supervisor.views.get(key - BESIDES)
            if view is None:
                os.close(fd)
                continue
            space = ViewSpace(socket.socket(fileno=fd), self._helpers, TreeServers(self._helpers))
            end = space.end
            # Should the agent have been killed as well, the programs of the view are still there.
            space.namespaces = self._inhabited(view, inodes.get(view.id, 0))
            try:
                await space.meet()
            except OSError as error:
                log.error("the file tree of view %d is lost to us: %s", view.id, error)
                continue
            self._put(view, space)
            if space.end is not end:
                replaced.append(space.replaced)
            if (state := mounts.get(view.id)) is not None:
                self._mountings[view.id].succeed(state)
        # Once the listeners are known: what is parked is put together anew.
        for one in replaced:
            trio.lowlevel.spawn_system_task(_call, one)

    def _inhabited(self, view: View, inode: int) -> Namespaces:
        """The namespaces of a view, from one of its programs; ``mnt`` -1: nobody is in it."""
        for pid in self._supervisor.processes(view):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{pid}/ns/mnt").st_ino == inode:
                    user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
                    mnt = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
                    if os.path.samestat(os.fstat(user), os.stat("/proc/self/ns/user")):
                        os.close(user)
                        return Namespaces(None, mnt)
                    return Namespaces(user, mnt)
        return Namespaces(None, -1)
