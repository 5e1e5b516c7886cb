"""The walk over a layer that finds its changes.

Parents come before what is in them, names in the order of their bytes. Nothing is followed: each
directory is opened from its parent's descriptor, and one that is a mount point outside is refused,
for what the view saw there lies hidden below the mount.

A directory of the target that we may not read counts as empty: an ordinary user's view did not see
what is in it either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from .changes import Change, Kind, metadata
from .entry import Entry, look, look_in_layer, same_content, xattrs
from .unsafe import open_beneath

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_At = tuple[int, str, Entry]
"""An entry with its directory and its name."""
_Items = Iterator["Change | _Items"]
"""What is found in a directory, and a walk for each directory in it."""


class Walk:
    """One pass; `changes` yields what it finds, once.

    Attributes:
        closed: directories of the target that were met and could not be read.
    """

    def __init__(self, upper: int, target: int) -> None:
        """
        Args:
            upper: the layer's directory of changes.
            target: what they are compared with.
        """
        self._upper = open_beneath(upper, "", _DIRECTORY)
        self._target = open_beneath(target, "", _DIRECTORY)
        self.closed: list[str] = []
        self._links: dict[tuple[int, int], tuple[str, tuple[int, int] | None]] = {}
        """Files of several names: their first path, and the target's file at it."""

    def changes(self) -> Iterator[Change]:
        """Everything that differs."""
        root = look_in_layer(self._upper, "")
        old = look(self._target, "")
        assert root is not None
        assert old is not None
        if change := self._compare("", (self._upper, "", root), (self._target, "", old), ""):
            yield change
        stack = [self._directory("", self._upper, self._target, root.opaque, "")]
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
        self, path: str, upper: int | None, target: int | None, opaque: bool, birth: str
    ) -> _Items:
        """The changes in one directory. Closes its descriptors.

        Args:
            upper: None: everything here is deleted.
            target: None: nothing here is the target's.
            opaque: what the layer does not name is deleted.
            birth: where the layer hides all that lies below, the path in it that says since when.
        """
        try:
            names = set() if upper is None else set(os.listdir(upper))
            if target is not None and opaque:
                names |= set(os.listdir(target))
            for name in sorted(names, key=os.fsencode):
                yield from self._name(path, name, upper, target, opaque, birth)
        finally:
            for fd in (upper, target):
                if fd is not None:
                    os.close(fd)

    def _name(
        self,
        parent: str,
        name: str,
        upper: int | None,
        target: int | None,
        opaque: bool,
        birth: str,
    ) -> _Items:
        path = f"{parent}/{name}" if parent else name
        since = birth if opaque else path
        new = look_in_layer(upper, name) if upper is not None else None
        old = look(target, name) if target is not None else None
        inside = None
        if target is not None and old is not None and old.is_dir:
            inside = self._enter_target(target, name, path)
        if upper is None or new is None or new.whiteout:
            if old is not None:
                yield Change(path, Kind.DELETED, None, old, birth=since)
            if inside is not None:
                yield self._directory(path, None, inside, True, since)
            return
        before = None if target is None or old is None else (target, name, old)
        if (change := self._compare(path, (upper, name, new), before, since)) is not None:
            yield change
        if new.is_dir:
            down = _enter(upper, name, path)
            yield self._directory(path, down, inside, opaque or new.opaque, since)
        elif inside is not None:
            yield self._directory(path, None, inside, True, since)

    def _enter_target(self, target: int, name: str, path: str) -> int | None:
        try:
            return _enter(target, name, path)
        except PermissionError:
            self.closed.append(path)
            return None

    def _compare(self, path: str, here: _At, there: _At | None, birth: str) -> Change | None:
        new, old = here[2], there[2] if there is not None else None
        link, linked = self._link(path, new, old)
        if there is None or old is None:
            return Change(path, Kind.ADDED, new, None, link=link, birth=birth)
        if new.type != old.type:
            return Change(path, Kind.TYPE, new, old, link=link, birth=birth)
        details = metadata(new, old, xattrs(*here[:2]), xattrs(*there[:2]))
        if not new.is_dir and not (linked and same_content(here, there)):
            return Change(path, Kind.MODIFIED, new, old, details, link, birth=birth)
        if details:
            return Change(path, Kind.METADATA, new, old, details, link, birth=birth)
        return None

    def _link(self, path: str, new: Entry, old: Entry | None) -> tuple[str | None, bool]:
        """The first path of the same file, and whether the target links the two already."""
        if new.is_dir or new.st.st_nlink < 2:
            return None, True
        inode = old.inode if old is not None else None
        if new.inode not in self._links:
            self._links[new.inode] = path, inode
            return None, True
        first, there = self._links[new.inode]
        return first, there == inode


def _enter(directory: int, name: str, path: str) -> int:
    """Open a directory in another. Raises OSError, with the whole path."""
    try:
        return open_beneath(directory, name, _DIRECTORY)
    except OSError as error:
        error.filename = path
        raise
