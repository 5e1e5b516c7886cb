"""The supervisor of one view tree: the composition root of everything that needs trio.

What it owns: the views and their services, the pump with its listeners, the control socket, the
children. What outlives it (`viewosd.keeper.plan.Plan`): the journal, the parked listeners and the
state, from which a successor goes on.

It ends when its last process has: all of a view descend from it, for it is their subreaper.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import trio

from ..core.filter import compile_filter
from ..core.traps import Traps, covers, traps_of, union
from ..core.view import Loaded, View
from ..errors import ServiceError, ViewError
from ..keeper import place
from . import arming, attach, boot, control, logs, plugins, spawn
from .children import Children
from .journal import Journal
from .listener import Listener
from .members import Members
from .observe import Observers
from .parking import Parking
from .pump import Held, Pump

log = logging.getLogger("viewosd")


class Supervisor:
    """One process, one thread, one tree of views."""

    def __init__(self, booted: boot.Booted) -> None:
        plan = self.plan = booted.plan
        self.link, self.prog, self._control = booted.link, booted.prog, booted.control
        self.serverid = plan.serverid
        self.root = View(0, plan.viewname, plan.started, owner=os.getuid())
        self.views: dict[int, View] = {0: self.root}
        self.stats = self.root.stats
        self.children = Children(booted.prog, booted.signals)
        self.pump = Pump(Journal(plan.journal))
        self.pump.on_gone = lambda listener: self._look_for_end()
        self.parking = Parking(plan.parking)
        self.members = Members(os.getpid())
        self.observers = Observers(self)
        self.installed: Traps = {}
        """What the filters trap that are installed by now, all together."""
        self._over = trio.Event()

    # -- life

    async def run(self) -> int:
        """Serve until the last process of the view has ended; the supervisor's exit status."""
        failed = 0
        async with trio.open_nursery() as nursery:
            await nursery.start(self.pump.run)
            await nursery.start(control.serve, self, self._control)
            nursery.start_soon(self.children.run, self._look_for_end)
            nursery.start_soon(self._beat)
            if not self.prog.pid:
                failed = await self._begin()
            nursery.start_soon(self._hear_keeper)
            if not failed:
                await self._over.wait()
            await self._stop_services()
            nursery.cancel_scope.cancel()
        if not failed:
            # First the name, then the news: whoever waits for the keeper finds nothing of us left.
            place.remove(self.serverid)
            self.prog.report(last=True)
        return failed

    async def _begin(self) -> int:
        """Load what was asked for, run the rc files, start PROG. Not 0: it will not run."""
        try:
            for text in self.plan.services:
                await self.add_service(self.root, text)
            for path in self.plan.rc:
                await self._run_rc(path)
            child = self._start(boot.program(self.plan))
        except (ServiceError, ViewError) as error:
            return self._give_up(125, str(error))
        except OSError as error:
            return self._give_up(125, f"can't start PROG: {error.strerror or error}")
        self.prog.pid = child.pid
        if failure := await self._exec_failure(child):
            return self._give_up(*failure)
        self.prog.started(child.pid)
        boot.let_go(self.plan)
        return 0

    def _give_up(self, code: int, line: str) -> int:
        place.remove(self.serverid)
        self.link.tell("failed", code, line)
        return code

    async def _run_rc(self, path: bytes) -> None:
        """An rc file's failure is told and does not keep PROG from starting, as in View-OS."""
        child = self._start(boot.program(self.plan, [path]))
        self.children.expect(child.pid)
        failure = await self._exec_failure(child)
        status = await self.children.wait(child.pid)
        if failure or status:
            why = failure[1] if failure else f"exit status {status >> 8 or 128 + status}"
            self.link.tell("note", f"rc file {os.fsdecode(path)}: {why}")

    def _start(self, program: spawn.Program) -> spawn.Child:
        """Start a program under a filter for what is loaded now."""
        wanted = self.traps()
        bytecode = compile_filter(wanted) if any(wanted.values()) else None
        child = spawn.start(program, bytecode)
        if child.listener is not None:
            self.adopt_listener(child.listener)
            self.installed = union(self.installed, wanted)
            self._tell_pump()
        return child

    async def _exec_failure(self, child: spawn.Child) -> tuple[int, str] | None:
        """Wait until the child has executed its program, while its calls are served."""
        await trio.lowlevel.wait_readable(child.status)
        os.close(child.pidfd)
        return child.failure()

    def adopt_listener(self, fd: int) -> Listener:
        """Serve a listener from now on."""
        listener = Listener(fd, self.pump.journal.next_key())
        self.pump.add(listener)
        try:
            self.parking.put([(listener.key, fd)])
        except OSError as error:
            log.warning("cannot park a listener, a successor will miss it: %s", error)
        return listener

    def _tell_pump(self) -> None:
        self.pump.routes = self.root.routes
        self.pump.trapped = {a: frozenset(n) for a, n in self.installed.items()}

    def _look_for_end(self) -> None:
        if not self.prog.pid:
            return
        if self.prog.childless and not self.members.strangers_alive():
            self._over.set()
        else:
            self.prog.report(last=False)

    async def _hear_keeper(self) -> None:
        while self.link.open:
            await trio.lowlevel.wait_readable(self.link.fileno())
            self.prog.obey()

    async def _beat(self) -> None:
        while True:
            self.pump.journal.beat()
            await trio.sleep(0.5)

    async def _stop_services(self) -> None:
        once = {id(loaded): loaded for view in self.views.values() for loaded in view.services}
        for loaded in once.values():
            await self._guarded(loaded, loaded.service.stop)

    async def _guarded(self, loaded: Loaded, action: Callable[[], Awaitable[None]]) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(10):
            try:
                await action()
            except Exception:
                log.exception("service %s: cannot stop", loaded.name)

    # -- what clients ask for

    def traps(self) -> Traps:
        """What the services of all views need trapped."""
        return traps_of([spec for view in self.views.values() for spec in view.specs()])

    def view_of(self, pid: int) -> View | None:
        """The view that a process lives in; None: it is not of this tree."""
        return self.root if self.members.has(pid) else None

    def processes(self, view: View) -> list[int]:
        """Process ids of a view, parents before their children."""
        return self.members.processes()

    def set_name(self, view: View, name: str) -> None:
        view.name = name

    async def add_service(self, view: View, text: str, *, permanent: bool = False) -> None:
        """Load a service into a view, and trap what it hooks.

        Raises:
            ServiceError: unknown, bad option, already loaded, its start failed.
            ViewError: its calls are not trapped, and a process can't be made to trap them.
        """
        service = plugins.load(text)
        if any(other.name == service.name for other in view.services):
            raise ServiceError(f"service {service.name} is already loaded")
        wanted = union(self.traps(), traps_of([spec for spec, _ in service.hooks()]))
        compile_filter(wanted)  # says now what can't be trapped
        try:
            await service.start()
        except Exception as error:
            raise ServiceError(f"service {service.name}: {error}") from error
        loaded = Loaded(service, text, permanent)
        try:
            if not covers(self.installed, wanted) and self.members.processes():
                self._arm(self.members.processes, wanted)
            view.insert(loaded)
        except BaseException:
            await self._guarded(loaded, service.stop)
            raise
        self._tell_pump()

    def _arm(self, processes: Callable[[], Iterable[int]], wanted: Traps) -> list[int]:
        """Put a filter for ``wanted`` on processes that already run; which processes got it.

        Everything stands still meanwhile, this supervisor included: nothing here waits on trio.

        Raises:
            ViewError: somebody is in the way; nothing was changed.
        """
        held: Held = {}
        old = list(self.pump.listeners.values())

        def close_old() -> None:
            for listener in old:
                self.pump.drop(listener)
            self.parking.keep_only([])

        try:
            armed = arming.arm(
                processes,
                compile_filter(wanted),
                self.pump.rewriter,
                lambda seized: self.pump.restart_in_flight(seized, held),
                close_old,
            )
        except arming.ArmError as error:
            raise ViewError(str(error)) from None
        finally:
            self.pump.serve_held(held)
        for one in armed:
            self.adopt_listener(one.listener)
        self.installed = union(self.installed, wanted)
        return [one.pid for one in armed]

    async def del_service(self, view: View, name: str) -> None:
        """Take a service out of a view; its calls are continued from now on.

        Raises:
            ServiceError: not loaded, or permanent.
        """
        loaded = view.remove(name)
        self._tell_pump()
        await self._guarded(loaded, loaded.service.stop)

    def mov_service(self, view: View, name: str, position: int) -> None:
        """Change the search order. Raises ServiceError."""
        view.move(name, position)
        self._tell_pump()

    async def execute(
        self, view: View, argv: list[bytes], env: dict[bytes, bytes], fds: list[int], cwd: bytes
    ) -> Any:
        """Run a program in a view.

        Args:
            fds: what becomes its descriptors 0, 1, 2; they stay the caller's.

        Raises:
            OSError: it could not be executed.
        """
        directory = os.open(cwd, os.O_PATH | os.O_DIRECTORY)
        try:
            entries = [name + b"=" + value for name, value in env.items()]
            given = dict(enumerate(fds))
            child = self._start(
                spawn.Program(argv, entries, fds=given, cwd=directory, session=True)
            )
        finally:
            os.close(directory)
        self.children.expect(child.pid)
        if failure := await self._exec_failure(child):
            await self.children.wait(child.pid)
            raise (FileNotFoundError if failure[0] == 127 else PermissionError)(0, failure[1])
        return _Executed(self.children, child.pid)

    async def stop(self, view: View, seconds: float) -> None:
        """End every process of a view: SIGTERM, and SIGKILL to what is left after ``seconds``."""
        await self._signal_all(view, signal.SIGTERM, seconds)
        await self._signal_all(view, signal.SIGKILL, 5)

    async def _signal_all(self, view: View, number: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        told: set[int] = set()
        while left := self.processes(view):
            for pid in left:
                if pid not in told or number == signal.SIGKILL:
                    told.add(pid)
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, number)
            if time.monotonic() > until:
                return
            await trio.sleep(0.02)

    async def attach(self, view: View, pid: int) -> None:
        """Pull a process that was started elsewhere, and what it starts from now on, into a view.

        Raises:
            ViewError: it can't be; the text says why. It goes on as it was.
        """
        reason = attach.refusal(pid, self.members)
        if reason:
            raise ViewError(reason)
        wanted = self.traps()
        if any(wanted.values()):
            self._arm_stranger(pid, wanted)
        self.members.strangers.add(pid)

    def _arm_stranger(self, pid: int, wanted: Traps) -> None:
        try:
            armed = arming.arm(
                lambda: [pid],
                compile_filter(wanted),
                self.pump.rewriter,
                lambda seized: None,
                lambda: None,
            )
        except arming.ArmError as error:
            raise ViewError(str(error)) from None
        if not armed:
            raise ViewError(f"process {pid} has ended")
        for one in armed:
            self.adopt_listener(one.listener)
        self.installed = union(self.installed, wanted)
        self._tell_pump()

    def subscribe(self) -> trio.MemoryReceiveChannel[Any]:
        """A record of every answer from now on; close it to end that."""
        return self.observers.subscribe()


class _Executed:
    def __init__(self, children: Children, pid: int) -> None:
        self._children, self.pid = children, pid

    async def wait(self) -> int:
        return await self._children.wait(self.pid)


def run(booted: boot.Booted) -> int:
    """Serve a view to its end; the supervisor's exit status."""
    logs.start(booted.plan)
    return trio.run(Supervisor(booted).run)
