"""Which names are hidden in a view, and what was made in their place. Pure.

A hidden file is one or more *places*: a bind mount of its directory shows it once more. A place is
known by its parent, device and inode, and its name there, so it is found whatever path led to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Identity = tuple[int, int]
"""A directory: device and inode, as stat(2) tells them."""


@dataclass(frozen=True)
class Place:
    """One path of the view at which a hidden file would be seen."""

    path: bytes
    parent: Identity
    name: bytes


@dataclass
class Hidden:
    """One file that is hidden.

    Attributes:
        places: the first is the mountpoint that was asked for.
        is_directory: what can be made in its place: a directory over a directory, else no
            directory; the kernel mounts nothing else there.
        made: something was made in its place, so the name is there again.
        also: other identities that the parents have now, each with the name in it: an overlay that
            was mounted over them shows directories of its own.
        doing: cookie of the call that made or removed it last, or has begun to.
    """

    places: list[Place]
    is_directory: bool
    made: bool = False
    also: list[tuple[Identity, bytes]] = field(default_factory=list)
    doing: int = 0

    @property
    def entries(self) -> list[tuple[Identity, bytes]]:
        """Every directory that has it, and its name there."""
        return [*((p.parent, p.name) for p in self.places), *self.also]

    @property
    def target(self) -> bytes:
        """The mountpoint."""
        return self.places[0].path

    def describe(self) -> list[Any]:
        """What `restored` needs."""
        places = [[p.path, list(p.parent), p.name] for p in self.places]
        also = [[list(d), n] for d, n in self.also]
        return [places, self.is_directory, self.made, also, self.doing]


def restored(state: list[Any]) -> Hidden:
    """What `Hidden.describe` told."""
    places, is_directory, made, also, doing = state
    known = [Place(path, (d[0], d[1]), name) for path, d, name in places]
    others = [((d[0], d[1]), name) for d, name in also]
    return Hidden(known, is_directory, made, others, doing)


@dataclass
class Names:
    """The hidden names of a view.

    Attributes:
        all: in the order in which they were hidden.
        inodes: of every directory with a hidden name; a listing looks here first, and most end.
        listed: what is missing from a directory's listing.
        names: last names, with how many places have them.
    """

    all: list[Hidden] = field(default_factory=list)
    inodes: set[int] = field(default_factory=set)
    listed: dict[Identity, frozenset[bytes]] = field(default_factory=dict)
    names: frozenset[bytes] = frozenset()

    def add(self, hidden: Hidden) -> None:
        """One more."""
        self.all.append(hidden)
        self.refresh()

    def remove(self, hidden: Hidden) -> None:
        """It is seen again."""
        self.all = [other for other in self.all if other is not hidden]
        self.refresh()

    def refresh(self) -> None:
        """Make the tables anew, after `Hidden.made` changed."""
        found: dict[Identity, set[bytes]] = {}
        for hidden in self.all:
            if not hidden.made:
                for parent, name in hidden.entries:
                    found.setdefault(parent, set()).add(name)
        self.listed = {parent: frozenset(names) for parent, names in found.items()}
        self.inodes = {ino for _, ino in self.listed}
        self.names = frozenset(p.name for hidden in self.all for p in hidden.places)

    def at(self, parent: Identity, name: bytes) -> Hidden | None:
        """The hidden file that has a name in a directory; the one that was hidden last."""
        for hidden in reversed(self.all):
            if (parent, name) in hidden.entries:
                return hidden
        return None

    def under(self, target: bytes) -> Hidden | None:
        """The one that was hidden last at a mountpoint."""
        return next((h for h in reversed(self.all) if h.target == target), None)
