"""What ``viewos services`` lists: every service that could be loaded.

Looked up here and not in a supervisor: it needs no view, and loading every plugin there would
keep programs waiting for as long.
"""

from __future__ import annotations

import inspect
from importlib import metadata
from typing import Any

GROUP = "viewosd.services"


def installed() -> list[dict[str, Any]]:
    """Rows of name, description, options, distribution; one that does not load has an error."""
    points = metadata.entry_points(group=GROUP)
    return [_row(point) for point in sorted(points, key=lambda point: point.name)]


def _row(point: metadata.EntryPoint) -> dict[str, Any]:
    row: dict[str, Any] = {"name": point.name, "description": "", "options": [], "error": None}
    row["distribution"] = f"{point.dist.name} {point.dist.version}" if point.dist else ""
    try:
        service = point.load()
        row["description"] = service.summary()
        row["options"] = [_option(parameter) for parameter in _parameters(service)]
    except Exception as error:  # a third party's code: whatever it raises, the others are listed
        row["error"] = f"{type(error).__name__}: {error}"
        row["description"] = f"does not load: {row['error']}"
    return row


def _parameters(service: Any) -> list[inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p for p in inspect.signature(service).parameters.values() if p.kind in named]


def _option(parameter: inspect.Parameter) -> str:
    """``name=`` for one that must be given, ``name=DEFAULT`` where that says something."""
    default = parameter.default
    if default is parameter.empty:
        return f"{parameter.name}="
    if default is None or default == "" or default is False:
        return parameter.name
    return f"{parameter.name}={default.decode() if isinstance(default, bytes) else default}"
