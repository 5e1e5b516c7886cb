"""What lies below a layer: the target alone, or other layers over it, as the view saw them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .entry import Entry, look, look_in_layer
from .unsafe import open_beneath

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


@dataclass(frozen=True, slots=True)
class Found:
    """An entry, and where it stands: its directory's descriptor."""

    directory: int
    name: str
    entry: Entry


class Below:
    """One directory as it appears below a layer: directories laid over each other.

    Each of ``parts`` is a descriptor, and whether it belongs to a layer; the uppermost first.
    """

    def __init__(self, parts: Sequence[tuple[int, bool]]) -> None:
        self.parts = list(parts)

    def close(self) -> None:
        """Close the descriptors."""
        while self.parts:
            os.close(self.parts.pop()[0])

    def find(self, name: str) -> Found | None:
        """What the name shows; None: nothing."""
        for directory, in_layer in self.parts:
            entry = look_in_layer(directory, name) if in_layer else look(directory, name)
            if entry is not None:
                return None if entry.whiteout else Found(directory, name, entry)
        return None

    def names(self) -> set[str]:
        """Every name that shows something."""
        listed = {name for directory, _ in self.parts for name in os.listdir(directory)}
        if len(self.parts) == 1 and not self.parts[0][1]:
            return listed
        return {name for name in listed if self.find(name) is not None}

    def enter(self, name: str) -> Below:
        """The directory of that name.

        Raises:
            OSError: EXDEV, it is a mount point: what the view saw of it lies hidden here.
        """
        found = Below([])
        try:
            for directory, in_layer in self.parts:
                entry = look_in_layer(directory, name) if in_layer else look(directory, name)
                if entry is None:
                    continue
                if entry.whiteout or not entry.is_dir:
                    break
                found.parts.append((open_beneath(directory, name, _DIRECTORY), in_layer))
                if entry.opaque:
                    break
        except BaseException:
            found.close()
            raise
        return found


def open_below(layers: Sequence[int], target: int) -> Below:
    """The root: layers' ``upper`` directories, the uppermost first, over the target."""
    return Below([(os.dup(fd), True) for fd in layers] + [(os.dup(target), False)])
