"""What is remembered of files for as long as the tree is served, whether or not they are in use.

One entry for each file that was copied up, and for each file of several names of which one was
changed: so that inode numbers and link counts stay, and two names of one file stay one file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .node import Id

_BITS: Final = 1 << 48
_DEVICES: Final = 1 << 14
_ODD: Final = 1 << 62


@dataclass
class Links:
    """A file of several names in a lower layer.

    Attributes:
        below: how many of its names there are still its names in the view.
        copy: what it was copied up to.
        index: the name in `work` by which the copy is found for the names below.
    """

    below: int
    copy: Id | None = None
    index: bytes | None = None


class Memory:
    """By what files are stored as."""

    def __init__(self) -> None:
        self._inos: dict[Id, int] = {}
        self._links: dict[Id, Links] = {}
        self._devices: dict[int, int] = {}
        self._odd: dict[Id, int] = {}

    def ino(self, id: Id) -> int:
        """The inode number that programs see.

        Numbers of a second device are told apart above bit 48, as the kernel's xino does:
        fs/overlayfs/inode.c:ovl_map_dev_ino().
        """
        if (ino := self._inos.get(id)) is not None:
            return ino
        device = self._devices.setdefault(id[0], len(self._devices))
        if id[1] < _BITS and device < _DEVICES:
            return id[1] | device << 48
        return self._odd.setdefault(id, _ODD + len(self._odd))

    def keep_ino(self, id: Id, ino: int) -> None:
        """A file is stored so now, and is to keep its number."""
        self._inos[id] = ino

    def links(self, id: Id) -> Links | None:
        """Of a file of several names, or of its copy."""
        return self._links.get(id)

    def count(self, id: Id, names: int) -> Links:
        """Begin to count the names of a file of a lower layer."""
        return self._links.setdefault(id, Links(names))

    def copied(self, id: Id, links: Links) -> None:
        """A file of several names was copied up, and is stored so now."""
        links.copy = id
        self._links[id] = links

    def forget(self, id: Id) -> None:
        """A file is removed; its number may be another's soon."""
        self._inos.pop(id, None)
        self._links.pop(id, None)
