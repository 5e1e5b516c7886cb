"""The layers seen as one tree: which file a name is, and what is known of it.

Lookups ask each layer anew, for the plain trees may be changed outside; what is in the upper layer
is ours alone, so what was learned of it stays good. Descriptors of directories are kept for the
next use, some hundreds of them; all else is opened by name when it is needed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from viewosd.filetree import ROOT, Attr

from .layer import NO_XATTR, Hidden, Layer
from .location import DIRECTORY, Fd, Location
from .memory import Memory
from .node import Excepts, Id, Node, Part
from .rights import Rights
from .virtual import NOTHING, STAT, Virtual, parse

KEPT_FDS: Final = 256
"""Descriptors of directories that are kept open."""

COW, MINCOW, MERGE = "cow", "mincow", "merge"


class Found(NamedTuple):
    """What a name is in the layers."""

    parts: list[Part]
    st: os.stat_result
    virtual: Virtual


@dataclass(frozen=True)
class Layers:
    """All of them, from the top, and what is written where."""

    mode: str
    all: Sequence[Layer]
    upper: Layer | None

    @property
    def plain(self) -> Layer:
        """The lowest: a tree as it is, that ``merge`` and ``mincow`` write to."""
        return self.all[-1]


class Union:
    """The tree as it is; nothing here changes anything in a layer."""

    def __init__(self, layers: Layers, rights: Rights, hidden: Hidden, excepts: Excepts) -> None:
        self.layers, self.rights, self.hidden = layers, rights, hidden
        self.memory = Memory()
        self.nodes: dict[int, Node] = {}
        self._files: dict[Id, Node] = {}
        self._directories: OrderedDict[tuple[int, Layer], Fd] = OrderedDict()
        self._last = ROOT
        self.changed_outside: Callable[[int, bytes], None] = lambda parent, name: None
        parts = [Part(layer, _id(os.fstat(layer.root.fd))) for layer in layers.all]
        st = os.fstat(layers.all[0].root.fd)
        self.memory.ino(parts[-1].id)  # numbers of the plain tree's device stay as they are
        virtual = self._virtual(layers.all[0], Location(layers.all[0].root), st)
        self.root = Node(ROOT, stat.S_IFDIR, self.memory.ino(parts[-1].id), parts, virtual)
        self.root.lookups, self.root.excepts = 1, excepts
        self.root.mark = layers.all[0].mark(Location(layers.all[0].root))
        self.nodes[ROOT] = self.root

    # Where things are

    def directory(self, node: Node, layer: Layer) -> Fd:
        """A descriptor of a directory as a layer has it. ENOENT: it is removed."""
        missing: list[Node] = []
        at = node
        while (fd := self._directories.get((at.id, layer))) is None:
            if at is self.root:
                fd = layer.root
                break
            if not at.names:
                if at.held is None or at.layer is not layer:
                    raise OSError(errno.ENOENT, "the directory is removed")
                fd = at.held
                break
            missing.append(at)
            at = at.names[0][0]
        for at in reversed(missing):
            fd = Fd(os.open(at.names[0][1], DIRECTORY, dir_fd=fd.fd))
            self._directories[at.id, layer] = fd
        if missing:
            while len(self._directories) > KEPT_FDS:
                self._directories.popitem(last=False)
        elif (node.id, layer) in self._directories:
            self._directories.move_to_end((node.id, layer))
        return fd

    def location(self, node: Node) -> Location:
        """Where a node is stored."""
        if node.held is not None:
            return Location(node.held)
        if node.is_dir:
            return Location(self.directory(node, node.layer))
        if not node.names:
            raise OSError(errno.ESTALE, "its name was taken away outside")
        parent, name = node.names[0]
        return Location(self.directory(parent, node.layer), name)

    def real(self, parent: Node, name: bytes) -> bool:
        """Is a name excepted, so that it is the plain tree's and changed there?"""
        return parent.real or parent.excepts.get(name) == {}

    # What things are

    def find(self, parent: Node, name: bytes) -> Found | None:
        """Look a name up in the layers. What is known of the upper layer is not asked again."""
        found: Found | None = None
        real, mark = self.real(parent, name), b""
        known = parent.children.get(name)
        for part in parent.parts:
            layer = part.layer
            if real and layer.changes:
                continue
            there = Location(self.directory(parent, layer), name)
            try:
                st = there.stat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if self.is_whiteout(parent, layer, there, st):
                break
            is_dir = stat.S_ISDIR(st.st_mode)
            if found is None:
                same = known is not None and known.parts[0] == (layer, _id(st)) and layer.upper
                virtual = known.virtual if same and known else self._virtual(layer, there, st)
                found = Found([Part(layer, _id(st))], st, virtual)
                if not is_dir:
                    break
                mark = known.mark if same and known else layer.mark(there)
            elif is_dir:
                found.parts.append(Part(layer, _id(st)))
                mark = layer.mark(there)
            else:
                break
            if mark == b"y":
                break
        return found

    def is_whiteout(self, parent: Node, layer: Layer, there: Location, st: os.stat_result) -> bool:
        """Does an entry of a directory say that its name is gone?"""
        return layer.is_whiteout(there, st, lambda: self.mark(parent, layer))

    def mark(self, node: Node, layer: Layer) -> bytes:
        """The mark of a directory in a layer."""
        return node.mark if layer.upper else layer.mark(Location(self.directory(node, layer)))

    def below(self, parent: Node, name: bytes) -> bool:
        """Would a name be there without what the upper layer says of it?"""
        for layer, _ in parent.parts:
            if layer.upper:
                if parent.mark == b"y":
                    return False
                continue
            there = Location(self.directory(parent, layer), name)
            with suppress(FileNotFoundError, NotADirectoryError):
                return not self.is_whiteout(parent, layer, there, there.stat())
        return False

    def _virtual(self, layer: Layer, there: Location, st: os.stat_result) -> Virtual:
        """What is virtual of a file; asked only where something can be."""
        rights, kind = self.rights, stat.S_IFMT(st.st_mode)
        if not (layer.changes or (rights.vstat and self.layers.mode == MERGE)):
            return NOTHING
        if kind != stat.S_IFDIR and not (rights.vstat and kind == stat.S_IFREG):
            return NOTHING
        if rights.root and not rights.vstat:
            return NOTHING
        try:
            return parse(there.getxattr(STAT))
        except OSError as error:
            if error.errno in NO_XATTR:
                return NOTHING
            raise
        except ValueError:
            return NOTHING

    # Nodes

    def get(self, parent: Node, name: bytes) -> Node | None:
        """The node that a name is."""
        found = self.find(parent, name)
        known = parent.children.get(name)
        if found is None:
            if known is not None:
                self.unname(known, parent, name)
            return None
        return self.adopt(parent, name, found)

    def adopt(self, parent: Node, name: bytes, found: Found) -> Node:
        """The node of what was found under a name; a new one, if it is not known."""
        top, kind = found.parts[0], found.virtual.type or stat.S_IFMT(found.st.st_mode)
        known = parent.children.get(name)
        if known is not None and (known.type != kind or known.parts[0] != top):
            if not known.is_dir and top.id in self._files and self._files[top.id] is known:
                return known  # a name below of a file that was copied up
            self.unname(known, parent, name)
            known = None
        if known is not None:
            if known.parts != found.parts:
                self.restack(known, found.parts)
            return known
        node = None if kind == stat.S_IFDIR else self._files.get(top.id)
        if node is None or node.type != kind:
            node = self._new(parent, name, kind, found)
        elif found.st.st_nlink == 1 and not node.held:
            for old in list(node.names):  # it was moved outside, or is another's number
                self.unname(node, *old, keep=True)
        self.name(node, parent, name, stored=top.layer is node.layer)
        return node

    def _new(self, parent: Node, name: bytes, kind: int, found: Found) -> Node:
        self._last += 1
        ino = self.memory.ino(found.parts[0].id)
        if kind == stat.S_IFDIR and len(found.parts) > 1:
            ino = self.memory.ino(found.parts[-1].id)
        node = Node(self._last, kind, ino, found.parts, found.virtual)
        node.real = self.real(parent, name)
        node.excepts = {} if node.real else parent.excepts.get(name, {})
        if node.is_dir:
            if node.in_upper:
                node.mark = node.layer.mark(Location(self.directory(parent, node.layer), name))
        else:
            self._files[found.parts[0].id] = node
        self.nodes[node.id] = node
        return node

    def nameless(self, held: Fd, virtual: Virtual) -> Node:
        """The node of a file in the upper layer that has no name yet."""
        assert self.layers.upper is not None
        self._last += 1
        id = _id(os.fstat(held.fd))
        parts = [Part(self.layers.upper, id)]
        node = Node(self._last, stat.S_IFREG, self.memory.ino(id), parts, virtual)
        node.held = held
        self.nodes[node.id] = self._files[id] = node
        return node

    def name(self, node: Node, parent: Node, name: bytes, *, stored: bool = True) -> None:
        """A node has a name (more); the newest is used.

        Args:
            stored: its layer has it by that name; else only what it was copied from is there.
        """
        if (parent, name) not in node.names:
            node.names.insert(0 if stored else len(node.names), (parent, name))
            parent.children[name] = node
            if stored:
                node.held = None

    def unname(self, node: Node, parent: Node, name: bytes, *, keep: bool = False) -> None:
        """A node has lost a name. ``keep``: it is to be used on, even if nobody does."""
        if (parent, name) in node.names:
            node.names.remove((parent, name))
        if parent.children.get(name) is node:
            del parent.children[name]
        if not keep:
            self.drop(node)
        self.drop(parent)

    def restack(self, node: Node, parts: list[Part]) -> None:
        """A node is stored otherwise from now on; a file is found by its old storage as well."""
        for layer, _ in node.parts:
            self._directories.pop((node.id, layer), None)
        if not node.is_dir:
            node.origin = node.parts[0].id
        node.parts = parts
        if not node.is_dir:
            self._files[parts[0].id] = node

    def retype(self, node: Node) -> None:
        """A node's type has changed: by its names it is another node from now on."""
        node.held = self.location(node).hold()
        for parent, name in list(node.names):
            self.unname(node, parent, name, keep=True)
            self.changed_outside(parent.id, name)
        self.drop(node)

    def forget_storage(self, id: Id) -> None:
        """What a file was stored as is removed; the number may be another's soon."""
        self._files.pop(id, None)
        self.memory.forget(id)

    @contextmanager
    def using(self) -> Iterator[Callable[[Node], None]]:
        """Nodes that are passed to what this gives are not dropped before the end."""
        used: list[Node] = []

        def use(node: Node) -> None:
            node.lookups += 1
            used.append(node)

        try:
            yield use
        finally:
            for node in reversed(used):
                node.lookups -= 1
                self.drop(node)

    def drop(self, node: Node) -> None:
        """Forget a node that nobody uses, and directories above that were kept for it alone."""
        while not node.in_use and node.id in self.nodes:
            del self.nodes[node.id]
            for layer, _ in node.parts:
                self._directories.pop((node.id, layer), None)
            for id in (node.parts[0].id, node.origin):
                if id is not None and self._files.get(id) is node:
                    del self._files[id]
            links = self.memory.links(node.parts[0].id)
            if links is not None and links.copy is None and links.below <= 0:
                self.memory.forget(node.parts[0].id)
            node.held = None
            names, node.names = node.names, []
            for parent, name in names:
                if parent.children.get(name) is node:
                    del parent.children[name]
            for parent, _ in names[1:]:
                self.drop(parent)
            if names:
                node = names[0][0]

    def attr(self, node: Node, st: os.stat_result | None = None) -> Attr:
        """What programs are shown of a node."""
        if st is None:
            st = self.stat(node)
        mode, uid, gid, rdev = self.rights.shown(st, node.virtual, upper=node.in_upper)
        return Attr(
            node.ino, mode, self._nlink(node, st), uid, gid, rdev,
            st.st_size, st.st_blocks, st.st_blksize, st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns,
        )  # fmt: skip

    def stat(self, node: Node) -> os.stat_result:
        """Of what a node is stored as."""
        if node.open is not None and (fd := max(node.open.read, node.open.write)) >= 0:
            return os.fstat(fd)
        return self.location(node).stat()

    def _nlink(self, node: Node, st: os.stat_result) -> int:
        if node.is_dir:
            return 0 if node.held else 1 if len(node.parts) > 1 else st.st_nlink
        links = self.memory.links(node.parts[0].id)
        if links is None:
            return st.st_nlink
        copies = st.st_nlink - (links.index is not None) if node.in_upper else 0
        return max(0, copies + links.below)


def _id(st: os.stat_result) -> Id:
    return st.st_dev, st.st_ino
