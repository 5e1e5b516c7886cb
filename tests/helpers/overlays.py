"""A directory and a served tree behind the same calls, so that one can be held against the other."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from typing import Any, NamedTuple

from helpers.apart import checked
from viewosd.filetree import ROOT, Context, FileTree, SetAttr

_libc = ctypes.CDLL(None, use_errno=True)

NOW = Context(os.geteuid(), os.getegid(), os.getpid())


class Seen(NamedTuple):
    """What a program sees of a file; ``group``: which files are the same one."""

    kind: int
    mode: int
    uid: int
    gid: int
    rdev: int
    nlink: int
    content: object
    xattrs: tuple
    mtime_ns: int
    group: object


class Native:
    """A real directory."""

    def __init__(self, root: bytes) -> None:
        self.root = root

    def at(self, path: bytes) -> bytes:
        return os.path.join(self.root, path)

    def listdir(self, path: bytes) -> list[bytes]:
        return sorted(os.listdir(self.at(path)))

    def lstat(self, path: bytes) -> Any:
        return os.lstat(self.at(path))

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(self.at(path))

    def read(self, path: bytes) -> bytes:
        with open(self.at(path), "rb") as file:
            return file.read()

    def xattrs(self, path: bytes) -> dict[str, bytes]:
        names = os.listxattr(self.at(path), follow_symlinks=False)
        kept = [n for n in names if n.startswith("user.")]
        return {n: os.getxattr(self.at(path), n, follow_symlinks=False) for n in kept}

    def mkdir(self, path: bytes, mode: int) -> None:
        os.mkdir(self.at(path), mode)
        os.chmod(self.at(path), mode)

    def write(self, path: bytes, data: bytes, flags: int, mode: int = 0o644) -> None:
        new = not os.path.lexists(self.at(path))
        fd = os.open(self.at(path), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flags, mode)
        if new:
            os.fchmod(fd, mode)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def symlink(self, path: bytes, target: bytes) -> None:
        os.symlink(target, self.at(path))

    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> None:
        os.mknod(self.at(path), mode, rdev)
        os.chmod(self.at(path), stat.S_IMODE(mode))

    def link(self, old: bytes, new: bytes) -> None:
        os.link(self.at(old), self.at(new), follow_symlinks=False)

    def unlink(self, path: bytes) -> None:
        os.unlink(self.at(path))

    def rmdir(self, path: bytes) -> None:
        os.rmdir(self.at(path))

    def rename(self, old: bytes, new: bytes, flags: int = 0) -> None:
        renameat2(self.at(old), self.at(new), flags)

    def chmod(self, path: bytes, mode: int) -> None:
        if not stat.S_ISLNK(self.lstat(path).st_mode):
            os.chmod(self.at(path), mode)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        os.lchown(self.at(path), uid, gid)

    def utime(self, path: bytes, ns: int) -> None:
        os.utime(self.at(path), ns=(ns, ns), follow_symlinks=False)

    def truncate(self, path: bytes, size: int) -> None:
        fd = os.open(self.at(path), os.O_WRONLY | os.O_NOFOLLOW)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def setxattr(self, path: bytes, name: str, value: bytes) -> None:
        os.setxattr(self.at(path), name, value, follow_symlinks=False)

    def removexattr(self, path: bytes, name: str) -> None:
        os.removexattr(self.at(path), name, follow_symlinks=False)

    def open(self, path: bytes, flags: int) -> Any:
        return os.open(self.at(path), flags | os.O_NOFOLLOW)

    def pread(self, handle: Any, size: int, offset: int) -> bytes:
        return os.pread(handle, size, offset)

    def pwrite(self, handle: Any, data: bytes, offset: int) -> int:
        return os.pwrite(handle, data, offset)

    def fallocate(self, handle: Any, mode: int, offset: int, length: int) -> None:
        checked(_libc.fallocate(handle, mode, ctypes.c_long(offset), ctypes.c_long(length)))

    def copy(self, handle: Any, offset: int, to: int, length: int) -> int:
        return os.copy_file_range(handle, handle, length, offset, to)

    def fstat(self, handle: Any) -> Any:
        return os.fstat(handle)

    def close(self, handle: Any) -> None:
        os.close(handle)


class Stat:
    """An Attr with the names of os.stat_result."""

    def __init__(self, attr: Any) -> None:
        self.st_mode, self.st_uid, self.st_gid = attr.mode, attr.uid, attr.gid
        self.st_size, self.st_nlink, self.st_rdev = attr.size, attr.nlink, attr.rdev
        self.st_ino, self.st_dev, self.st_mtime_ns = attr.ino, 0, attr.mtime_ns


class Served:
    """A tree whose methods are called directly, as the kernel would call them.

    Args:
        forgets: nothing is known from one call to the next, as under memory pressure.
    """

    def __init__(self, tree: FileTree, *, forgets: bool = False, context: Context = NOW) -> None:
        self.tree, self.forgets, self.context = tree, forgets, context
        self.known: dict[int, int] = {}

    def took(self, entry: Any) -> int:
        if not entry.node:
            raise OSError(errno.ENOENT, "a negative entry")
        self.known[entry.node] = self.known.get(entry.node, 0) + 1
        return entry.node

    def forget_all(self) -> None:
        for node, count in self.known.items():
            self.tree.forget(node, count)
        self.known.clear()

    def node(self, path: bytes) -> int:
        if self.forgets:
            self.forget_all()
        at = ROOT
        for name in filter(None, path.split(b"/")):
            attr = self.tree.getattr(at, None, self.context)
            if not stat.S_ISDIR(attr.mode):
                raise OSError(errno.ENOTDIR, "not a directory")
            at = self.took(self.tree.lookup(at, name, self.context))
        return at

    def parent(self, path: bytes) -> tuple[int, bytes]:
        above, _, name = path.rpartition(b"/")
        node = self.node(above)
        if not stat.S_ISDIR(self.tree.getattr(node, None, self.context).mode):
            raise OSError(errno.ENOTDIR, "not a directory")
        return node, name

    def exists(self, path: bytes) -> bool:
        try:
            self.node(path)
        except OSError:
            return False
        return True

    def listdir(self, path: bytes) -> list[bytes]:
        node = self.node(path)
        handle = self.tree.opendir(node, 0, self.context).handle
        found, offset = [], 0
        while True:
            batch = list(self.tree.readdir(node, handle, offset, self.context))[:7]
            if not batch:
                break
            offset = batch[-1].offset
            found += batch
        self.tree.releasedir(node, handle)
        names = [e.name for e in found]
        assert len(set(names)) == len(names)
        for entry in found:  # what listings say of a file is what stat says
            if entry.name not in (b".", b".."):
                st = self.lstat(os.path.join(path, entry.name))
                assert entry.type in (0, stat.S_IFMT(st.st_mode))
                assert entry.ino == st.st_ino, entry
        return sorted(set(names) - {b".", b".."})

    def lstat(self, path: bytes) -> Any:
        return Stat(self.tree.getattr(self.node(path), None, self.context))

    def readlink(self, path: bytes) -> bytes:
        return self.tree.readlink(self.node(path), self.context)

    def read(self, path: bytes) -> bytes:
        handle = self.open(path, os.O_RDONLY)
        try:
            return self.pread(handle, 1 << 20, 0)
        finally:
            self.close(handle)

    def xattrs(self, path: bytes) -> dict[str, bytes]:
        node = self.node(path)
        names = [n for n in self.tree.listxattr(node, self.context) if n.startswith(b"user.")]
        return {n.decode(): self.tree.getxattr(node, n, self.context) for n in names}

    def mkdir(self, path: bytes, mode: int) -> None:
        parent, name = self.parent(path)
        self.took(self.tree.mkdir(parent, name, mode, self.context))

    def write(self, path: bytes, data: bytes, flags: int, mode: int = 0o644) -> None:
        parent, name = self.parent(path)
        if self.exists(path):
            parent, name = self.parent(path)
            if flags & os.O_EXCL:
                raise OSError(errno.EEXIST, "exists")
            handle = self.open(path, os.O_WRONLY)
            if flags & os.O_TRUNC:
                self.tree.setattr(handle[0], SetAttr(size=0), handle[1], self.context)
        else:
            parent, name = self.parent(path)
            entry, opened = self.tree.create(parent, name, mode, os.O_WRONLY | flags, self.context)
            handle = self.took(entry), opened.handle
        offset = 0
        if flags & os.O_APPEND:
            offset = self.tree.getattr(handle[0], None, self.context).size
        self.pwrite(handle, data, offset)
        self.close(handle)

    def symlink(self, path: bytes, target: bytes) -> None:
        self.took(self.tree.symlink(*self.parent(path), target, self.context))

    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> None:
        self.took(self.tree.mknod(*self.parent(path), mode, rdev, self.context))

    def link(self, old: bytes, new: bytes) -> None:
        forgets, self.forgets = self.forgets, False
        try:
            node = self.node(old)
            self.took(self.tree.link(node, *self.parent(new), self.context))
        finally:
            self.forgets = forgets

    def unlink(self, path: bytes) -> None:
        self.tree.unlink(*self.parent(path), self.context)

    def rmdir(self, path: bytes) -> None:
        self.tree.rmdir(*self.parent(path), self.context)

    def rename(self, old: bytes, new: bytes, flags: int = 0) -> None:
        forgets, self.forgets = self.forgets, False
        try:
            (parent, name), (to, to_name) = self.parent(old), self.parent(new)
            self.tree.rename(parent, name, to, to_name, flags, self.context)
        finally:
            self.forgets = forgets

    def change(self, path: bytes, **what: Any) -> None:
        self.tree.setattr(self.node(path), SetAttr(**what), None, self.context)

    def chmod(self, path: bytes, mode: int) -> None:
        if not stat.S_ISLNK(self.lstat(path).st_mode):
            self.change(path, mode=mode)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        self.change(path, uid=uid, gid=gid)

    def utime(self, path: bytes, ns: int) -> None:
        self.change(path, atime_ns=ns, mtime_ns=ns)

    def truncate(self, path: bytes, size: int) -> None:
        node = self.node(path)
        kind = stat.S_IFMT(self.tree.getattr(node, None, self.context).mode)
        if kind != stat.S_IFREG:
            raise OSError(errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL, "no file")
        self.tree.setattr(node, SetAttr(size=size), None, self.context)

    def setxattr(self, path: bytes, name: str, value: bytes) -> None:
        self.tree.setxattr(self.node(path), name.encode(), value, 0, self.context)

    def removexattr(self, path: bytes, name: str) -> None:
        self.tree.removexattr(self.node(path), name.encode(), self.context)

    def open(self, path: bytes, flags: int) -> Any:
        node = self.node(path)
        kind = stat.S_IFMT(self.tree.getattr(node, None, self.context).mode)
        if kind != stat.S_IFREG:
            raise OSError({stat.S_IFLNK: errno.ELOOP}.get(kind, errno.EISDIR), "no file")
        opened = self.tree.open(node, flags, self.context)
        self.took_again(node)
        return node, opened.handle

    def took_again(self, node: int) -> None:
        """An open file keeps its inode known."""

    def pread(self, handle: Any, size: int, offset: int) -> bytes:
        return bytes(self.tree.read(*handle, offset, size, self.context))

    def pwrite(self, handle: Any, data: bytes, offset: int) -> int:
        return self.tree.write(*handle, offset, memoryview(data), self.context)

    def fallocate(self, handle: Any, mode: int, offset: int, length: int) -> None:
        self.tree.fallocate(*handle, mode, offset, length, self.context)

    def copy(self, handle: Any, offset: int, to: int, length: int) -> int:
        return self.tree.copy_file_range(*handle, offset, *handle, to, length, 0, self.context)

    def fstat(self, handle: Any) -> Any:
        return Stat(self.tree.getattr(*handle, self.context))

    def close(self, handle: Any) -> None:
        self.tree.release(*handle, 0)


def snapshot(fs: Any, path: bytes = b"") -> dict[bytes, Seen]:
    """All that programs can see below a directory."""
    found = {}
    for name in fs.listdir(path):
        at = os.path.join(path, name)
        st = fs.lstat(at)
        kind, content = stat.S_IFMT(st.st_mode), None
        if kind == stat.S_IFREG:
            content = fs.read(at)
        elif kind == stat.S_IFLNK:
            content = fs.readlink(at)
        elif kind == stat.S_IFDIR:
            found |= snapshot(fs, at)
        nlink = st.st_nlink if kind != stat.S_IFDIR else 0
        found[at] = Seen(
            kind, stat.S_IMODE(st.st_mode) if kind != stat.S_IFLNK else 0, st.st_uid, st.st_gid,
            st.st_rdev, nlink, content, tuple(sorted(fs.xattrs(at).items())), st.st_mtime_ns,
            (st.st_dev, st.st_ino),
        )  # fmt: skip
    if path == b"":  # inode numbers differ; which files are one must not
        groups: dict[object, set[bytes]] = {}
        for at, seen in found.items():
            if seen.kind != stat.S_IFDIR:
                groups.setdefault(seen.group, set()).add(at)
        found = {
            at: seen._replace(group=tuple(sorted(groups.get(seen.group, ()))))
            for at, seen in found.items()
        }
    return found


def alike(left: dict[bytes, Seen], right: dict[bytes, Seen], since_ns: int = 0, **but: Any) -> None:
    """Fail unless both are the same; times after ``since_ns`` only have to be that.

    Args:
        but: fields that need not agree, with what to hold in their place.
    """
    assert sorted(left) == sorted(right)
    for path, one in left.items():
        other = right[path]
        if since_ns and one.mtime_ns >= since_ns and other.mtime_ns >= since_ns:
            one, other = one._replace(mtime_ns=0), other._replace(mtime_ns=0)
        assert (path, one._replace(**but)) == (path, other._replace(**but))


def interpreted(upper: bytes, lower: bytes, prefix: str) -> dict[bytes, bytes]:
    """An overlay read by the rules of its format alone: path in the view to path where it lies."""
    found: dict[bytes, bytes] = {}

    def marked(path: bytes, name: str) -> bytes:
        try:
            return os.getxattr(path, f"{prefix}.overlay.{name}", follow_symlinks=False)
        except OSError:
            return b""

    def read(at: bytes, layers: list[bytes]) -> None:
        names = sorted({n for layer in layers for n in os.listdir(layer)})
        for name in names:
            below: list[bytes] = []
            for layer in layers:
                path = os.path.join(layer, name)
                if not os.path.lexists(path):
                    continue
                st = os.lstat(path)
                gone = (stat.S_ISCHR(st.st_mode) and st.st_rdev == 0) or marked(path, "whiteout")
                if gone and layer.startswith(upper):
                    break
                if not stat.S_ISDIR(st.st_mode):
                    below = below or [path]
                    break
                below.append(path)
                if path.startswith(upper) and marked(path, "opaque") == b"y":
                    break
            if below:
                found[os.path.join(at, name)] = below[0]
                if os.path.isdir(below[0]) and not os.path.islink(below[0]):
                    read(os.path.join(at, name), below)

    read(b"", [upper, lower])
    return found


def renameat2(old: bytes, new: bytes, flags: int) -> None:
    checked(_libc.renameat2(-100, old, -100, new, flags))
