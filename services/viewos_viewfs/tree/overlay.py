"""The union of a writable layer and what lies below it, as a served file system."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from typing import Any

from viewosd.filetree import (
    Attr,
    Context,
    Dirent,
    Entry,
    FileTree,
    Opened,
    SetAttr,
    Statfs,
)

from .attributes import Attributes
from .changes import Changes
from .copyup import CopyUp
from .files import Files
from .layer import Hidden, Layer
from .listing import Listing
from .location import DIRECTORY
from .moving import Moving
from .names import Names
from .node import Node, excepted
from .rights import Ranges, Rights, kernel_checks
from .union import COW, MERGE, MINCOW, Layers, Union
from .work import Work

NAME_MAX = 255


class Overlay(FileTree):
    """What kernel overlayfs can't do: files of unmapped owners, writing what the owner may not
    write, changes for real where they are permitted, virtual attributes; in its format.

    Every method works at once, on blocking calls: serve it in a process of its own (``apart``).
    What changes in the lower trees outside is seen after `entry_s`, `attr_s`: one second.
    Mount it with ``default_permissions`` if `kernel_checks` says so.
    """

    negative_s = 1.0
    killpriv = True
    applies_umask = True

    def __init__(
        self,
        descriptors: Sequence[int],
        *,
        mode: str,
        uppers: int = 1,
        lowers: int = 1,
        vstat: bool = False,
        excepts: Sequence[bytes] = (),
        owner_uid: int | None = None,
        owner_gid: int | None = None,
        uids: Ranges | None = None,
        gids: Ranges | None = None,
        sync: bool = False,
    ) -> None:
        """
        Args:
            descriptors: of ``uppers`` directories in the overlay format, the topmost first, then
                of ``lowers`` trees, of which all but the last are in that format too; then,
                perhaps, of the first upper's work directory (else ``../work`` is used). They are
                taken over.
            mode: ``cow``, ``mincow`` or ``merge``: see `changes`. With ``merge`` every upper is
                read-only, else all but the first.
            vstat: attributes are virtual: see `virtual`.
            excepts: paths in the tree that are the plain tree's.
            owner_uid, owner_gid: whose view it is; else, who we are.
            uids, gids: what is mapped in the mount's user namespace, pairs of first id and count;
                None: all.
            sync: a copied file is on the disk before it is seen.

        Raises:
            OSError: EBUSY: another tree has the layer; EOPNOTSUPP: its file system has no
                extended attributes; in words.
            ValueError: no such mode, or too few descriptors.
        """
        if mode not in (COW, MINCOW, MERGE) or len(descriptors) < uppers + lowers or lowers < 1:
            raise ValueError(f"no overlay: {mode!r} of {uppers} over {lowers}")
        if uppers < 1:
            raise ValueError("an overlay needs an upper directory")
        uid = os.geteuid() if owner_uid is None else owner_uid
        gid = os.getegid() if owner_gid is None else owner_gid
        self.posix_acl = kernel_checks(uid, vstat)
        prefix = "trusted" if uid == 0 else "user"
        count = uppers + lowers
        layers = [
            Layer(fd, prefix, changes=at < count - 1, upper=at == 0 and mode != MERGE)
            for at, fd in enumerate(descriptors[:count])
        ]
        upper = layers[0] if mode != MERGE else None
        rights = Rights(uid, gid, vstat=vstat, copies=mode != MERGE, uids=uids, gids=gids)
        hidden = Hidden(prefix)
        self._work = _work(layers[0], descriptors[count:]) if upper is not None else None
        self._union = Union(Layers(mode, layers, upper), rights, hidden, excepted(list(excepts)))
        copyup = CopyUp(self._union, self._work, sync=sync) if self._work is not None else None
        if copyup is not None:
            copyup.begin()
        self._changes = Changes(self._union, copyup)
        self._names = Names(self._changes)
        self._moving = Moving(self._changes, self._names)
        self._attributes = Attributes(self._changes)
        self._files = Files(self._changes)
        self._union.changed_outside = self._changed

    def destroy(self) -> None:
        """The work directory is left empty."""
        if self._work is not None:
            self._work.close()

    def _changed(self, parent: int, name: bytes) -> None:
        kernel = getattr(self, "kernel", None)
        if kernel is not None:
            kernel.inval_entry(parent, name)

    def _node(self, node: int) -> Node:
        try:
            return self._union.nodes[node]
        except KeyError:
            raise OSError(errno.ESTALE, "not known any more") from None

    def _entry(self, node: Node) -> Entry:
        attr = self._union.attr(node)
        node.lookups += 1
        return Entry(node.id, attr)

    # Names

    def lookup(self, parent: int, name: bytes, context: Context) -> Entry:
        above = self._node(parent)
        if name == b".":
            return self._entry(above)
        if name == b"..":
            return self._entry(above.names[0][0] if above.names else above)
        _check_name(name)
        node = self._changes.get(above, name)
        if node is None:
            return Entry(0, Attr(0, 0))
        return self._entry(node)

    def forget(self, node: int, nlookup: int) -> None:
        known = self._union.nodes.get(node)
        if known is not None and known is not self._union.root:
            known.lookups = max(0, known.lookups - nlookup)
            self._union.drop(known)

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, context: Context) -> Entry:
        _check_name(name)
        node, fd = self._names.create(self._node(parent), name, mode, context, rdev=rdev)
        if fd != -1:
            os.close(fd)
        return self._entry(node)

    def mkdir(self, parent: int, name: bytes, mode: int, context: Context) -> Entry:
        _check_name(name)
        mode = 0o040000 | mode & 0o7777
        return self._entry(self._names.create(self._node(parent), name, mode, context)[0])

    def symlink(self, parent: int, name: bytes, target: bytes, context: Context) -> Entry:
        _check_name(name)
        above = self._node(parent)
        return self._entry(self._names.create(above, name, 0o120777, context, target=target)[0])

    def link(self, node: int, parent: int, name: bytes, context: Context) -> Entry:
        _check_name(name)
        known = self._node(node)
        self._names.link(known, self._node(parent), name)
        return self._entry(known)

    def unlink(self, parent: int, name: bytes, context: Context) -> None:
        self._names.unlink(self._node(parent), name)

    def rmdir(self, parent: int, name: bytes, context: Context) -> None:
        self._names.rmdir(self._node(parent), name)

    def rename(
        self, parent: int, name: bytes, to: int, to_name: bytes, flags: int, context: Context
    ) -> None:
        _check_name(to_name)
        self._moving.rename(self._node(parent), name, self._node(to), to_name, flags)

    # Attributes

    def getattr(self, node: int, handle: Any, context: Context) -> Attr:
        return self._union.attr(self._node(node))

    def setattr(self, node: int, change: SetAttr, handle: Any, context: Context) -> Attr:
        known = self._node(node)
        if change.size is not None:
            self._files.truncate(known, change.size)
        return self._attributes.set(known, change)

    def readlink(self, node: int, context: Context) -> bytes:
        return self._attributes.readlink(self._node(node))

    def access(self, node: int, mask: int, context: Context) -> None:
        self._attributes.access(self._node(node), mask)

    def statfs(self, node: int, context: Context) -> Statfs:
        known = self._node(node)
        layers = self._union.layers
        layer = layers.upper if layers.upper is not None and not known.real else layers.plain
        st = os.fstatvfs(layer.root.fd)
        return Statfs(
            st.f_blocks, st.f_bfree, st.f_bavail, st.f_files, st.f_ffree,
            st.f_bsize, st.f_namemax, st.f_frsize,
        )  # fmt: skip

    def getxattr(self, node: int, name: bytes, context: Context) -> bytes:
        return self._attributes.getxattr(self._node(node), name)

    def listxattr(self, node: int, context: Context) -> Iterable[bytes]:
        return self._attributes.listxattr(self._node(node))

    def setxattr(self, node: int, name: bytes, value: bytes, flags: int, context: Context) -> None:
        self._attributes.setxattr(self._node(node), name, value, flags)

    def removexattr(self, node: int, name: bytes, context: Context) -> None:
        self._attributes.removexattr(self._node(node), name)

    # Files: the handle is the node

    def open(self, node: int, flags: int, context: Context) -> Opened:
        return self._files.open(self._node(node), flags)

    def create(
        self, parent: int, name: bytes, mode: int, flags: int, context: Context
    ) -> tuple[Entry, Opened]:
        _check_name(name)
        above = self._node(parent)
        node = self._changes.get(above, name)
        if node is not None and not flags & os.O_EXCL:
            return self._entry(node), self._files.open(node, flags)
        node, fd = self._names.create(above, name, 0o100000 | mode & 0o7777, context)
        opened = self._files.adopt(node, fd)
        return self._entry(node), opened

    def tmpfile(self, parent: int, mode: int, flags: int, context: Context) -> tuple[Entry, Opened]:
        node, fd = self._names.nameless(self._node(parent), mode & 0o7777, context)
        opened = self._files.adopt(node, fd)
        return self._entry(node), opened

    def read(self, node: int, handle: Any, offset: int, size: int, context: Context) -> bytes:
        return self._files.read(self._node(node), offset, size)

    def write(self, node: int, handle: Any, offset: int, data: memoryview, context: Context) -> int:
        return self._files.write(self._node(node), offset, data)

    def release(self, node: int, handle: Any, owner: int) -> None:
        self._files.release(handle)

    def fsync(self, node: int, handle: Any, datasync: bool, context: Context) -> None:
        self._files.sync(self._node(node), datasync)

    def fallocate(
        self, node: int, handle: Any, mode: int, offset: int, length: int, context: Context
    ) -> None:
        self._files.fallocate(self._node(node), mode, offset, length)

    def lseek(self, node: int, handle: Any, offset: int, whence: int, context: Context) -> int:
        return self._files.seek(self._node(node), offset, whence)

    def copy_file_range(
        self, node: int, handle: Any, offset: int, to: int, to_handle: Any, to_offset: int,
        length: int, flags: int, context: Context,
    ) -> int:  # fmt: skip
        return self._files.copy_range(self._node(node), offset, self._node(to), to_offset, length)

    # Directories

    def opendir(self, node: int, flags: int, context: Context) -> Opened:
        return Opened(Listing(self._union, self._node(node)))

    def readdir(self, node: int, handle: Any, offset: int, context: Context) -> Iterable[Dirent]:
        listing: Listing = handle
        return listing.after(offset)

    def fsyncdir(self, node: int, handle: Any, datasync: bool, context: Context) -> None:
        known = self._node(node)
        if known.in_upper:
            fd = self._union.location(known).open(os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _work(upper: Layer, given: Sequence[int]) -> Work:
    if given:
        work = Work(given[0], upper)
        os.close(given[0])
        return work
    fd = os.open(b"../work", DIRECTORY, dir_fd=upper.root.fd)
    try:
        return Work(fd, upper)
    finally:
        os.close(fd)


def _check_name(name: bytes) -> None:
    if len(name) > NAME_MAX:
        raise OSError(errno.ENAMETOOLONG, "a name has 255 bytes at most")
