"""Copy-up: what is to be changed and lies in a layer below gets a copy in the upper one.

A copy is made whole in `work` and renamed into place. It keeps data and holes, times, owner, mode
and xattrs; its inode number and link count stay as programs know them. The directory that it
appears in keeps its times. Descriptors that are open follow it.

A file of several names below: the copy is given every name of it that is known at that time, and
each of the others when it is met (`CopyUp.get`), so it stays one file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from . import store
from .copying import copy_data, copy_xattrs, open_source
from .listing import entries, whiteouts
from .location import Fd, Location
from .memory import Links
from .node import Id, Node, Part
from .union import Union
from .virtual import NOTHING, Virtual
from .work import Work


class CopyUp:
    """Copies within one union. ``sync``: a copy is on the disk before it is given its name."""

    def __init__(self, union: Union, work: Work, *, sync: bool) -> None:
        self.union, self.work, self._sync = union, work, sync
        self._indexed = 0

    def get(self, parent: Node, name: bytes) -> Node | None:
        """As `Union.get`; another name of a file that was copied up is joined to the copy."""
        found = self.union.find(parent, name)
        if found is not None and not found.parts[0].layer.upper:
            links = self.union.memory.links(found.parts[0].id)
            if links is not None and links.copy and not self.union.real(parent, name):
                self._join(parent, name, links)
        return self.union.get(parent, name)

    def begin(self) -> None:
        """Give the root of a new layer the attributes of what it lies over."""
        root, rights = self.union.root, self.union.rights
        upper, below = root.layer, root.parts[1].layer
        if os.listdir(b"/proc/self/fd/%d" % upper.root.fd):
            return
        there, st = Location(upper.root), os.fstat(below.root.fd)
        mode, uid, gid, virtual = rights.split(*rights.true(st, NOTHING))
        with suppress(PermissionError):  # the layer's directory is somebody else's
            store.set_owner(there, uid, gid)
            store.set_mode(there, mode)
            root.virtual = store.set_virtual(there, virtual, root.virtual, must=rights.vstat)
            there.utime((st.st_atime_ns, st.st_mtime_ns))

    def directory(self, node: Node) -> Fd:
        """The upper part of a directory, made with those above it where there is none."""
        missing = []
        at = node
        while not at.in_upper:
            if not at.names:
                raise OSError(errno.ENOENT, "the directory is removed")
            missing.append(at)
            at = at.names[0][0]
        for at in reversed(missing):
            self._directory_up(at)
        return self.union.directory(node, node.layer)

    def up(self, node: Node, limit: int | None = None) -> None:
        """Copy a file up, or a directory without what is in it.

        Args:
            limit: the copy is to have that size, and no more of the data.
        """
        if node.in_upper:
            return
        if node.is_dir:
            self.directory(node)
            return
        st = self.union.stat(node)
        directory = self.directory(node.names[0][0]) if not node.held else None
        with self.work.making() as temp:
            fd, virtual = self._copy(node, st, temp, limit)
            there = self.work.at(temp)
            try:
                made = there.stat()
                if directory is None:
                    node.held = there.hold()
                else:
                    with times_kept(directory):
                        self.work.put(temp, directory, node.names[0][1])
                    there = Location(directory, node.names[0][1])
                links = self._index(node.parts[0].id, st, there)
            except BaseException:
                _close(fd)
                raise
        self._moved(node, made, virtual, links)
        if node.open is not None and fd != -1:
            node.open.replace(fd, fd)
        else:
            _close(fd)
        if links is not None:
            for parent, name in node.names[1:]:
                self._join(parent, name, links)

    def deep(self, node: Node) -> None:
        """Copy a directory up with all that is in it, so that it needs no layer below any more.

        Until the last moment this changes nothing that programs see, so it may fail half-way.
        """
        with self.union.using() as use:
            directories = self._all_up(node, use)
            layer = node.layer
            layer.set_mark(self.union.location(node), b"y")
            for directory in reversed(directories):
                fd = self.union.directory(directory, layer)
                with times_kept(fd):
                    for name in whiteouts(self.union, directory):
                        os.unlink(name, dir_fd=fd.fd)
                    layer.set_copied(Location(fd), False)
                self.union.memory.keep_ino(directory.parts[0].id, directory.ino)
                self.union.restack(directory, directory.parts[:1])
                directory.mark = b""
            node.mark = b"y"

    def _all_up(self, node: Node, use: Callable[[Node], None]) -> list[Node]:
        """Copy up all that is in a directory; those directories in it that have parts below."""
        directories, at = [node], 0
        use(node)
        while at < len(directories):
            directory = directories[at]
            self.directory(directory)
            at += 1
            for name in entries(self.union, directory):
                child = self.get(directory, name)
                if child is None:
                    continue
                if not child.is_dir:
                    self.up(child)
                    self.union.drop(child)
                elif len(child.parts) > 1 or not child.in_upper:
                    use(child)
                    directories.append(child)
        return directories

    def _directory_up(self, node: Node) -> None:
        parent, name = node.names[0]
        above = self.union.directory(parent, parent.layer)
        st = self.union.stat(node)
        with self.work.making() as temp:
            _, virtual = self._copy(node, st, temp, None)
            parent.layer.set_copied(self.work.at(temp), True)
            made = self.work.at(temp).stat()
            with times_kept(above):
                self.work.put(temp, above, name)
        upper = parent.layer
        self.union.restack(node, [Part(upper, (made.st_dev, made.st_ino)), *node.parts])
        node.virtual, node.mark = virtual, b""

    def _copy(
        self, node: Node, st: os.stat_result, temp: bytes, limit: int | None
    ) -> tuple[int, Virtual]:
        """Make a copy in `work`; a descriptor of it (-1: none), and what is virtual of it."""
        rights = self.union.rights
        source, there = self.union.location(node), self.work.at(temp)
        meant = rights.true(st, node.virtual)
        mode, uid, gid, virtual = rights.split(*meant, empty=st.st_size == 0)
        target = store.link_target(source, st) if stat.S_ISLNK(node.type) else b""
        fd = store.make(self.work.fd, temp, mode, 0o700, st.st_rdev, target)
        try:
            if fd != -1 and not target and stat.S_ISREG(st.st_mode):
                self._copy_data(node, source, st, fd, limit)
            store.set_owner(there, uid, gid)
            copy_xattrs(source, there, self.union.hidden, escaped=node.layer.changes)
            store.set_mode(there, mode)
            virtual = store.set_virtual(there, virtual, NOTHING, must=rights.vstat)
            if fd != -1 and self._sync:
                os.fsync(fd)
            there.utime((st.st_atime_ns, st.st_mtime_ns))
        except BaseException:
            _close(fd)
            raise
        return fd, virtual

    def _copy_data(
        self, node: Node, source: Location, st: os.stat_result, target: int, limit: int | None
    ) -> None:
        if limit == 0 or st.st_size == 0:
            return
        if node.open is not None and node.open.read != -1:
            copy_data(node.open.read, target, st.st_size, limit)
            return
        mine = self.union.rights.root or st.st_uid == self.union.rights.uid
        fd = open_source(source, mine)
        try:
            copy_data(fd, target, st.st_size, limit)
        finally:
            os.close(fd)

    def _moved(
        self, node: Node, made: os.stat_result, virtual: Virtual, links: Links | None
    ) -> None:
        id = made.st_dev, made.st_ino
        self.union.memory.keep_ino(id, node.ino)
        if links is not None:
            self.union.memory.copied(id, links)
        self.union.restack(node, [Part(self.work.upper, id)])
        node.virtual = virtual

    def _index(self, id: Id, st: os.stat_result, there: Location) -> Links | None:
        """Begin to look out for other names of a file, whose copy is there; None: it has none."""
        if st.st_nlink < 2:
            return None
        links = self.union.memory.count(id, st.st_nlink)
        self._indexed += 1
        index = b"links-%x" % self._indexed
        with suppress(OSError):  # without it the other names stay what they were
            there.link(self.work.fd.fd, index)
            links.index = index
        links.below -= 1
        return links

    def _join(self, parent: Node, name: bytes, links: Links) -> None:
        """Give a copy a name that its original has. Where that fails it is found all the same."""
        if links.index is None:
            return
        try:
            directory = self.directory(parent)
            with times_kept(directory):
                self.work.at(links.index).link(directory.fd, name)
        except OSError:
            return
        links.below -= 1


@contextmanager
def times_kept(directory: Fd) -> Iterator[None]:
    """Something appears in a directory that programs saw there all the time."""
    st = os.fstat(directory.fd)
    yield
    Location(directory).utime((st.st_atime_ns, st.st_mtime_ns))


def _close(fd: int) -> None:
    if fd != -1:
        os.close(fd)
