"""What a client asks of a view's layers, as the command that answers it: `__main__`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from viewosd.errors import ServiceError
from viewosd.service import Work

_SWITCHES: Final = {"diff": ("json", "patch"), "commit": ("force",), "discard": ()}
"""Every command, and the arguments beside ``paths`` that it knows."""


def work(what: str, arguments: Mapping[str, Any], layers: Iterable[tuple[bytes, bytes]]) -> Work:
    """The command that does it.

    Args:
        what: diff, commit, discard.
        arguments: ``paths``, absolute; switches.
        layers: of the mounts of the view: the directory of each, and what it lies over.

    Raises:
        ServiceError: it asks for something else.
    """
    if what not in _SWITCHES:
        raise ServiceError(f"viewfs has no command {what}")
    paths = arguments.get("paths", [])
    if not isinstance(paths, list) or not all(
        isinstance(p, bytes) and b"\0" not in p for p in paths
    ):
        raise ServiceError(f"{what}: paths is a list of paths")
    if unknown := sorted(arguments.keys() - {"paths", *_SWITCHES[what]}):
        raise ServiceError(f"{what} has no option {', '.join(unknown)}")
    words = [f"--{name}" for name in _SWITCHES[what] if arguments.get(name)]
    for layer, target in layers:
        words += ["--on", os.fsdecode(layer), os.fsdecode(target)]
    words += ["--mounted", "--", *map(os.fsdecode, paths)]
    return Work((sys.executable, "-P", "-m", "viewos_viewfs.layers", what, *words))
