"""The walk over a layer that finds its changes.

Parents come before what is in them, names in the order of their bytes. Nothing is followed: each
directory is opened from its parent's descriptor, and one that is a mount point outside is refused,
for what the view saw there lies hidden below the mount.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

from .below import Below, Found, open_below
from .changes import Change, Kind, metadata
from .entry import Entry, look_in_layer, same_content, xattrs
from .unsafe import open_beneath

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_Items = Iterator["Change | _Items"]
"""What is found in a directory, and a walk for each directory in it."""


class Walk:
    """One pass; `changes` yields what it finds. Close it, or use it as a context."""

    def __init__(self, upper: int, target: int, layers: Sequence[int] = ()) -> None:
        """
        Args:
            upper: the layer's directory of changes.
            target: what it lies over.
            layers: further layers' ``upper`` between the two, the uppermost first.
        """
        self._upper = open_beneath(upper, "", _DIRECTORY)
        self._below = open_below(layers, target)
        self._links: dict[tuple[int, int], tuple[str, tuple[int, int] | None]] = {}
        """Files of several names: their first path, and the target's file at it."""
        self.opaque: set[str] = set()
        """Opaque directories that were passed."""

    def changes(self) -> Iterator[Change]:
        """Everything that differs."""
        root = look_in_layer(self._upper, "")
        below = self._below.find("")
        assert root is not None
        assert below is not None
        if change := self._compare("", self._upper, "", root, below, ""):
            yield change
        stack = [self._directory("", self._upper, self._below, root.opaque, "")]
        while stack:
            try:
                item = next(stack[-1])
            except StopIteration:
                stack.pop()
            else:
                if isinstance(item, Change):
                    yield item
                else:
                    stack.append(item)

    def _directory(
        self, path: str, upper: int | None, below: Below | None, opaque: bool, birth: str
    ) -> _Items:
        """The changes in one directory.

        Args:
            upper: None: everything here is deleted.
            below: None: nothing here is the target's.
            opaque: what the layer does not name is deleted.
            birth: where the layer hides all that lies below, the path in it that says since when.
        """
        try:
            names = set() if upper is None else set(os.listdir(upper))
            if below is not None and opaque:
                names |= below.names()
            if opaque and upper is not None:
                self.opaque.add(path)
            for name in sorted(names, key=os.fsencode):
                yield from self._name(path, name, upper, below, opaque, birth)
        finally:
            if upper is not None:
                os.close(upper)
            if below is not None:
                below.close()

    def _name(
        self,
        parent: str,
        name: str,
        upper: int | None,
        below: Below | None,
        opaque: bool,
        birth: str,
    ) -> _Items:
        path = f"{parent}/{name}" if parent else name
        since = birth if opaque else path
        new = look_in_layer(upper, name) if upper is not None else None
        old = below.find(name) if below is not None else None
        if new is None or new.whiteout:
            if old is not None:
                assert below is not None
                yield Change(path, Kind.DELETED, None, old.entry, birth=since)
                if old.entry.is_dir:
                    yield self._directory(path, None, below.enter(name), True, since)
            return
        assert upper is not None
        if (change := self._compare(path, upper, name, new, old, since)) is not None:
            yield change
        inside = None
        if old is not None and old.entry.is_dir:
            assert below is not None
            inside = below.enter(name)
            if not new.is_dir:
                yield self._directory(path, None, inside, True, since)
                return
        if new.is_dir:
            down = open_beneath(upper, name, _DIRECTORY)
            yield self._directory(path, down, inside, opaque or new.opaque, since)

    def _compare(
        self, path: str, upper: int, name: str, new: Entry, old: Found | None, birth: str
    ) -> Change | None:
        link, linked = self._link(path, new, old)
        if old is None:
            return Change(path, Kind.ADDED, new, None, link=link, birth=birth)
        was = old.entry
        if new.type != was.type:
            return Change(path, Kind.TYPE, new, was, link=link, birth=birth)
        details = metadata(new, was, xattrs(upper, name), xattrs(old.directory, old.name))
        here, there = (upper, name, new), (old.directory, old.name, was)
        if not new.is_dir and not (linked and same_content(here, there)):
            return Change(path, Kind.MODIFIED, new, was, details, link, birth=birth)
        if details:
            return Change(path, Kind.METADATA, new, was, details, link, birth=birth)
        return None

    def _link(self, path: str, new: Entry, old: Found | None) -> tuple[str | None, bool]:
        """The first path of the same file, and whether the target links the two already."""
        if new.is_dir or new.st.st_nlink < 2:
            return None, True
        inode = old.entry.inode if old is not None else None
        if new.inode not in self._links:
            self._links[new.inode] = path, inode
            return None, True
        first, there = self._links[new.inode]
        return first, there == inode
