"""A file system in memory, as complete as tmpfs: an example of a whole `FileTree`, and of use."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from typing import Any, Final

from .abi import fcntl, stat
from .filetree import (
    ROOT,
    Attr,
    Context,
    Dirent,
    Entry,
    FileTree,
    Opened,
    SetAttr,
    Statfs,
)
from .sparse import PAGE, Sparse

NAME_MAX: Final = 255


class Node:
    """One file of any type.

    Attributes:
        names: of a directory, to (node, the number in listings that the name keeps).
    """

    def __init__(self, attr: Attr, parent: int = 0) -> None:
        self.attr = attr
        self.parent = parent
        self.names: dict[bytes, tuple[int, int]] = {}
        self.data = Sparse()
        self.target = b""
        self.xattrs: dict[bytes, bytes] = {}
        self.known = 0  # entries that the kernel holds

    @property
    def is_dir(self) -> bool:
        return stat.S_IFMT & self.attr.mode == stat.S_IFDIR


class MemoryTree(FileTree):
    """An empty file system that can do everything; it is gone with its last mount.

    Args:
        descriptors: not used; there because trees are made with some.
        size: bytes that files may take together; more is ENOSPC.
    """

    entry_s = attr_s = negative_s = float("inf")  # nobody but the kernel changes anything

    def __init__(self, descriptors: Any = (), size: int = 1 << 30, mode: int = 0o755) -> None:
        self.nodes = {ROOT: Node(Attr(ROOT, stat.S_IFDIR | mode, nlink=2), ROOT)}
        self.size = size
        self._used = 0  # units of 512 bytes
        self._last = ROOT
        self._listed = 2  # 1 and 2 are "." and ".."

    # Names

    def _node(self, number: int) -> Node:
        node = self.nodes.get(number)
        if node is None:
            raise OSError(errno.ESTALE, f"no node {number}")
        return node

    def _named(self, parent: int, name: bytes) -> Node:
        found = self._node(parent).names.get(name)
        if found is None:
            raise OSError(errno.ENOENT, "no such name")
        return self.nodes[found[0]]

    def _entry(self, node: Node) -> Entry:
        node.known += 1
        return Entry(node.attr.ino, node.attr)

    def _put(self, parent: Node, name: bytes, node: Node) -> None:
        self._listed += 1
        parent.names.pop(name, None)
        parent.names[name] = node.attr.ino, self._listed
        if node.is_dir:
            node.parent = parent.attr.ino
        _touch(parent)

    def _new(self, parent: int, name: bytes | None, mode: int, context: Context) -> Node:
        above = self._node(parent)
        if name is not None:
            if len(name) > NAME_MAX:
                raise OSError(errno.ENAMETOOLONG, "longer than NAME_MAX")
            if name in above.names:
                raise OSError(errno.EEXIST, "there already")
            if not above.attr.nlink:
                raise OSError(errno.ENOENT, "the directory has been removed")
        self._last += 1
        now, gid = time.time_ns(), context.gid
        if above.attr.mode & stat.S_ISGID:
            gid = above.attr.gid
            mode |= stat.S_ISGID if mode & stat.S_IFMT == stat.S_IFDIR else 0
        attr = Attr(
            self._last, mode, int(name is not None), context.uid, gid,
            atime_ns=now, mtime_ns=now, ctime_ns=now,
        )  # fmt: skip
        node = self.nodes[self._last] = Node(attr)
        attr.blocks = 0
        if node.is_dir:
            attr.nlink = 2
            above.attr.nlink += 1
        if name is not None:
            self._put(above, name, node)
        return node

    def lookup(self, parent: int, name: bytes, context: Context) -> Entry:
        found = self._node(parent).names.get(name)
        if found is None:
            if len(name) > NAME_MAX:
                raise OSError(errno.ENAMETOOLONG, "longer than NAME_MAX")
            return Entry(0, self.nodes[ROOT].attr)
        return self._entry(self.nodes[found[0]])

    def forget(self, node: int, nlookup: int) -> None:
        found = self.nodes.get(node)
        if found is not None:
            found.known -= nlookup
            self._drop(found)

    def _drop(self, node: Node) -> None:
        """An open file is known to the kernel, so there is no need to count openings."""
        if not node.attr.nlink and node.known <= 0:
            self._used -= node.attr.blocks or 0
            self.nodes.pop(node.attr.ino, None)

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, context: Context) -> Entry:
        node = self._new(parent, name, mode, context)
        node.attr.rdev = rdev
        return self._entry(node)

    def mkdir(self, parent: int, name: bytes, mode: int, context: Context) -> Entry:
        return self._entry(self._new(parent, name, stat.S_IFDIR | mode, context))

    def symlink(self, parent: int, name: bytes, target: bytes, context: Context) -> Entry:
        node = self._new(parent, name, stat.S_IFLNK | 0o777, context)
        node.target, node.attr.size = target, len(target)
        return self._entry(node)

    def link(self, node: int, parent: int, name: bytes, context: Context) -> Entry:
        found, above = self._node(node), self._node(parent)
        if name in above.names:
            raise OSError(errno.EEXIST, "there already")
        found.attr.nlink += 1
        found.attr.ctime_ns = time.time_ns()
        self._put(above, name, found)
        return self._entry(found)

    def unlink(self, parent: int, name: bytes, context: Context) -> None:
        self._unname(self._node(parent), name, self._named(parent, name))

    def rmdir(self, parent: int, name: bytes, context: Context) -> None:
        node = self._named(parent, name)
        if node.names:
            raise OSError(errno.ENOTEMPTY, "not empty")
        self._unname(self._node(parent), name, node)

    def _unname(self, parent: Node, name: bytes, node: Node) -> None:
        del parent.names[name]
        _touch(parent)
        node.attr.ctime_ns = parent.attr.ctime_ns
        if node.is_dir:
            node.attr.nlink = 0
            parent.attr.nlink -= 1
        else:
            node.attr.nlink -= 1
        self._drop(node)

    def rename(
        self, parent: int, name: bytes, to: int, to_name: bytes, flags: int, context: Context
    ) -> None:
        source, above = self._node(parent), self._node(to)
        node = self._named(parent, name)
        there = above.names.get(to_name)
        old = self.nodes[there[0]] if there else None
        if flags & fcntl.RENAME_NOREPLACE and old is not None:
            raise OSError(errno.EEXIST, "there already")
        if flags & fcntl.RENAME_EXCHANGE:
            if old is None:
                raise OSError(errno.ENOENT, "nothing to exchange it for")
            self._put(source, name, old)
        else:
            if old is node:
                return
            if old is not None:
                if old.names:
                    raise OSError(errno.ENOTEMPTY, "not empty")
                self._unname(above, to_name, old)
            del source.names[name]
            _touch(source)
            if flags & fcntl.RENAME_WHITEOUT:
                self._new(parent, name, stat.S_IFCHR, context)  # device 0:0
        self._put(above, to_name, node)
        moved = node.is_dir - bool(flags & fcntl.RENAME_EXCHANGE and old and old.is_dir)
        source.attr.nlink -= moved
        above.attr.nlink += moved
        node.attr.ctime_ns = time.time_ns()

    # Attributes

    def getattr(self, node: int, handle: Any, context: Context) -> Attr:
        return self._node(node).attr

    def setattr(self, node: int, change: SetAttr, handle: Any, context: Context) -> Attr:
        found = self._node(node)
        attr = found.attr
        if change.size is not None and change.size != attr.size:
            self._resize(found, change.size)
            attr.mtime_ns = time.time_ns()
        if change.mode is not None:
            attr.mode = attr.mode & stat.S_IFMT | change.mode
        for field in ("uid", "gid", "atime_ns", "mtime_ns"):
            wanted = getattr(change, field)
            if wanted is not None:
                setattr(attr, field, wanted)
        attr.ctime_ns = time.time_ns() if change.ctime_ns is None else change.ctime_ns
        return attr

    def readlink(self, node: int, context: Context) -> bytes:
        return self._node(node).target

    def statfs(self, node: int, context: Context) -> Statfs:
        free = (self.size - self._used * 512) // PAGE
        return Statfs(self.size // PAGE, free, free, len(self.nodes), 1 << 20)

    def getxattr(self, node: int, name: bytes, context: Context) -> bytes:
        try:
            return self._node(node).xattrs[name]
        except KeyError:
            raise OSError(errno.ENODATA, "no such attribute") from None

    def listxattr(self, node: int, context: Context) -> list[bytes]:
        return list(self._node(node).xattrs)

    def setxattr(self, node: int, name: bytes, value: bytes, flags: int, context: Context) -> None:
        # Not those of access control lists, "system.": they would change the mode.
        if not name.startswith((b"user.", b"trusted.", b"security.")):
            raise OSError(errno.EOPNOTSUPP, "no attributes of that kind")
        found = self._node(node)
        if flags & fcntl.XATTR_CREATE and name in found.xattrs:
            raise OSError(errno.EEXIST, "there already")
        if flags & fcntl.XATTR_REPLACE and name not in found.xattrs:
            raise OSError(errno.ENODATA, "no such attribute")
        found.xattrs[name] = value
        found.attr.ctime_ns = time.time_ns()

    def removexattr(self, node: int, name: bytes, context: Context) -> None:
        found = self._node(node)
        if found.xattrs.pop(name, None) is None:
            raise OSError(errno.ENODATA, "no such attribute")
        found.attr.ctime_ns = time.time_ns()

    # Files

    def open(self, node: int, flags: int, context: Context) -> Opened:
        return Opened(keep_cache=True)

    def create(
        self, parent: int, name: bytes, mode: int, flags: int, context: Context
    ) -> tuple[Entry, Opened]:
        node = self._new(parent, name, stat.S_IFREG | mode & 0o7777, context)
        return self._entry(node), Opened(keep_cache=True)

    def tmpfile(self, parent: int, mode: int, flags: int, context: Context) -> tuple[Entry, Opened]:
        node = self._new(parent, None, stat.S_IFREG | mode & 0o7777, context)
        return self._entry(node), Opened(keep_cache=True)

    def read(self, node: int, handle: Any, offset: int, size: int, context: Context) -> bytes:
        return self._node(node).data.read(offset, size)

    def write(self, node: int, handle: Any, offset: int, data: memoryview, context: Context) -> int:
        found = self._node(node)
        self._allocate(found, offset, offset + len(data))
        found.data.write(offset, data)
        found.attr.size = found.data.size
        _touch(found)
        return len(data)

    def fallocate(
        self, node: int, handle: Any, mode: int, offset: int, length: int, context: Context
    ) -> None:
        found, end = self._node(node), offset + length
        keep, punch = fcntl.FALLOC_FL_KEEP_SIZE, fcntl.FALLOC_FL_PUNCH_HOLE
        if mode & ~(keep | punch):
            raise OSError(errno.EOPNOTSUPP, "neither allocating nor a hole")
        if mode & punch:
            found.data.punch(offset, end)
            self._count(found)
        else:
            self._allocate(found, offset, end)
            if end > found.data.size and not mode & keep:
                self._resize(found, end)
        _touch(found)

    def lseek(self, node: int, handle: Any, offset: int, whence: int, context: Context) -> int:
        data = self._node(node).data
        if offset >= data.size:
            raise OSError(errno.ENXIO, "beyond the end")
        at = data.data_from(offset) if whence == fcntl.SEEK_DATA else data.hole_from(offset)
        if at < 0:
            raise OSError(errno.ENXIO, "no data until the end")
        return at

    def _resize(self, node: Node, size: int) -> None:
        node.data.resize(size)
        self._count(node)
        node.attr.size = size

    def _allocate(self, node: Node, offset: int, end: int) -> None:
        if self._used * 512 + node.data.missing(offset, end) * PAGE > self.size:
            raise OSError(errno.ENOSPC, "full")
        node.data.allocate(offset, end)
        self._count(node)

    def _count(self, node: Node) -> None:
        blocks = len(node.data.pages) * PAGE // 512
        self._used += blocks - (node.attr.blocks or 0)
        node.attr.blocks = blocks

    # Directories

    def readdir(self, node: int, handle: Any, offset: int, context: Context) -> Iterator[Dirent]:
        found = self._node(node)
        if offset < 1:
            yield Dirent(b".", node, stat.S_IFDIR, 1)
        if offset < 2:
            yield Dirent(b"..", found.parent, stat.S_IFDIR, 2)
        # Names are in the order of their numbers: each is put in with the highest one so far.
        for name, (number, listed) in list(found.names.items()):
            if listed > offset:
                yield Dirent(name, number, self.nodes[number].attr.mode, listed)


def _touch(node: Node) -> None:
    node.attr.mtime_ns = node.attr.ctime_ns = time.time_ns()
