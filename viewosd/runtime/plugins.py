"""From a service's name to its class: the entry-point group ``viewosd.services``.

Our own services come in by this door, like everybody's. A path of a Python file (``./tracer.py``
or ``./tracer.py:Tracer``) works too, for the service one is just writing.

importlib.metadata takes a tenth of all that a supervisor imports, so it is asked only when a look
at the files that it would read, entry_points.txt of each distribution, does not do.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import ServiceError
from ..service import Service, make_service, parse_options

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "viewosd.services"

_PLAIN = re.compile(r"([\w.]+):(\w+)").fullmatch

FAULTS = (Exception, SystemExit)
"""What a service's own code may raise without ending its supervisor; as in `pump.FAULTS`."""


def installed() -> list[EntryPoint]:
    """Every service that some installed distribution offers, by name."""
    from importlib.metadata import entry_points

    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def load(text: str) -> Service:
    """Make the service that ``NAME,option,…`` asks for.

    Raises:
        ServiceError: unknown, can't be imported, is no service, does not take these options, or
            its constructor raised something.
    """
    name, options = parse_options(text)
    if not name:
        raise ServiceError("no service is named")
    cls = find(name)
    try:
        return make_service(cls, options)
    except FAULTS as error:
        if isinstance(error, ServiceError):
            raise
        raise ServiceError(f"service {cls.name}: {line(error)}") from error


def find(name: str) -> type[Service]:
    """The class behind a name or a file. Raises ServiceError."""
    if "/" in name or name.endswith(".py"):
        return _from_file(name)
    values = set(_offered(name))
    plain = _PLAIN(values.pop()) if len(values) == 1 else None
    point = _point(name) if plain is None else None
    try:
        if plain is not None:
            module, attribute = plain.groups()
            found: Any = getattr(importlib.import_module(module), attribute)
        elif point is not None:
            found = point.load()
    except FAULTS as error:
        dist = (point or _point(name)).dist
        maker = f" of {dist.name}" if dist else ""
        raise ServiceError(f"service {name}{maker} can't be loaded: {line(error)}") from error
    return _checked(found, name)


def _offered(name: str) -> Iterator[str]:
    """What installed distributions say that a service of that name is: ``module:class``."""
    for place in sys.path:
        with suppress(OSError):
            for entry in os.scandir(place or "."):
                if entry.name.endswith(".dist-info"):
                    with (
                        suppress(OSError),
                        open(
                            f"{entry.path}/entry_points.txt", encoding="utf-8", errors="replace"
                        ) as file,
                    ):
                        yield from _values(file, name)


def _values(lines: Iterable[str], name: str) -> Iterator[str]:
    section = ""
    for text in map(str.strip, lines):
        key, _, value = text.partition("=")
        if text.startswith("["):
            section = text
        elif section == f"[{GROUP}]" and key.strip() == name:
            yield value.strip()


def _point(name: str) -> EntryPoint:
    points = installed()
    for point in points:
        if point.name == name:
            return point
    offered = ", ".join(point.name for point in points) or "none"
    raise ServiceError(f"unknown service {name} (installed: {offered})")


def _from_file(text: str) -> type[Service]:
    path, _, wanted = text.partition(":")
    path = os.path.abspath(path)
    spec = importlib.util.spec_from_file_location(f"viewosd_service_{abs(hash(path))}", path)
    if spec is None or spec.loader is None or not os.path.isfile(path):
        raise ServiceError(f"there is no service file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except FAULTS as error:
        del sys.modules[spec.name]
        raise ServiceError(f"{path} can't be loaded: {line(error)}") from error
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Service) and value.__module__ == spec.name
    ]
    chosen = [c for c in classes if not wanted or c.__name__ == wanted]
    if len(chosen) != 1:
        names = ", ".join(c.__name__ for c in classes) or "none"
        raise ServiceError(
            f"{path} must have one service, or say which as FILE:CLASS (it has: {names})"
        )
    return _checked(chosen[0], text)


def _checked(found: object, name: str) -> type[Service]:
    if not (inspect.isclass(found) and issubclass(found, Service)):
        raise ServiceError(f"service {name} is no viewosd.Service")
    if not isinstance(getattr(found, "name", None), str):
        raise ServiceError(f"service {name}: its class {found.__name__} has no name")
    return found


def line(error: BaseException) -> str:
    """One line for what a service raised."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
