"""A successor's first steps: it goes on where a supervisor died.

    keeper                      successor                         tracees
    ------                      ---------                         -------
    sees the link close
    fork                    ->  views and services from the state  wait in their calls:
                                listeners from the parking place   a parked duplicate keeps
                                unanswered calls from the journal  every listener open
                                asks the hooks again           ->  answered, once

Calls that were made meanwhile were not received by anybody; they wait in the kernel like any other.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from ..core.traps import Traps, union
from ..core.view import Loaded, View
from ..errors import ServiceError
from . import loading, plugins
from .members import Members
from .traps_text import from_text, to_text

if TYPE_CHECKING:
    from .supervisor import Supervisor

log = logging.getLogger("viewosd")


def facts(supervisor: Supervisor) -> dict[str, Any]:
    """All that a successor can't find elsewhere."""
    armory = supervisor.armory
    loaded: list[Loaded] = []
    for view in supervisor.views.values():
        loaded += [one for one in view.services if one not in loaded]
    return {
        "services": [[os.fsencode(o.text), o.permanent, o.service.describe()] for o in loaded],
        "views": [
            {
                "id": view.id,
                "name": view.name,
                "since": view.since,
                "secure": view.secure,
                "parent": None if view.parent is None else view.parent.id,
                "root": view.root,
                "keeper": view.keeper,
                "services": [loaded.index(one) for one in view.services],
            }
            for view in supervisor.views.values()
        ],
        "next_view": supervisor.next_view,
        "strangers": sorted(supervisor.members.strangers | armory.attaching),
        "left_out": list(supervisor.members.left_out.items()),
        "adopted": list(supervisor.members.adopted.items()),
        "through": list(supervisor.members.through.items()),
        "spaces": supervisor.spaces.facts(),
        "installed": to_text(union(armory.installed, armory.attempted)),
        "everywhere": armory.everywhere and not armory.attempted,
        "arming": bool(armory.attempted) or armory.broken_off,
    }


async def take_over(supervisor: Supervisor) -> None:
    """Be the successor. What can't be had again is logged, and done without."""
    known = supervisor.state.load() or {}
    log.error("supervisor %d of its view takes over", supervisor.plan.generation + 1)
    # The tree hangs below the keeper now: it is the next subreaper. If that was killed as well, all
    # that is left of the tree is who asks.
    keeper = supervisor.plan.keeper
    there = os.getppid() == keeper
    helpers = supervisor.members.helpers
    supervisor.members = Members(keeper if there else 0, besides=os.getpid())
    supervisor.members.helpers = helpers
    supervisor.prog.everybody = supervisor.members.everybody
    supervisor.members.strangers |= set(known.get("strangers", ()))
    supervisor.members.left_out |= dict(known.get("left_out", ()))
    supervisor.members.adopted |= dict(known.get("adopted", ()))
    supervisor.members.through |= dict(known.get("through", ()))
    services = [await _again(supervisor, *one) for one in known.get("services", ())]
    for saved in known.get("views", ()):
        _view_again(supervisor, saved, services)
    supervisor.next_view = known.get("next_view", 1)
    installed: Traps = from_text(known.get("installed", []))
    listeners, parked = supervisor.armory.take_over(
        union(installed, supervisor.wanted()), known.get("everywhere", True)
    )
    supervisor.armory.broken_off = known.get("arming", False)
    await supervisor.spaces.take_over(known.get("spaces", {}), parked)
    supervisor.tell_pump()
    for found in listeners.values():
        supervisor.pump.add(found)
    in_hand = supervisor.pump.journal.left_behind(supervisor.plan.suspicious)
    for slot, key, begun, attempts in in_hand:
        listener = listeners.get(key)
        if listener is None:
            supervisor.pump.journal.release(slot)
        else:
            supervisor.pump.adopt(slot, listener, begun, attempts)


async def _again(supervisor: Supervisor, text: bytes, permanent: bool, state: Any) -> Loaded | None:
    """A service as it was; None: it can't be made again, and its calls are continued."""
    shown = os.fsdecode(text)
    try:
        service = plugins.load(shown)
        if state is not None:
            service.restore(state)
        await service.start()
    except ServiceError as error:
        log.error("service %s is lost: %s", shown, error)
        return None
    except plugins.FAULTS:
        log.exception("service %s is lost", shown)
        return None
    return Loaded(service, shown, permanent)


def _view_again(
    supervisor: Supervisor, saved: dict[str, Any], services: list[Loaded | None]
) -> None:
    mine = [services[index] for index in saved["services"]]
    view = supervisor.root
    if saved["id"]:
        view = View(
            saved["id"],
            saved["name"],
            saved["since"],
            owner=supervisor.root.owner,
            parent=supervisor.views.get(saved["parent"]),
            root=saved["root"],
        )
        view.keeper, view.secure = saved["keeper"], saved["secure"]
        supervisor.add_view(view)
    view.name = saved["name"]
    view.services = [one for one in mine if one is not None]
    for one in view.services:
        loading.connect(supervisor, view, one.service)
    view.rebuild()
