"""rename(2): a name moves, over another if there is one, or two change places.

A directory that has a part below the upper layer is copied up whole first, for no layer says "it is
over there now" (redirect_dir is off). The kernel's overlayfs says EXDEV instead, and leaves the
copying to the program; but many programs never copy, and what they see here is an ordinary rename.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from . import store
from .changes import DENIED, Changes
from .copying import copy_xattrs
from .location import Fd, Location
from .names import Names
from .node import Node
from .union import MINCOW, Found
from .unsafe import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, renameat2
from .virtual import STAT


class Moving:
    """For one union."""

    def __init__(self, changes: Changes, names: Names) -> None:
        self._changes, self._names, self._union = changes, names, changes.union

    def rename(self, parent: Node, name: bytes, to: Node, to_name: bytes, flags: int) -> None:
        """Move a name.

        Raises:
            OSError: EINVAL also for RENAME_WHITEOUT: a layer can't tell such a whiteout from its
                own (as ovl_rename()). EXDEV: one name is excepted, the other is not.
        """
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE) or flags == 3:
            raise OSError(errno.EINVAL, "no such rename here")
        node = self._changes.must_get(parent, name)
        with self._union.using() as use:
            use(node)
            target = self._changes.get(to, to_name)
            if target is not None:
                use(target)
            self._check(node, target, to, flags)
            if target is not node:
                self._rename(parent, name, node, to, to_name, target, flags)

    def _rename(
        self,
        parent: Node,
        name: bytes,
        node: Node,
        to: Node,
        to_name: bytes,
        target: Node | None,
        flags: int,
    ) -> None:
        really = self._changes.goes_really(parent, name)
        if really != self._changes.goes_really(to, to_name):
            raise OSError(errno.EXDEV, "one of the names is excepted")
        found = self._union.find(to, to_name) if target is not None else None
        held = self._names.last_held(target) if target is not None else None
        moved = False
        if really or self._union.layers.mode == MINCOW:
            moved = self._in_plain(parent, name, node, to, to_name, target, flags, really)
        if not moved and really:
            raise OSError(errno.EROFS, "one of the names lies in a layer that is read-only")
        if not moved:
            self._in_upper(parent, name, node, to, to_name, target, flags)
        self._renamed(parent, name, node, to, to_name, target, found, held, flags, moved)

    def _check(self, node: Node, target: Node | None, to: Node, flags: int) -> None:
        """What the kernel checks before it asks us, and what it can't know."""
        if target is None and flags & RENAME_EXCHANGE:
            raise OSError(errno.ENOENT, "no such name")
        if target is not None and flags & RENAME_NOREPLACE:
            raise OSError(errno.EEXIST, "the name exists")
        if node.excepts or (target is not None and target.excepts):
            raise OSError(errno.EBUSY, "something in it is excepted")
        above = to
        while node.is_dir and above.names:
            if above is node:
                raise OSError(errno.EINVAL, "a directory can't be moved into itself")
            above = above.names[0][0]
        if target is None or target is node or flags & RENAME_EXCHANGE:
            return
        if node.is_dir:
            self._names.must_be_empty(target)
        elif target.is_dir:
            raise OSError(errno.EISDIR, "it is a directory")

    def _in_plain(
        self,
        parent: Node,
        name: bytes,
        node: Node,
        to: Node,
        to_name: bytes,
        target: Node | None,
        flags: int,
        really: bool,
    ) -> bool:
        """Move it in the plain tree, if both names are there alone, and it may be."""
        plain = self._union.layers.plain
        if node.layer is not plain or (target is not None and target.layer is not plain):
            return False
        old = self._changes.plain_directory(parent, name)
        new = self._changes.plain_directory(to, to_name)
        if old is None or new is None:
            return False
        try:
            renameat2(old.fd, name, new.fd, to_name, flags)
        except OSError as error:
            if really or error.errno not in DENIED:
                raise
            return False
        self._changes.touch(parent)
        self._changes.touch(to)
        return True

    def _in_upper(
        self,
        parent: Node,
        name: bytes,
        node: Node,
        to: Node,
        to_name: bytes,
        target: Node | None,
        flags: int,
    ) -> None:
        copyup = self._changes.copyup
        covers, covered = self._union.below(parent, name), self._union.below(to, to_name)
        self._lift(node, covered)
        if flags & RENAME_EXCHANGE and target is not None:
            self._lift(target, covers)
        old, new = copyup.directory(parent), copyup.directory(to)
        if flags & RENAME_EXCHANGE:
            renameat2(old.fd, name, new.fd, to_name, RENAME_EXCHANGE)
            return
        if node.is_dir and self._changes.is_there(to, to_name, to.layer):
            if target is None:  # a whiteout: it changes places with the directory
                renameat2(old.fd, name, new.fd, to_name, RENAME_EXCHANGE)
                if not covers:
                    os.unlink(name, dir_fd=old.fd)
                return
            self._clear(new, to_name, covered)
        self._move(parent, old, name, new, to_name, covers)

    def _lift(self, node: Node, covered: bool) -> None:
        """Have a node in the upper layer alone, fit to be where something is ``covered``."""
        copyup = self._changes.copyup
        if not node.is_dir:
            copyup.up(node)
            return
        if len(node.parts) > 1 or not node.in_upper:
            copyup.deep(node)
        elif covered and node.mark != b"y":
            node.layer.set_mark(self._union.location(node), b"y")
            node.mark = b"y"

    def _clear(self, directory: Fd, name: bytes, covered: bool) -> None:
        """Put an empty directory in the place of one that has whiteouts in it.

        It is like the other, for we may be killed before it is replaced.
        """
        work, old = self._changes.copyup.work, Location(directory, name)
        st = old.stat()
        with work.making() as temp:
            there = work.at(temp)
            os.mkdir(temp, 0o700, dir_fd=work.fd.fd)
            store.set_owner(there, st.st_uid, st.st_gid)
            copy_xattrs(old, there, self._union.hidden, escaped=True)
            with suppress(OSError):  # most have none
                there.setxattr(STAT, old.getxattr(STAT))
            there.chmod(st.st_mode)
            there.utime((st.st_atime_ns, st.st_mtime_ns))
            if covered:
                work.upper.set_mark(there, b"y")
            work.exchange(temp, directory, name)

    def _move(
        self, parent: Node, old: Fd, name: bytes, new: Fd, to_name: bytes, covers: bool
    ) -> None:
        if not covers:
            renameat2(old.fd, name, new.fd, to_name)
            return
        try:
            renameat2(old.fd, name, new.fd, to_name, RENAME_WHITEOUT)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
                raise
            # Not every file system can. What is below shows again if we are killed in between.
            renameat2(old.fd, name, new.fd, to_name)
            self._names.cover(parent, name)

    def _renamed(
        self,
        parent: Node,
        name: bytes,
        node: Node,
        to: Node,
        to_name: bytes,
        target: Node | None,
        found: Found | None,
        held: Fd | None,
        flags: int,
        really: bool,
    ) -> None:
        """Let the nodes know."""
        union = self._union
        if flags & RENAME_EXCHANGE and target is not None:
            for moved, old, new in (
                (node, (parent, name), (to, to_name)),
                (target, (to, to_name), (parent, name)),
            ):
                moved.names[moved.names.index(old)] = new
            parent.children[name], to.children[to_name] = target, node
            return
        if target is not None and found is not None:
            self._names.gone(target, found, really=really)
            self._names.lose(target, to, to_name, held)
        union.name(node, to, to_name)
        union.unname(node, parent, name, keep=True)
