"""Where a change is made: in the upper layer, or for real in the plain tree.

==========  =====================================================================================
``cow``     in the upper layer; what lies below is copied up first.
``mincow``  in the plain tree, if the kernel permits it to the owner; else as ``cow``.
``merge``   in the plain tree; what lies in another layer is read-only (EROFS).
exceptions  in the plain tree, whatever the mode; other layers do not count there.
==========  =====================================================================================
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Final, TypeVar

from .copyup import CopyUp
from .layer import Layer
from .location import Fd, Location
from .node import Node
from .union import COW, MERGE, MINCOW, Union

T = TypeVar("T")

DENIED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What mincow takes for "not permitted"."""


class Changes:
    """The rules, for one union. ``copyup``: None in ``merge``, where nothing is copied."""

    def __init__(self, union: Union, copyup: CopyUp | None) -> None:
        self.union, self._copyup = union, copyup
        self._mode = union.layers.mode

    @property
    def copyup(self) -> CopyUp:
        if self._copyup is None:
            raise OSError(errno.EROFS, "it lies in a layer that is read-only")
        return self._copyup

    def get(self, parent: Node, name: bytes) -> Node | None:
        """The node that a name is."""
        return (self._copyup or self.union).get(parent, name)

    def must_get(self, parent: Node, name: bytes) -> Node:
        """ENOENT: there is none."""
        node = self.get(parent, name)
        if node is None:
            raise OSError(errno.ENOENT, "no such name")
        return node

    def really(self, node: Node) -> bool:
        """Are changes of it made in the plain tree, and nowhere else?"""
        return node.real or self._mode == MERGE

    def tries(self, node: Node) -> bool:
        """Is a change of it to be tried in the plain tree first?"""
        return self._mode == MINCOW and node.layer is self.union.layers.plain

    def change(self, node: Node, act: Callable[[Location], T], limit: int | None = None) -> T:
        """Do something to what a node is stored as, where that is allowed.

        Args:
            limit: of the data no more is needed afterwards.
        """
        if self.really(node):
            self.must_be_plain(node)
        elif self.tries(node):
            try:
                return act(self.union.location(node))
            except OSError as error:
                if error.errno not in DENIED:
                    raise
            self.copyup.up(node, limit)
        else:
            self.copyup.up(node, limit)
        return act(self.union.location(node))

    def must_be_plain(self, node: Node) -> None:
        """EROFS: a node has a part in another layer than the plain tree."""
        if node.layer is not self.union.layers.plain:
            raise OSError(errno.EROFS, "it lies in a layer that is read-only")

    def plain_directory(self, parent: Node, name: bytes) -> Fd | None:
        """The directory of the plain tree, if what it has under a name is what is seen."""
        layers = self.union.layers
        if parent.parts[-1].layer is not layers.plain or parent.held:
            return None
        if not self.union.real(parent, name):
            for layer, _ in parent.parts:
                if layer.changes and self.is_there(parent, name, layer):
                    return None
        return self.union.directory(parent, layers.plain)

    def is_there(self, parent: Node, name: bytes, layer: Layer) -> bool:
        """Has a layer an entry of that name, be it a whiteout?"""
        try:
            Location(self.union.directory(parent, layer), name).stat()
        except FileNotFoundError:
            return False
        return True

    def goes_really(self, parent: Node, name: bytes) -> bool:
        """Is a new name made in the plain tree, and nowhere else?"""
        return self._mode == MERGE or self.union.real(parent, name)

    def touch(self, node: Node) -> None:
        """A directory was changed in the plain tree; its times may be those of another part."""
        if node.in_upper:
            there = self.union.location(node)
            there.utime((there.stat().st_atime_ns, time.time_ns()))

    def new(
        self, parent: Node, name: bytes, build: Callable[[Fd, bytes, bool], T], *, is_dir: bool
    ) -> T:
        """Make something under a name that nothing has.

        Args:
            build: makes it in a directory under a name; true if in the upper layer. It leaves
                nothing behind if it fails.
        """
        plain = None
        if self._mode != COW or self.union.real(parent, name):
            plain = self.plain_directory(parent, name)
        if plain is not None:
            try:
                made = build(plain, name, False)
            except OSError as error:
                if error.errno not in DENIED or self.goes_really(parent, name):
                    raise
            else:
                self.touch(parent)
                return made
        elif self.goes_really(parent, name):
            raise OSError(errno.EROFS, "the directory lies in a layer that is read-only")
        copyup = self.copyup
        directory = copyup.directory(parent)
        if not self.is_there(parent, name, parent.layer):
            return build(directory, name, True)
        with copyup.work.making() as temp:  # in place of a whiteout
            made = build(copyup.work.fd, temp, True)
            if is_dir:
                if self.union.below(parent, name):
                    parent.layer.set_mark(copyup.work.at(temp), b"y")
                copyup.work.exchange(temp, directory, name)
            else:
                copyup.work.put(temp, directory, name)
        return made
