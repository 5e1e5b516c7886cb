"""Takes out of a layer what differs no more: the view would see the same without it.

True at every step, so it may be killed at any. An opaque directory goes on hiding what is below
until nothing in it differs; then first its mark goes, and then what is in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from .changes import Change
from .entry import PREFIXES, look_in_layer, proc_path
from .origins import Origins
from .unsafe import open_beneath

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


def prune(
    upper: int, left: Collection[Change], origins: Origins, step: Callable[[str], None]
) -> None:
    """Remove everything but what is left to do.

    Args:
        upper: the layer's directory of changes; it stays.
        left: what still differs, by a walk over the layer as it is now.
    """
    stay = {change.path for change in left}
    # A file of several names is kept whole while one of them waits: it would no more be a link.
    stay |= {change.link for change in left if change.link is not None}
    _Pruner(stay, origins, step).directory(upper, "")


class _Pruner:
    def __init__(self, stay: set[str], origins: Origins, step: Callable[[str], None]) -> None:
        self.stay, self.origins, self.step = stay, origins, step
        self.busy = {parent for path in stay for parent in _parents(path)}

    def directory(self, fd: int, path: str) -> None:
        """Prune one directory. One that is opaque and still differs inside is left as it is."""
        entry = look_in_layer(fd, "")
        if entry is not None and entry.opaque:
            if path in self.busy or path in self.stay:
                return
            self.step("not opaque")
            for prefix in PREFIXES:
                with suppress(OSError):
                    os.removexattr(proc_path(fd, ""), f"{prefix}opaque")
        for name in sorted(os.listdir(fd), key=os.fsencode):
            inner = f"{path}/{name}" if path else name
            entry = look_in_layer(fd, name)
            if entry is None or (inner in self.stay and not entry.is_dir):
                continue
            if entry.whiteout or not entry.is_dir:
                self.step("prune")
                os.unlink(name, dir_fd=fd)
                continue
            self._inner(fd, name, inner)

    def _inner(self, fd: int, name: str, path: str) -> None:
        down = open_beneath(fd, name, _DIRECTORY)
        try:
            with self.origins.writable(down, path, self.step):
                self.directory(down, path)
        finally:
            os.close(down)
        if path not in self.stay:
            with suppress(OSError):  # ENOTEMPTY: something in it waits
                self.step("prune")
                os.rmdir(name, dir_fd=fd)


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["", *("/".join(parts[: i + 1]) for i in range(len(parts)))]
