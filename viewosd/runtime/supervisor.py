"""The supervisor of one view tree: the composition root of everything that needs trio.

What it owns: the views and their services, the pump with its listeners, the control socket, the
children. What outlives it (`viewosd.keeper.plan.Plan`): the journal, the parked listeners and the
state, from which a successor goes on.

It ends when its last process has: all of a view descend from it, for it is their subreaper.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from typing import Any, Final

import trio

from ..core.traps import Traps, traps_of
from ..core.view import View
from ..errors import ViewError
from ..keeper import place, processes
from . import aside, beginning, boot, branches, control, loading, logs, running, spawn, takeover
from .armory import Armory
from .aside import Served
from .captive import collect_late
from .children import Children
from .journal import Journal
from .learning import Learning
from .members import Members
from .observe import Observers
from .parking import Parking
from .pump import Pump
from .repair import finish_arming
from .spaces import Spaces
from .state import State

log = logging.getLogger("viewosd")

DEEPEST: Final = 64
"""How many branches may be nested below the first view, as in View-OS (sizeof(long) * 8)."""
CLOSING_S: Final = 2.0
"""How long listeners may outlive the last process before PROG's end is told without ours."""
BEAT_S: Final = 0.5
"""How often the keeper's watchdog is told that all is well; far below `succession.HANGS_S`."""


class Supervisor:
    """One process, one thread, one tree of views."""

    def __init__(self, booted: boot.Booted) -> None:
        plan = self.plan = booted.plan
        self.link, self.prog, self._control = booted.link, booted.prog, booted.control
        self.serverid = plan.serverid
        self.root = View(0, plan.viewname, plan.started, owner=os.getuid())
        self.root.secure = plan.secure and bool(booted.prog.pid or plan.generation)
        self._views: dict[int, View] = {0: self.root}
        self.next_view = 1
        self.state = State(plan.state)
        self.children = Children(booted.prog, booted.signals)
        self.pump = Pump(Journal(plan.journal), lambda listener: self._look_for_end())
        self.armory = Armory(self.pump, Parking(plan.parking))
        self.armory.record = self.save
        self.members = Members(os.getpid())
        self.served = Served(self._own_types)
        aside.ask(self.served)
        self.spaces = Spaces(self)
        self.prog.others_left = self._others_left
        self.observers = Observers(self)
        self.learning = Learning(self)
        self._over = trio.Event()
        self._closing = 0.0
        self._beginning = trio.CancelScope()
        self._settled = not plan.generation
        """All is known that there is to know. Before, what a dead supervisor saved is kept."""

    # -- life

    async def run(self) -> int:
        """Serve until the last process of the view has ended; the supervisor's exit status."""
        failed = 0
        async with trio.open_nursery() as nursery:
            await nursery.start(self.pump.run)
            nursery.start_soon(self._beat)
            if self.plan.generation:
                await takeover.take_over(self)
                self._settled = True
                self.save()
                self.members.remember()
                self.link.tell("serving")
                if self.armory.broken_off:
                    await finish_arming(self)
            await nursery.start(control.serve, self, self._control)
            nursery.start_soon(self.children.run, self._look_for_end)
            nursery.start_soon(self._look_after)
            nursery.start_soon(self._hear_keeper)
            if not self.prog.pid and not self.plan.generation:
                with self._beginning:
                    failed = await beginning.begin(self)
                failed = 125 if self._beginning.cancelled_caught else failed
            if not failed:
                self._look_for_end()
                await self._over.wait()
            for view in list(self.views.values()):
                await self.spaces.end(view)
                await self.drop_services(view, view.services)
            await self.spaces.close_all()
            nursery.cancel_scope.cancel()
        if not failed:
            # First the name, then the news: whoever waits for the keeper finds nothing of us left.
            place.remove(self.serverid)
            self.prog.report(last=True)
        return failed

    @property
    def views(self) -> dict[int, View]:
        """By id. A branch is gone as soon as somebody asks after its last process has ended."""
        for view in [v for v in self._views.values() if v.root and not self.members.still(v.root)]:
            if view.keeper and self.members.any_below(view.keeper):
                self._keeper_is_root(view)
            elif not any(map(self.members.still, self.members.adopted_by(view.root))):
                self._end_branch(view)
        return dict(self._views)  # whoever looks through it may ask again meanwhile

    def _keeper_is_root(self, view: View) -> None:
        """A branch's root was killed. Its processes are the keeper's now, the next subreaper."""
        adopted = self.members.adopted_by(view.root)
        self.members.adopted |= dict.fromkeys(adopted, view.keeper)
        view.root, view.keeper = view.keeper, 0
        self.members.note(view.root)
        self.tell_pump()

    def _others_left(self) -> bool:
        """There are children. Is any of the view? Only helpers are not."""
        return not self.members.helpers or self.members.any_below(os.getpid())

    def _look_for_end(self) -> None:
        if not self.prog.pid and not self.plan.generation:
            return
        if self.prog.childless and self.members.nobody_left():
            if not self.pump.listeners:
                self._over.set()
                return
            # The kernel frees a filter a moment after its last process. Later, somebody has it whom
            # we do not know.
            self._closing = self._closing or time.monotonic()
            if time.monotonic() - self._closing < CLOSING_S:
                return
        self.prog.report(last=False)

    async def _hear_keeper(self) -> None:
        while self.link.open:
            await trio.lowlevel.wait_readable(self.link.fileno())
            self.prog.obey()
            self._look_for_end()
        if not self.prog.pid:
            self._beginning.cancel()  # nobody waits for PROG any more
        self.members.keeper_is_gone()
        self._look_for_end()

    async def _beat(self) -> None:
        while True:
            self.pump.journal.beat()
            await trio.sleep(BEAT_S)

    async def _look_after(self) -> None:
        """What nobody tells us is looked at."""
        while True:
            collect_late()
            self.members.remember()
            self.learning.look()
            _ = self.views
            if self.plan.generation or self.members.strangers or self._closing:
                self._look_for_end()  # these are not its children: nobody tells it
            await trio.sleep(BEAT_S)

    # -- views

    def view_of(self, pid: int) -> View | None:
        """The view that a process lives in; None: it is not of this tree."""
        return self._nearest_view(pid) if self.members.has(pid) else None

    def branch_roots(self) -> dict[int, int]:
        """Each branch's root and its keeper to the root."""
        branched = [view for view in self._views.values() if view.root]
        roots = {view.keeper: view.root for view in branched if view.keeper}
        return roots | {view.root: view.root for view in branched}

    def _nearest_view(self, tid: int, key: int = 0) -> View:
        root = self.members.branch_root(tid, self.branch_roots(), key)
        return next((v for v in self._views.values() if v.root == root), self.root)

    def processes(self, view: View) -> list[int]:
        """Process ids of a view, parents before their children."""
        everybody = self.members.processes()
        if len(self.views) == 1:
            return everybody
        return [pid for pid in everybody if self._nearest_view(pid) is view]

    def set_name(self, view: View, name: str) -> None:
        """Call a view something else."""
        view.name = name
        self.save()

    def secure(self, view: View) -> None:
        """From now on processes inside may change it only with the capabilities for that."""
        view.secure = True
        self.save()

    async def branch(self, parent: View, root: int, name: str) -> View:
        """Make a view that begins with process ``root``: it inherits what ``parent`` has now.

        Nothing of the branch runs before this returns: its root waits for it.

        Raises:
            ViewError: too deep, or the tree does not nest (-x).
        """
        if self.plan.nonesting:
            raise ViewError("this view was started with -x: it has no branches")
        if parent.depth >= DEEPEST:
            raise ViewError(f"branches nest {DEEPEST} deep at most, and this would be one more")
        view = View(
            self.next_view, name, time.time(), owner=self.root.owner, parent=parent, root=root
        )
        self.next_view += 1
        view.keeper = processes.parent_of(root)
        view.services = await branches.copies(
            parent, functools.partial(loading.connect, self, view)
        )
        view.rebuild()
        self.add_view(view)
        self.tell_pump()
        try:
            await self.spaces.branch(view, parent)
        except ViewError:
            self._end_branch(view)
            raise
        self.tell_pump()
        return view

    def add_view(self, view: View) -> None:
        """One more."""
        self.members.note(view.root)
        self._views[view.id] = view

    def _end_branch(self, view: View) -> None:
        if self._views.pop(view.id, None) is None:
            return
        self.tell_pump()
        trio.lowlevel.spawn_system_task(self._tidy_up, view)

    async def _tidy_up(self, view: View) -> None:
        await self.spaces.end(view)
        await self.drop_services(view, view.services)

    def _own_types(self) -> set[str]:
        """The mount types that services offer."""
        views = self._views.values()
        return {type for view in views for one in view.services for type in one.service.mounts}

    def tell_pump(self) -> None:
        """After any change of views or services: who answers for whom, and what is remembered."""
        self.pump.routes = self.root.routes
        self.pump.route_for = self._routes_for if len(self._views) > 1 else None
        self.learning.listen()
        self.members.forget_branches()
        self.save()

    def _routes_for(self, tid: int, key: int) -> Any:
        return self._nearest_view(tid, key).routes

    def save(self) -> None:
        """Write down what a successor needs."""
        if not self._settled:
            return
        try:
            self.state.save(takeover.facts(self))
        except Exception:
            log.exception("cannot save the state: a successor would know what was saved before")

    # -- services

    def wanted(self) -> Traps:
        """What the services of all views need trapped."""
        return traps_of([spec for view in self.views.values() for spec in view.specs()])

    add_service = loading.add_service
    del_service = loading.del_service
    mov_service = loading.mov_service
    drop_services = loading.drop_services
    rearm = loading.rearm
    mount = loading.mount

    # -- processes

    execute = running.execute
    stop = running.stop
    attach = running.attach

    def start(self, program: spawn.Program, view: View) -> spawn.Child:
        """Start a program in a view. Raises OSError."""
        return self.armory.start(self.spaces.place(program, view), self.wanted())

    def subscribe(self) -> trio.MemoryReceiveChannel[Any]:
        """A record of every answer from now on; close it to end that."""
        return self.observers.subscribe()


def run(booted: boot.Booted) -> int:
    """Serve a view to its end; the supervisor's exit status."""
    spawn.raise_limits()
    logs.start(booted.plan)
    return trio.run(Supervisor(booted).run)
