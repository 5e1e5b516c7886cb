"""A read-only file system of names and contents: for what a program makes up.

    GeneratedTree({"version": b"1.2\\n", "now": lambda: time.ctime().encode(), "sub": {…}})

Contents are bytes, a function without arguments that returns bytes (``def`` or ``async def``; it is
called at each open), or a mapping of names to contents: a directory. A mapping may change, or be a
class of one's own that makes up names as they are asked for.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, TypeAlias, cast

from .abi.stat import S_IFDIR, S_IFREG
from .filetree import ROOT, Attr, Context, Dirent, Entry, FileTree, Opened

Content: TypeAlias = bytes | Callable[[], bytes | Awaitable[bytes]] | Mapping[str, "Content"]
Path = tuple[str, ...]


class GeneratedTree(FileTree):
    """Serves a content; most often a mapping, but a single file can be mounted as well.

    Files belong to who serves them and can be read by everybody. What a function returns has no
    size before it is opened: stat(2) says 0, as it does in /proc. A killed server's successor makes
    the contents anew; where they are more than the arguments say, set ``resumable = False``.
    """

    resumable = True

    def __init__(self, root: Content) -> None:
        self.root = root
        self._paths: dict[int, Path] = {ROOT: ()}
        self._known: dict[int, int] = {}
        self._since_ns = time.time_ns()

    def lookup(self, parent: int, name: bytes, context: Context) -> Entry:
        path = (*self._path(parent), os.fsdecode(name))
        attr = self._attr(path, self._find(path))
        self._paths[attr.ino] = path
        self._count(attr.ino, self._known.get(attr.ino, 0) + 1)
        return Entry(attr.ino, attr)

    def forget(self, node: int, nlookup: int) -> None:
        left = self._known.get(node, 0) - nlookup
        if node == ROOT or left > 0:
            self._count(node, left)
            return
        self._known.pop(node, None)
        self._paths.pop(node, None)
        if self.resumable:
            self.kept.pop(node, None)

    def _count(self, node: int, known: int) -> None:
        self._known[node] = known
        if self.resumable:
            self.kept[node] = [[os.fsencode(name) for name in self._paths[node]], known]

    def resume(self) -> None:
        for node, (path, known) in self.kept.items():
            self._paths[node], self._known[node] = tuple(map(os.fsdecode, path)), known

    def getattr(self, node: int, handle: Any, context: Context) -> Attr:
        path = self._path(node)
        return self._attr(path, self._find(path))

    async def open(self, node: int, flags: int, context: Context) -> Opened:
        content = self._find(self._path(node))
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, "generated")
        if isinstance(content, bytes):
            return Opened(content)
        made = cast(Callable[[], bytes | Awaitable[bytes]], content)()
        data = made if isinstance(made, bytes) else await made
        return Opened(data, direct_io=True)

    def read(self, node: int, handle: Any, offset: int, size: int, context: Context) -> bytes:
        return cast(bytes, handle)[offset : offset + size]

    def opendir(self, node: int, flags: int, context: Context) -> Opened:
        path = self._path(node)
        content = self._find(path)
        if not isinstance(content, Mapping):
            raise OSError(errno.ENOTDIR, "no directory")
        above = path[:-1]
        listed = [(b".", _number(path), S_IFDIR), (b"..", _number(above), S_IFDIR)]
        for name, inner in content.items():
            listed.append((os.fsencode(name), _number((*path, name)), _type(inner)))
        # As it is now: positions in it stay good whatever changes meanwhile.
        return Opened(listed)

    def readdir(self, node: int, handle: Any, offset: int, context: Context) -> Iterator[Dirent]:
        for at in range(offset, len(handle)):
            name, number, kind = handle[at]
            yield Dirent(name, number, kind, at + 1)

    def _path(self, node: int) -> Path:
        try:
            return self._paths[node]
        except KeyError:
            raise OSError(errno.ESTALE, "not known any more") from None

    def _find(self, path: Path) -> Content:
        content = self.root
        for name in path:
            if not isinstance(content, Mapping):
                raise OSError(errno.ENOTDIR, "no directory")
            try:
                content = content[name]
            except KeyError:
                raise OSError(errno.ENOENT, "no such name") from None
        return content

    def _attr(self, path: Path, content: Content) -> Attr:
        mode = _type(content) | (0o555 if isinstance(content, Mapping) else 0o444)
        size = len(content) if isinstance(content, bytes) else 0
        attr = Attr(_number(path), mode, 1, os.geteuid(), os.getegid(), size=size)
        attr.atime_ns = attr.mtime_ns = attr.ctime_ns = self._since_ns
        return attr


def _type(content: Content) -> int:
    return S_IFDIR if isinstance(content, Mapping) else S_IFREG


def _number(path: Path) -> int:
    """The same for the same path, so that nothing need be remembered of what is listed."""
    digest = blake2b(os.fsencode("/".join(path)), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1 | 2 if path else ROOT
