"""What a directory of the union holds: a snapshot, made when a listing begins.

A snapshot, because offsets must stay good while names come and go, and because a name that two
layers have is listed once. It is made anew when the listing is rewound.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from viewosd.filetree import Dirent

from .location import Location
from .node import Node
from .union import Union


class Listing:
    """A directory that is open."""

    def __init__(self, union: Union, node: Node) -> None:
        self._union, self._node = union, node
        self._entries: list[Dirent] | None = None

    def after(self, offset: int) -> Iterator[Dirent]:
        """The entries after an offset; 0: look again."""
        if self._entries is None or offset == 0:
            self._entries = self._look()
        found = self._entries
        return (found[at] for at in range(offset, len(found)))

    def _look(self) -> list[Dirent]:
        node = self._node
        above = node.names[0][0] if node.names else node
        found = [(b".", node.ino, stat.S_IFDIR), (b"..", above.ino, stat.S_IFDIR)]
        if not node.held:
            found += [(name, ino, kind) for name, (ino, kind) in entries(self._union, node).items()]
        return [Dirent(name, ino, kind, at) for at, (name, ino, kind) in enumerate(found, 1)]


def entries(union: Union, node: Node) -> dict[bytes, tuple[int, int]]:
    """Names with inode number and type bits (0: unknown) of a directory, without "." and ".."."""
    found: dict[bytes, tuple[int, int]] = {}
    closed: set[bytes] = set()  # names of which the layers below have nothing more to say
    for layer, (device, _) in node.parts:
        directory = union.directory(node, layer)
        special = layer.changes and union.mark(node, layer) == b"x"
        guess = layer.changes and union.rights.vstat
        now_closed = []
        with os.scandir(b"/proc/self/fd/%d" % directory.fd) as listed:
            for entry in listed:
                name: bytes = entry.name
                if name in closed or (layer.changes and union.real(node, name)):
                    continue
                kind = _type(entry)
                there = Location(directory, name)
                if kind == stat.S_IFDIR:
                    if layer.changes and layer.mark(there) == b"y":
                        now_closed.append(name)
                elif name in found:
                    continue  # a directory covers it
                else:
                    now_closed.append(name)
                    suspect = kind == stat.S_IFCHR or (special and kind == stat.S_IFREG)
                    if suspect and union.is_whiteout(node, layer, there, there.stat()):
                        continue
                    if guess and kind == stat.S_IFREG:
                        kind = 0  # its type may be virtual
                found[name] = union.memory.ino((device, entry.inode())), kind
        closed.update(now_closed)
    return found


def _type(entry: os.DirEntry[bytes]) -> int:
    """Type bits; 0 if it is gone meanwhile."""
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    try:
        return stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return 0


def whiteouts(union: Union, node: Node) -> list[bytes]:
    """Names of the entries of a directory's upper part that are whiteouts."""
    layer = node.layer
    directory = union.directory(node, layer)
    with os.scandir(b"/proc/self/fd/%d" % directory.fd) as listed:
        names = [e.name for e in listed if _type(e) in (stat.S_IFCHR, stat.S_IFREG)]
    found = []
    for name in names:
        there = Location(directory, name)
        if union.is_whiteout(node, layer, there, there.stat()):
            found.append(name)
    return found


def is_empty(union: Union, node: Node) -> bool:
    """Has a directory no entries?"""
    return not entries(union, node)
