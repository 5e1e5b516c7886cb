"""Attributes and extended attributes of nodes: read, and changed."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from viewosd.filetree import Attr, SetAttr

from . import store
from .changes import Changes
from .copyup import times_kept
from .location import Location
from .node import Node, Part
from .virtual import NOTHING, STAT, Virtual, parse

_STAT: Final = STAT.encode()
_ANY_TYPE: Final = b"system.viewos.stat"
"""The same of any file: the kernel lets links and devices have no `user.` xattr, xattr(7)."""


class Attributes:
    """For one union."""

    def __init__(self, changes: Changes) -> None:
        self._changes, self._union, self._rights = changes, changes.union, changes.union.rights

    def set(self, node: Node, change: SetAttr) -> Attr:
        """All but the size."""
        if (change.mode, change.uid, change.gid) != (None, None, None) or change.kill_suidgid:
            self._own(node, change)
        if change.atime_ns is not None or change.mtime_ns is not None:
            self._times(node, change)
        return self._union.attr(node)

    def _own(self, node: Node, change: SetAttr) -> None:
        st = self._union.stat(node)
        mode, uid, gid, rdev = self._rights.true(st, node.virtual)
        if not self._rights.vstat:
            mode, *_ = self._rights.shown(st, node.virtual, upper=node.in_upper)
        if change.mode is not None:
            mode = stat.S_IFMT(mode) | stat.S_IMODE(change.mode)
        before = mode
        chowns = change.mode is None and (change.uid, change.gid) != (None, None)
        # chown(2) takes them away too; with `killpriv` the kernel leaves that to us.
        if change.kill_suidgid or (chowns and self._rights.vstat and not node.is_dir):
            mode &= ~stat.S_ISUID & ~(stat.S_ISGID if mode & stat.S_IXGRP else 0)
        if mode == before and (change.mode, change.uid, change.gid) == (None, None, None):
            return
        if self._rights.vstat:
            uid = uid if change.uid is None else change.uid
            gid = gid if change.gid is None else change.gid
            self._virtually(node, mode, uid, gid, rdev)
            return

        def act(there: Location) -> None:
            store.set_owner(
                there,
                -1 if change.uid is None else change.uid,
                -1 if change.gid is None else change.gid,
            )
            if change.mode is not None or change.kill_suidgid:
                self._set_mode(node, there, mode)

        self._changes.change(node, act)

    def _set_mode(self, node: Node, there: Location, mode: int) -> None:
        """Of a file that is the owner's, as far as the owner may know."""
        if node.in_upper and not self._rights.root:
            perm = stat.S_IMODE(mode)
            real = perm | 0o700 if node.is_dir else perm
            if node.is_dir:
                before = node.virtual
                virtual = Virtual(perm if real != perm else None)
                node.virtual = store.set_virtual(there, virtual, before, must=real != perm)
            mode = stat.S_IFMT(mode) | real
        store.set_mode(there, mode)

    def _virtually(self, node: Node, mode: int, uid: int, gid: int, rdev: int) -> None:
        """Give attributes that are the view's alone."""
        if not self._changes.really(node):
            self._changes.copyup.up(node)
        else:
            self._changes.must_be_plain(node)
        there = self._union.location(node)
        st = there.stat()
        real, _, _, virtual = self._rights.split(mode, uid, gid, rdev)
        if stat.S_ISREG(st.st_mode) and not stat.S_ISREG(mode):  # it is kept in one already
            real, virtual = stat.S_IFREG | 0o600, virtual._replace(mode=mode)
        elif stat.S_IFMT(real) != stat.S_IFMT(st.st_mode):
            self._as_regular(node, there, st, virtual)
            return
        store.set_mode(there, real)
        node.virtual = store.set_virtual(there, virtual, node.virtual, must=True)

    def _as_regular(
        self, node: Node, there: Location, st: os.stat_result, virtual: Virtual
    ) -> None:
        """Keep a link, FIFO or socket in a regular file, which can have virtual attributes."""
        if self._changes.really(node) or not node.names:
            raise OSError(errno.EPERM, "its attributes can't be virtual here")
        copyup, union = self._changes.copyup, self._union
        target = there.readlink() if stat.S_ISLNK(st.st_mode) else b""
        old, made = node.parts[0], None
        with copyup.work.making() as first:
            os.close(store.make(copyup.work.fd, first, stat.S_IFREG, 0o600, 0, target))
            new = copyup.work.at(first)
            store.set_virtual(new, virtual, NOTHING, must=True)
            new.utime((st.st_atime_ns, st.st_mtime_ns))
            made = new.stat()
            for parent, name in node.names:
                directory = copyup.directory(parent)
                with copyup.work.making() as temp, times_kept(directory):
                    new.link(copyup.work.fd.fd, temp)
                    copyup.work.put(temp, directory, name)
        union.forget_storage(old.id)
        union.restack(node, [Part(old.layer, (made.st_dev, made.st_ino))])
        union.memory.keep_ino((made.st_dev, made.st_ino), node.ino)
        node.virtual = virtual

    def _times(self, node: Node, change: SetAttr) -> None:
        def act(there: Location) -> None:
            if change.atime_now and change.mtime_now:
                there.utime(None)
                return
            st = there.stat()
            there.utime(
                (
                    st.st_atime_ns if change.atime_ns is None else change.atime_ns,
                    st.st_mtime_ns if change.mtime_ns is None else change.mtime_ns,
                )
            )

        self._changes.change(node, act)

    def readlink(self, node: Node) -> bytes:
        """A symbolic link's target."""
        if not stat.S_ISLNK(node.type):
            raise OSError(errno.EINVAL, "it is no symbolic link")
        return store.link_target(self._union.location(node), self._union.stat(node))

    def access(self, node: Node, mask: int) -> None:
        """Where the kernel does not check: all that can be read, or is empty, may be written, in a
        copy.
        """
        there, asked = self._union.location(node), mask
        if not self._changes.really(node) and asked & os.W_OK and not node.in_upper:
            empty = stat.S_ISREG(node.type) and not there.stat().st_size
            asked = asked & os.X_OK if empty else asked & ~os.W_OK | os.R_OK
        allowed = there.access(asked)
        if stat.S_ISREG(node.type) and asked & os.X_OK:
            mode = self._union.attr(node).mode
            allowed = bool(mode & 0o111) and (node.in_upper or allowed)
        if not allowed:
            raise OSError(errno.EACCES, "not permitted")

    # Extended attributes

    def getxattr(self, node: Node, name: bytes) -> bytes:
        """One. With ``vstat``, `user.viewos.stat` tells all that is meant, virtual or not."""
        if name in (_STAT, _ANY_TYPE):
            if not self._rights.vstat:
                raise OSError(errno.ENODATA, "no such attribute")
            mode, uid, gid, rdev = self._rights.true(self._union.stat(node), node.virtual)
            return Virtual(mode, uid, gid, rdev).text()
        return self._union.location(node).getxattr(self._stored(node, name))

    def listxattr(self, node: Node) -> list[bytes]:
        """Names, as programs see them."""
        names = self._union.location(node).listxattr()
        if not node.layer.changes:
            return [name for name in names if name != _STAT]
        shown = [self._union.hidden.shown(name) for name in names]
        return [name for name in shown if name is not None]

    def setxattr(self, node: Node, name: bytes, value: bytes, flags: int) -> None:
        """Set one. With ``vstat``, `user.viewos.stat` is chown(2), chmod(2), mknod(2)."""
        if name in (_STAT, _ANY_TYPE):
            self._set_stat(node, value)
            return
        self._changes.change(
            node, lambda there: there.setxattr(self._stored(node, name), value, flags)
        )

    def removexattr(self, node: Node, name: bytes) -> None:
        """Remove one."""
        if name in (_STAT, _ANY_TYPE):
            raise OSError(errno.EPERM, "it is kept by the view")
        self.getxattr(node, name)  # nothing is copied up for what is not there
        self._changes.change(node, lambda there: there.removexattr(self._stored(node, name)))

    def _stored(self, node: Node, name: bytes) -> bytes:
        """A plain tree has a name as it is."""
        return self._union.hidden.stored(name) if node.layer.changes else name

    def _set_stat(self, node: Node, text: bytes) -> None:
        if not self._rights.vstat:
            raise OSError(errno.EPERM, "attributes are virtual with vstat only")
        try:
            want = parse(text)
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from None
        mode, uid, gid, rdev = self._rights.true(self._union.stat(node), node.virtual)
        if want.mode is not None:
            mode = (want.type or stat.S_IFMT(mode)) | stat.S_IMODE(want.mode)
        changes_type = stat.S_IFMT(mode) != node.type
        if changes_type and (stat.S_IFREG not in (node.type, stat.S_IFMT(mode)) or node.is_dir):
            raise OSError(errno.EINVAL, "a type that it can't have")
        self._virtually(
            node,
            mode,
            uid if want.uid is None else want.uid,
            gid if want.gid is None else want.gid,
            rdev if want.rdev is None else want.rdev,
        )
        if changes_type:
            self._union.retype(node)
