"""What a tracee holds of mounts in the making, where it is not the kernel's own object.

A context of a type that a service offers is one end of a socket pair: fsconfig(2) on it is
answered here, messages to be read from it are sent down it, and its end is seen when the tracee has
closed it. A tree that is attached nowhere can't be given to a tracee as it is: seccomp's ADDFD
refuses O_PATH descriptors (fs/file.c:fget()). It gets the root directory opened for reading where
that can be done without asking a server, which the mount calls take as well; else a stand-in, an
empty directory. Both are known by the id of the mount that they lie in.

All of it is gone with the supervisor: a successor knows that something was in the making, and says
ESTALE of it.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from collections.abc import Callable
from typing import Final

from ...service import Service
from . import options as opts
from .callers import mount_of, path_of

MOST_TREES: Final = 128
"""Trees in the making that are kept; the kernel does not tell when a tracee has closed one."""


class Context:
    """A file system that is being described, in place of fsopen(2)'s.

    Attributes:
        type: as fsopen(2) was told.
        service: whose type it is; None: fuse, of an ordinary user.
        device: fuse's descriptor, ours; -1 if none was given.
        created: FSCONFIG_CMD_CREATE has been.
        tree: what that made, of fuse; -1.
    """

    def __init__(self, type: str, service: Service | None, ours: socket.socket) -> None:
        self.type, self.service, self._ours = type, service, ours
        self.source: bytes | None = None
        self.options: opts.Options = []
        self.device = self.tree = -1
        self.created = self.mounted = False

    def complain(self, text: str) -> OSError:
        """EINVAL, with a message for whoever reads the context: fsconfig(2)."""
        self.tell(text)
        return OSError(errno.EINVAL, text)

    def tell(self, text: str) -> None:
        """Leave a message of an error to be read."""
        try:
            self._ours.send(b"e " + text.encode(errors="replace")[:1024])
        except OSError:
            pass  # nobody reads them, or has it any more

    def set(self, name: str, value: str) -> None:
        """One parameter. Raises OSError: EINVAL, EBUSY once it is created."""
        if self.created:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        if name == "source":
            if self.source is not None:
                raise self.complain("VFS: Multiple sources")  # as the kernel puts it
            self.source = os.fsencode(value)
        else:
            self.options.append((name, value))

    def closed(self) -> bool:
        """Has the tracee no descriptor of it any more?"""
        poll = select.poll()
        poll.register(self._ours, 0)
        return bool(poll.poll(0))

    def close(self) -> None:
        self._ours.close()
        for fd in (self.device, self.tree):
            if fd >= 0:
                os.close(fd)
        self.device = self.tree = -1


class Contexts:
    """Those that are open, by the inode of the tracee's end."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._open: dict[int, Context] = {}
        self._changed = changed
        self.lost: set[tuple[str, int]] = set()

    def __bool__(self) -> bool:
        return bool(self._open or self.lost)

    def names(self) -> list[tuple[str, int]]:
        """Of those that there are, for a successor to know."""
        return [("context", inode) for inode in self._open]

    def make(self, type: str, service: Service | None) -> int:
        """A new one; the tracee's end, to be given to it."""
        for inode in [inode for inode, one in self._open.items() if one.closed()]:
            self._open.pop(inode).close()
        ours, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
        )
        with theirs:
            self._open[os.fstat(theirs.fileno()).st_ino] = Context(type, service, ours)
            self._changed()
            return theirs.detach()

    def find(self, fd: int) -> Context | None:
        """The context that a descriptor is."""
        found = os.fstat(fd)
        if not stat.S_ISSOCK(found.st_mode):
            return None
        if ("context", found.st_ino) in self.lost and found.st_ino not in self._open:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return self._open.get(found.st_ino)

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


class Tree:
    """A tree that is attached nowhere, or will be made when it is known where.

    Attributes:
        fd: the tree, or the stand-in for one that is to be made; ours.
        stand_in: what the tracee has in its place, ours, or -1.
        context: what is to be made; None: it is there.
        attributes: MOUNT_ATTR_* for what is to be made.
        flags: MOVE_MOUNT_* that it is to be attached with.
        is_the_kernels: the kernel can attach it, if its mountpoint is there.
    """

    def __init__(
        self, fd: int, stand_in: int = -1, context: Context | None = None, attributes: int = 0
    ) -> None:
        self.fd, self.stand_in = fd, stand_in
        self.context, self.attributes = context, attributes
        self.flags = 0
        self.is_the_kernels = False

    def close(self) -> None:
        for fd in (self.fd, self.stand_in):
            if fd >= 0:
                os.close(fd)
        self.fd = self.stand_in = -1


class Trees:
    """Those in the making, by the id of the mount that the tracee's descriptor lies in."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._trees: dict[int, Tree] = {}
        self._changed = changed
        self.lost: set[tuple[str, int]] = set()

    def __bool__(self) -> bool:
        return bool(self._trees or self.lost)

    def names(self) -> list[tuple[str, int]]:
        """Of those that there are, for a successor to know."""
        return [("tree", mount) for mount in self._trees]

    def add(self, tree: Tree) -> int:
        """Remember one.

        Returns:
            What to give to the tracee in its place.

        Raises:
            OSError: it can't be opened; it is closed then.
        """
        shown = tree.fd if tree.stand_in < 0 else tree.stand_in
        try:
            given = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=shown)
        except OSError:
            tree.close()
            raise
        while len(self._trees) >= MOST_TREES:
            self._trees.pop(next(iter(self._trees))).close()
        self._trees[mount_of(shown)] = tree
        self._changed()
        return given

    def find(self, fd: int) -> Tree | None:
        """The tree whose root a descriptor is, or stands in for."""
        if not self:
            return None
        mount = mount_of(fd)
        # The number may be another mount's by now; but one that is attached has a path.
        lost = ("tree", mount) in self.lost and path_of(fd) == b"/"
        if lost and mount not in self._trees:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return self._trees.get(mount)

    def drop(self, tree: Tree) -> None:
        """It is attached, or no more wanted."""
        self._trees = {id: one for id, one in self._trees.items() if one is not tree}
        tree.close()

    def close(self) -> None:
        while self._trees:
            self._trees.popitem()[1].close()
