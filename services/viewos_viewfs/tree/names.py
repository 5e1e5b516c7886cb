"""Names that come and go: create, link, unlink, rmdir."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from viewosd.filetree import Context

from . import acl, store
from .changes import DENIED, Changes
from .listing import is_empty
from .location import Fd, Location
from .node import Node
from .union import MINCOW, Found
from .virtual import NOTHING, Virtual
from .work import remove

_UNMAPPED = 0xFFFF_FFFF


class Names:
    """For one union."""

    def __init__(self, changes: Changes) -> None:
        self.changes, self.union = changes, changes.union
        self._umask = os.umask(0o077)
        os.umask(self._umask)

    def create(
        self,
        parent: Node,
        name: bytes,
        mode: int,
        context: Context,
        *,
        rdev: int = 0,
        target: bytes = b"",
    ) -> tuple[Node, int]:
        """Make a file of any type.

        Returns:
            The node, and a descriptor to read and write if it is a regular file; else -1.
        """
        self.must_be_free(parent, name)
        if stat.S_ISCHR(mode) and rdev == 0:  # it would be a whiteout; as ovl_mknod()
            raise OSError(errno.EPERM, "a device 0:0 can't be made in a layer")

        def build(directory: Fd, at: bytes, upper: bool) -> int:
            return self._make(parent, directory, at, mode, rdev, target, context, upper)

        fd = self.changes.new(parent, name, build, is_dir=stat.S_ISDIR(mode))
        return self.changes.must_get(parent, name), fd

    def link(self, node: Node, parent: Node, name: bytes) -> None:
        """Give a file one more name."""
        self.must_be_free(parent, name)
        if node.is_dir:
            raise OSError(errno.EPERM, "a directory has one name")
        if node.real != self.union.real(parent, name):
            raise OSError(errno.EXDEV, "one of the names is excepted")
        plain = node.layer is self.union.layers.plain
        if self.changes.really(node) and not plain:
            raise OSError(errno.EXDEV, "the file lies in a layer that is read-only")

        def build(directory: Fd, at: bytes, upper: bool) -> None:
            if upper:
                self.changes.copyup.up(node)
            elif not plain:
                raise OSError(errno.EROFS, "the file lies in the upper layer")
            self.union.location(node).link(directory.fd, at)

        self.changes.new(parent, name, build, is_dir=False)
        node.held = None
        self.changes.get(parent, name)

    def unlink(self, parent: Node, name: bytes) -> None:
        """Take a name away from what is no directory."""
        node = self.changes.must_get(parent, name)
        if node.is_dir:
            raise OSError(errno.EISDIR, "it is a directory")
        self.take_away(parent, name, node)

    def rmdir(self, parent: Node, name: bytes) -> None:
        """Remove a directory."""
        node = self.changes.must_get(parent, name)
        self.must_be_empty(node)
        self.take_away(parent, name, node)

    def must_be_free(self, parent: Node, name: bytes) -> None:
        if self.changes.get(parent, name) is not None:
            raise OSError(errno.EEXIST, "the name exists")

    def must_be_empty(self, node: Node) -> None:
        if not node.is_dir:
            raise OSError(errno.ENOTDIR, "it is no directory")
        if node.excepts:
            raise OSError(errno.EBUSY, "something in it is excepted")
        if not is_empty(self.union, node):
            raise OSError(errno.ENOTEMPTY, "the directory is not empty")

    def take_away(self, parent: Node, name: bytes, node: Node) -> None:
        """Remove what a name is; directories are empty."""
        found = self.union.find(parent, name)
        if found is None:
            raise OSError(errno.ENOENT, "no such name")
        held = self.last_held(node)
        if self.changes.goes_really(parent, name):
            plain = self.changes.plain_directory(parent, name)
            if plain is None:
                raise OSError(errno.EROFS, "it lies in a layer that is read-only")
            _remove(plain, name, node)
            self.gone(node, found, really=True)
        else:
            self._hide(parent, name, node, found)
        self.lose(node, parent, name, held)

    def _hide(self, parent: Node, name: bytes, node: Node, found: Found) -> None:
        layers = self.union.layers
        only_plain = found.parts[0].layer is layers.plain
        really = layers.mode == MINCOW and self._remove_plain(parent, name, node)
        if not (really and only_plain):
            self._remove_upper(parent, name, node)
        if really:
            self.changes.touch(parent)
        self.gone(node, found, really=really and only_plain)

    def _remove_plain(self, parent: Node, name: bytes, node: Node) -> bool:
        """Remove what the plain tree has under a name, if there is something and it may be."""
        layers = self.union.layers
        if parent.parts[-1].layer is not layers.plain:
            return False
        for layer, _ in parent.parts[:-1]:  # what another layer hides was never seen
            if not layer.upper and self.changes.is_there(parent, name, layer):
                return False
        try:
            _remove(self.union.directory(parent, layers.plain), name, node)
        except OSError as error:
            if error.errno in (*DENIED, errno.ENOENT, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR):
                return False
            raise
        return True

    def _remove_upper(self, parent: Node, name: bytes, node: Node) -> None:
        """Remove what the upper layer has under a name, and cover what the others have."""
        copyup = self.changes.copyup
        work, directory = copyup.work, copyup.directory(parent)
        covers = self.union.below(parent, name)
        if not node.in_upper or not self.changes.is_there(parent, name, parent.layer):
            if covers:
                self.cover(parent, name)
            return
        with work.making() as temp:
            if covers:
                marked = parent.layer.make_whiteout(work.fd, temp)
                if node.is_dir:
                    work.exchange(temp, directory, name)
                else:
                    work.put(temp, directory, name)
                if marked:
                    self._mark(parent)
            elif node.is_dir:  # whiteouts may be left in it
                os.rename(name, temp, src_dir_fd=directory.fd, dst_dir_fd=work.fd.fd)
            else:
                os.unlink(name, dir_fd=directory.fd)

    def cover(self, parent: Node, name: bytes) -> None:
        """Say in the upper part of a directory that a name of the layers below is gone."""
        if parent.layer.make_whiteout(self.union.directory(parent, parent.layer), name):
            self._mark(parent)

    def _mark(self, parent: Node) -> None:
        """Whiteouts that are xattrs count in a directory that is marked."""
        if not parent.mark:
            parent.layer.set_mark(self.union.location(parent), b"x")
            parent.mark = b"x"

    def last_held(self, node: Node) -> Fd | None:
        """What a node is stored as, if its last name is about to go and it may be used on."""
        if len(node.names) == 1 and node.in_use:
            return self.union.location(node).hold()
        return None

    def lose(self, node: Node, parent: Node, name: bytes, held: Fd | None) -> None:
        """A node has lost a name, its last one if it was held."""
        node.held = held
        self.union.unname(node, parent, name)

    def gone(self, node: Node, found: Found, *, really: bool) -> None:
        """Count: a name of what was found is no more. ``really``: removed, not covered."""
        if node.is_dir:
            self.union.memory.forget(found.parts[0].id)
            return
        (layer, id), names = found.parts[0], found.st.st_nlink
        links = self.union.memory.links(id)
        if layer.upper:
            index = links.index if links is not None else None
            below = links.below if links is not None else 0
            if names - (index is not None) + below <= 1:
                if index is not None:
                    self.changes.copyup.work.remove(index)
                self.union.forget_storage(id)
        elif not really:
            self.union.memory.count(id, names).below -= 1
        else:
            if links is not None:
                links.below -= 1
            if names == 1:
                self.union.forget_storage(id)

    def nameless(self, parent: Node, mode: int, context: Context) -> tuple[Node, int]:
        """Make a file without a name, which `link` can give it one: open(2), O_TMPFILE.

        Returns:
            The node, and a descriptor to read and write.
        """
        if self.changes.goes_really(parent, b""):
            raise OSError(errno.EOPNOTSUPP, "a file without a name can't be made here")
        work = self.changes.copyup.work
        default = acl.default_of(self.union.location(parent))
        mode, access = _permitted(stat.S_IFREG | mode, context, default)
        real, uid, gid, virtual = self._kept(parent, mode, 0, context, True, True)
        fd = os.open(b".", os.O_TMPFILE | os.O_RDWR, 0o600, dir_fd=work.fd.fd)
        try:
            held = Fd(os.open(b"/proc/self/fd/%d" % fd, os.O_PATH))
            there = Location(held)
            store.set_owner(there, uid, gid)
            store.set_mode(there, real)
            acl.give(there, mode, default, access)
            store.set_virtual(there, virtual, NOTHING, must=self.union.rights.vstat)
            return self.union.nameless(held, virtual), fd
        except BaseException:
            os.close(fd)
            raise

    def _kept(
        self, parent: Node, mode: int, rdev: int, context: Context, upper: bool, in_work: bool
    ) -> tuple[int, int, int, Virtual]:
        """How something new is stored: mode, uid, gid (-1: as it comes), and what is virtual."""
        rights = self.union.rights
        virtual, uid, gid = NOTHING, -1, -1
        above = self.union.attr(parent)
        inherits = bool(above.mode & stat.S_ISGID)
        if inherits and stat.S_ISDIR(mode):
            mode |= stat.S_ISGID
        kept_beside = rights.vstat and (upper or self.union.layers.mode != MINCOW)
        if kept_beside:
            owner = rights.uid if context.uid == _UNMAPPED else context.uid
            group = rights.gid if context.gid == _UNMAPPED else context.gid
            group = above.gid if inherits else group
            mode, _, _, virtual = rights.split(mode, owner, group, rdev)
        elif rights.root:  # with mincow what is real is that altogether
            uid = context.uid if context.uid not in (_UNMAPPED, 0) else -1
            gid = context.gid if context.gid not in (_UNMAPPED, 0) else -1
        elif upper and stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
            mode, virtual = mode | 0o700, Virtual(mode=stat.S_IMODE(mode))
        if inherits and not kept_beside:  # the directory's group, which `work` does not give
            gid = self.union.stat(parent).st_gid if in_work else -1
        return mode, uid, gid, virtual

    def _make(
        self,
        parent: Node,
        directory: Fd,
        name: bytes,
        mode: int,
        rdev: int,
        target: bytes,
        context: Context,
        upper: bool,
    ) -> int:
        """Make something in a directory: the parent's part, or `work`."""
        in_work = upper and directory is self.changes.copyup.work.fd
        default = b"" if stat.S_ISLNK(mode) else acl.default_of(self.union.location(parent))
        mode, access = _permitted(mode, context, default)
        real, uid, gid, virtual = self._kept(parent, mode, rdev, context, upper, in_work)
        perm, there = stat.S_IMODE(real), Location(directory, name)
        fd = store.make(directory, name, real, perm & 0o1777, rdev, target)
        try:
            store.set_owner(there, uid, gid)
            if default or perm & (self._umask | ~0o1777):
                store.set_mode(there, real)
                acl.give(there, mode, default, access)
            store.set_virtual(there, virtual, NOTHING, must=self.union.rights.vstat)
        except BaseException:
            if fd != -1:
                os.close(fd)
            with suppress(OSError):
                remove(directory, name)
            raise
        return fd


def _permitted(mode: int, context: Context, default: bytes) -> tuple[int, bytes]:
    """The mode of something new, by the umask or its directory's list; and its access list."""
    return acl.inherited(default, mode) if default else (mode & ~context.umask, b"")


def _remove(directory: Fd, name: bytes, node: Node) -> None:
    if node.is_dir:
        os.rmdir(name, dir_fd=directory.fd)
    else:
        os.unlink(name, dir_fd=directory.fd)
