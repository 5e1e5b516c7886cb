"""What the tree knows of a file while the kernel, a handle or a node below it uses it."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from .layer import Layer
from .location import Fd
from .virtual import Virtual

Id = tuple[int, int]
"""st_dev and st_ino: which file something is stored as."""

Excepts = dict[bytes, "Excepts"]
"""Exceptions, name by name; one without a name below it is an exception itself."""


class Part(NamedTuple):
    """What a layer has of a node: a directory may have several parts, a file has one."""

    layer: Layer
    id: Id


class Open:
    """The descriptors of a file that is open, shared by all its handles; -1: none.

    They follow the file when it is copied up: what is read through an old handle is new.
    """

    __slots__ = ("count", "read", "write")

    def __init__(self) -> None:
        self.read = self.write = -1
        self.count = 0

    def replace(self, read: int, write: int) -> None:
        """Use other descriptors from now on; the old ones are closed."""
        for fd in {self.read, self.write} - {read, write, -1}:
            os.close(fd)
        self.read, self.write = read, write


class Node:
    """A file.

    Attributes:
        id: the kernel's number for it; never used again.
        type: S_IFMT bits, as programs see it.
        ino: as programs see it; stays when it is copied up.
        parts: from the top; the first one has its attributes, and its data.
        virtual: what is virtual of the first part.
        names: where it is found, of those that are known; a directory has one.
        children: of a directory: the nodes that are known, by name.
        mark: of a directory's upper part: as `Layer.mark`.
        real: it is excepted: all changes are made in the plain tree.
        excepts: the exceptions below a directory.
        held: its storage, when its last name has gone.
        origin: what a file was stored as before it was copied up.
        open: while there are handles.
        seen: size, times and storage when it was opened last.
        lookups: as `FileTree.forget` counts them.
    """

    __slots__ = (
        "children", "excepts", "held", "id", "ino", "lookups", "mark", "names", "open", "origin",
        "parts", "real", "seen", "type", "virtual",
    )  # fmt: skip

    def __init__(self, id: int, type: int, ino: int, parts: list[Part], virtual: Virtual) -> None:
        self.id, self.type, self.ino, self.parts, self.virtual = id, type, ino, parts, virtual
        self.names: list[tuple[Node, bytes]] = []
        self.children: dict[bytes, Node] = {}
        self.excepts: Excepts = {}
        self.held: Fd | None = None
        self.origin: Id | None = None
        self.open: Open | None = None
        self.seen: tuple[int, int, int, Id] | None = None
        self.mark, self.real, self.lookups = b"", False, 0

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.type)

    @property
    def layer(self) -> Layer:
        """Where it is stored."""
        return self.parts[0].layer

    @property
    def in_upper(self) -> bool:
        return self.parts[0].layer.upper

    @property
    def in_use(self) -> bool:
        return bool(self.lookups or self.children or self.open)


def excepted(paths: list[bytes]) -> Excepts:
    """Exceptions, name by name."""
    root: Excepts = {}
    for path in paths:
        at = root
        for name in filter(None, path.split(b"/")):
            at = at.setdefault(name, {})
    return root
