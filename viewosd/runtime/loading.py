"""The services of the views: loaded, taken out, moved, and trapped for.

The functions are the supervisor's methods of these names.
"""

from __future__ import annotations

import functools
import logging
import os
from typing import TYPE_CHECKING, Final

import trio

from ..core.traps import Traps, traps_of, union
from ..core.view import Loaded, View
from ..errors import ServiceError, ViewError
from ..keeper import place
from ..service import Service
from . import plugins

if TYPE_CHECKING:
    from .supervisor import Supervisor

log = logging.getLogger("viewosd")

STOP_S: Final = 10.0
"""Seconds that a service may take to stop."""


async def add_service(
    supervisor: Supervisor, view: View, text: str, *, permanent: bool = False
) -> str:
    """Load a service into a view, and trap what it hooks, in running programs too.

    Returns:
        What the user should know: who does not see a file service's mounts; "" as a rule.

    Raises:
        ServiceError: unknown, bad option, already loaded, its start failed.
        ViewError: a process can't be made to trap its calls; nothing was changed.
    """
    service = plugins.load(text)
    if any(other.name == service.name for other in view.services):
        raise ServiceError(f"service {service.name} is already loaded")
    wanted = union(supervisor.wanted(), traps_of([spec for spec, _ in service.hooks()]))
    connect(supervisor, view, service)
    try:
        await service.start()
    except plugins.FAULTS as error:
        raise ServiceError(f"service {service.name}: {plugins.line(error)}") from error
    loaded = Loaded(service, text, permanent)
    fresh = bool(service.mounts) and supervisor.spaces.of(view) is None
    try:
        if fresh:
            await supervisor.spaces.open(view)
            wanted = union(supervisor.wanted(), wanted)
        outside = await _arm(supervisor, view, wanted, fresh)
        if outside:
            supervisor.spaces.await_latecomers(view)
            await _arm(supervisor, view, union(supervisor.wanted(), wanted))
        view.insert(loaded)
    except Exception:
        if fresh:
            supervisor.spaces.close(view)
        await supervisor.drop_services(view, [loaded])
        raise
    supervisor.tell_pump()
    return "; ".join(outside.values())


def connect(supervisor: Supervisor, view: View, service: Service) -> None:
    """Give a service of a view what it may ask of us."""
    service.remember = supervisor.save
    service.rearm = functools.partial(supervisor.rearm, view)
    service.view_space = functools.partial(supervisor.spaces.of, view)
    service.view_networks = functools.partial(supervisor.spaces.networks, view)
    service.view_places = place.candidates


async def _arm(
    supervisor: Supervisor, view: View, wanted: Traps, bring: bool = False
) -> dict[int, str]:
    """Trap what is wanted everywhere; bring the programs of a view into its namespaces.

    Returns:
        Who stays outside of these, and why.
    """
    outside: dict[int, str] = {}
    if not supervisor.members.processes():
        return outside
    entrance = supervisor.spaces.entrance(view, outside) if bring else None
    try:
        if not supervisor.armory.suffices(wanted):
            supervisor.members.remember()
            await supervisor.armory.rearm(supervisor.members.processes, wanted, entrance)
        elif entrance is not None:
            await supervisor.armory.visit(supervisor.members.processes, entrance)
    finally:
        supervisor.children.reap()  # while they were ours, PROG's own stops went unseen
    return outside


async def rearm(supervisor: Supervisor, view: View) -> None:
    """A service of the view hooks more than before, or less.

    Raises:
        ViewError: a process can't be made to trap its calls.
    """
    done = trio.Event()
    failed: list[Exception] = []

    async def arm() -> None:
        try:
            await _arm(supervisor, view, supervisor.wanted())
            view.rebuild()
            supervisor.tell_pump()
        except Exception as error:
            failed.append(error)
        finally:
            done.set()

    # Not in the task of who asks: that may answer a call, which is cancelled when its thread is
    # stopped for this, and asked again.
    trio.lowlevel.spawn_system_task(arm)
    await done.wait()
    if failed:
        raise failed[0]


async def mount(
    supervisor: Supervisor, view: View, type: str, options: str, source: bytes, target: bytes
) -> None:
    """Mount in a view, as its owner. Raises ViewError: why not."""
    mounting = supervisor.spaces.mounting(view)
    if mounting is None:
        raise ViewError(f"can't mount {type}: no file service is loaded in this view")
    try:
        alone = not supervisor.processes(view)
        await mounting.request(type, options, source, target, alone=alone)
    except OSError as error:
        shown = os.fsdecode(target)
        raise ViewError(f"can't mount {type} on {shown}: {error.strerror or error}") from None


async def del_service(supervisor: Supervisor, view: View, name: str) -> None:
    """Take a service out of a view; its calls are continued from now on.

    Raises:
        ServiceError: not loaded, or permanent.
    """
    mounting = supervisor.spaces.mounting(view)
    if mounting is not None and (count := mounting.in_use(view.find(name).service)):
        raise ServiceError(f"service {name} has {count} mounts; umount them first")
    loaded = view.remove(name)
    supervisor.tell_pump()
    await supervisor.drop_services(view, [loaded])


def mov_service(supervisor: Supervisor, view: View, name: str, position: int) -> None:
    """Change the search order. Raises ServiceError."""
    view.move(name, position)
    supervisor.tell_pump()


async def drop_services(supervisor: Supervisor, view: View, gone: list[Loaded]) -> None:
    """Take services out of a view; stop those that no other view has."""
    view.services = [loaded for loaded in view.services if loaded not in gone]
    view.rebuild()
    for loaded in gone:
        if any(loaded in other.services for other in supervisor.views.values()):
            continue
        with trio.CancelScope(shield=True), trio.move_on_after(STOP_S):
            try:
                await loaded.service.stop()
            except plugins.FAULTS:
                log.exception("service %s: cannot stop", loaded.name)
