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
        arguments: ``paths``, absolute; switches; ``layer`` and ``target`` where another layer is
            meant than those of the view, which would be seen wrongly from inside.
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
    if unknown := sorted(arguments.keys() - {"paths", "layer", "target", *_SWITCHES[what]}):
        raise ServiceError(f"{what} has no option {', '.join(unknown)}")
    words = [f"--{name}" for name in _SWITCHES[what] if arguments.get(name)]
    named = {name: arguments[name] for name in ("layer", "target") if name in arguments}
    if not all(isinstance(value, bytes) and b"\0" not in value for value in named.values()):
        raise ServiceError(f"{what}: layer and target are paths")
    for name, value in named.items():
        words.append(f"--{name}={os.fsdecode(value)}")
    for layer, target in layers if "layer" not in named else ():
        words += ["--on", os.fsdecode(layer), os.fsdecode(target)]
    words += ["--mounted"] if "layer" not in named else []
    words += ["--", *map(os.fsdecode, paths)]
    return Work((sys.executable, "-P", "-m", "viewos_viewfs.layers", what, *words))
