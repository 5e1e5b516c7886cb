"""What a branch begins with: services of its own, as those of its parent are at that moment.

A service's state (misc: the names that programs have set) is part of what one view sees and
another does not. So a branch gets a copy of each service, made as a successor would make it: a new
object from the same options, which takes back what the old one describes. A service that can't be
made twice (its copy's `restore` or `start` fails) is shared with the parent, and so is what is
changed in it from then on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from ..core.view import Loaded, View
from ..service import Service, make_service, parse_options
from . import plugins

log = logging.getLogger("viewosd")


async def copies(parent: View, connect: Callable[[Service], None]) -> list[Loaded]:
    """The parent's services again, in their order, started. ``connect`` gives one its wires."""
    pairs = [(loaded, _copy(loaded, connect)) for loaded in parent.services]
    return [await _started(loaded, copy) for loaded, copy in pairs]


def _copy(loaded: Loaded, connect: Callable[[Service], None]) -> Loaded | None:
    """None: it can't be had twice. Of the same class, so its module is not executed again."""
    try:
        service = make_service(type(loaded.service), parse_options(loaded.text)[1])
        state = loaded.service.describe()
        if state is not None:
            # Through the same text as for a successor: nothing in it is shared.
            service.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(state)))
    except plugins.FAULTS as error:
        _shared(loaded, error)
        return None
    connect(service)
    return Loaded(service, loaded.text, loaded.permanent)


async def _started(loaded: Loaded, copy: Loaded | None) -> Loaded:
    try:
        if copy is not None:
            await copy.service.start()
    except plugins.FAULTS as error:
        _shared(loaded, error)
        return loaded
    return copy or loaded


def _shared(loaded: Loaded, error: BaseException) -> None:
    log.warning("service %s: shared with the branch: %s", loaded.name, plugins.line(error))
