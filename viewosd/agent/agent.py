"""The agent: one process inside the namespaces of a view that mounts there for the supervisor.

The supervisor stands outside. Mounts are made by who lives in the mount namespace and may; that is
this process, which has the view owner's rights and every capability of the view's user namespace.
It does one call at a time, in the order asked, and keeps its namespaces and what it has done for
calls that are not answered yet (`effects`). It outlives its supervisor: the successor finds the
other end of its socket parked. It ends when nobody holds that end any more.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from ..abi.fcntl import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS
from ..abi.mount import (
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FD,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_PATH,
    FSCONFIG_SET_PATH_EMPTY,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    FSPICK_CLOEXEC,
    FSPICK_EMPTY_PATH,
    MNT_DETACH,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_BIND,
    MS_MOVE,
    MS_PRIVATE,
    MS_REMOUNT,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
)
from . import frames, namespaces, unsafe
from .effects import Effects
from .unsafe import openat2

_HERE: Final = unsafe.AT_EMPTY_PATH
_PROPAGATION: Final = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE
_BINDS: Final = MS_BIND | MS_REMOUNT
_NO_PLACE: Final = (FileNotFoundError, NotADirectoryError, PermissionError)
_PATHS: Final = (FSCONFIG_SET_PATH, FSCONFIG_SET_PATH_EMPTY)


class Agent:
    """What the agent can do: a method for each verb. Each gets the descriptors that came along,
    which are closed afterwards, and returns a result and descriptors that go back.
    """

    def __init__(self, ours: namespaces.Namespaces) -> None:
        self._ours = ours
        self.effects = Effects()
        self.undo: bytes | None = None
        """What the last call has done, if anything: `Effects.note`."""
        self._always = 0 if ours.user is None else MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV

    def keep(self) -> set[int]:
        """Descriptors that stay open though they have gone back."""
        return self._ours.fds()

    def hello(self, fds: list[int]) -> tuple[Any, list[int]]:
        """Our process id and the names of the namespaces that go back: as of `Namespaces`."""
        found = {name: fd for name, fd in self._ours._asdict().items() if fd is not None}
        return [os.getpid(), list(found)], list(found.values())

    def live_in(self, fds: list[int]) -> tuple[Any, list[int]]:
        """``fds``: the network namespace to be in. Whoever comes in by us comes into it as well,
        and a sysfs that is mounted shows it.
        """
        unsafe.setns(fds[0], unsafe.CLONE_NEWNET)
        if self._ours.net is not None:
            os.close(self._ours.net)
        self._ours = self._ours._replace(net=os.dup(fds[0]))
        return None, []

    def fsopen(self, fds: list[int], name: bytes, flags: int) -> tuple[Any, list[int]]:
        return None, [unsafe.fsopen(name, flags | FSOPEN_CLOEXEC)]

    def mount(
        self,
        fds: list[int],
        source: list[Any] | None,
        fstype: bytes | None,
        flags: int,
        data: list[Any] | None,
    ) -> tuple[Any, list[int]]:
        """mount(2). ``fds``: the mountpoint, then what the numbers in the strings stand for."""
        where = _path_of(fds[0])
        unsafe.mount(
            _text(source, fds), b"/proc/self/fd/%d" % fds[0], fstype, flags, _text(data, fds)
        )
        makes = not flags & (MS_REMOUNT | MS_MOVE | _PROPAGATION) or flags & _BINDS == MS_BIND
        self.undo = where if makes else b""
        return None, []

    def fsconfig(
        self, fds: list[int], cmd: int, key: bytes | None, value: bytes | None
    ) -> tuple[Any, list[int]]:
        """``fds``: the context, and the call's ``aux``, if any.

        The context is a program's, which will want to read from it what went wrong.
        """
        aux = fds[1] if len(fds) > 1 else unsafe.AT_FDCWD if cmd in _PATHS else 0
        unsafe.fsconfig(fds[0], cmd, key, value, aux, explained=False)
        self.undo = b""
        return None, []

    def fsmount(self, fds: list[int], flags: int, attributes: int) -> tuple[Any, list[int]]:
        mount = unsafe.fsmount(fds[0], flags | FSMOUNT_CLOEXEC, attributes | self._always)
        self.undo = b""
        return None, [mount]

    def fspick(self, fds: list[int], flags: int) -> tuple[Any, list[int]]:
        flags |= FSPICK_CLOEXEC | FSPICK_EMPTY_PATH
        return None, [unsafe.fspick(fds[0], b"", flags)]

    def open_tree(self, fds: list[int], flags: int) -> tuple[Any, list[int]]:
        return None, [unsafe.open_tree(fds[0], b"", flags | OPEN_TREE_CLOEXEC | _HERE)]

    def clone(self, fds: list[int], recursive: bool) -> tuple[Any, list[int]]:
        return self.open_tree(fds, OPEN_TREE_CLONE | (unsafe.AT_RECURSIVE if recursive else 0))

    def move_mount(self, fds: list[int], flags: int) -> tuple[Any, list[int]]:
        """``fds``: what, and where to."""
        flags |= MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
        unsafe.move_mount(fds[0], b"", fds[1], b"", flags)
        self.undo = b""
        return None, []

    def mount_setattr(self, fds: list[int], flags: int, attr: bytes) -> tuple[Any, list[int]]:
        unsafe.mount_setattr(fds[0], b"", flags | _HERE, attr)
        self.undo = b""
        return None, []

    def umount(self, fds: list[int], path: bytes, flags: int) -> tuple[Any, list[int]]:
        unsafe.umount2(path, flags)
        self.undo = b""
        return None, []

    def recall(self, fds: list[int], token: bytes) -> tuple[Any, list[int]]:
        return self.effects.recall(token)

    def take_back(self, fds: list[int], token: bytes) -> tuple[Any, list[int]]:
        self.effects.undo(token)
        return None, []

    def forget(self, fds: list[int], token: bytes) -> tuple[Any, list[int]]:
        self.effects.forget(token)
        return None, []

    def create(
        self, fds: list[int], name: bytes, options: list[Any], attributes: int
    ) -> tuple[Any, list[int]]:
        """A file system, attached nowhere. ``options``: [name, value] with a string, None for a
        flag, or the number of a descriptor that came along.
        """
        context = unsafe.fsopen(name, FSOPEN_CLOEXEC)
        try:
            for key, value in options:
                _configure(context, key, value, fds)
            unsafe.fsconfig(context, FSCONFIG_CMD_CREATE, None, None)
            return self.fsmount([context], 0, attributes)
        finally:
            self.undo = None
            os.close(context)

    def fuse(self, fds: list[int], options: list[Any], attributes: int) -> tuple[Any, list[int]]:
        """A FUSE file system, attached nowhere; /dev/fuse for its server goes back as well."""
        # It must be opened in the user namespace of the mount: fs/fuse/inode.c:fuse_get_tree().
        try:
            device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise OSError(error.errno, f"/dev/fuse can't be opened: {error.strerror}") from None
        _, mount = self.create([device], b"fuse", [*options, [b"fd", 0]], attributes)
        return None, [*mount, device]

    def attach(self, fds: list[int], below: list[bytes]) -> tuple[Any, list[int]]:
        """Attach a tree, and trees below it. ``fds``: the mountpoint, the tree, those below.

        At the root: make it the root of the namespace, and of everybody whose root that is now.
        """
        target, tree, *others = fds
        at_root = _is_root(target)
        self.move_mount([tree, target], 0)
        try:
            for path, other in zip(below, others, strict=True):
                _attach_below(tree, path, other)
            if at_root:
                os.fchdir(tree)
                unsafe.pivot_root(b".", b".")
                # The old root lies on the new one now: pivot_root(2), NOTES.
                unsafe.umount2(b".", MNT_DETACH)
            self.undo = b"" if at_root else _path_of(tree)
        except OSError:
            os.fchdir(tree)
            unsafe.umount2(b".", MNT_DETACH)
            raise
        finally:
            os.chdir("/")
        return None, []


def _path_of(fd: int) -> bytes:
    return os.readlink(b"/proc/self/fd/%d" % fd)


def _is_root(fd: int) -> bool:
    # Not by fstat(2): a server might be asked, and be waiting for us.
    return _path_of(fd) == b"/"


def _attach_below(tree: int, path: bytes, other: int) -> None:
    for name in path.split(b"/"):
        if name in (b"", b".", b".."):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    flags = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
    try:
        there = openat2(tree, path, os.O_PATH | os.O_CLOEXEC, 0, flags)
    except _NO_PLACE:
        return  # it was there a moment ago: somebody's socket, that he has taken away
    try:
        # This follows mounts, so a tree can be attached in one that was attached before.
        unsafe.move_mount(other, b"", there, b"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
    finally:
        os.close(there)


def _text(pieces: list[Any] | None, fds: list[int]) -> bytes | None:
    """A string with the numbers of our descriptors in the place of the supervisor's."""
    if pieces is None:
        return None
    return b"".join(p if isinstance(p, bytes) else b"%d" % fds[p] for p in pieces)


def _configure(context: int, key: bytes, value: Any, fds: list[int]) -> None:
    if value is None:
        unsafe.fsconfig(context, FSCONFIG_SET_FLAG, key, None)
    elif isinstance(value, bytes):
        unsafe.fsconfig(context, FSCONFIG_SET_STRING, key, value)
    else:
        try:
            unsafe.fsconfig(context, FSCONFIG_SET_FD, key, None, fds[value])
        except OSError:
            # fuse takes a number, and so did overlay's layers take a path until Linux 6.13.
            text = b"%d" if key == b"fd" else b"/proc/self/fd/%d"
            unsafe.fsconfig(context, FSCONFIG_SET_STRING, key, text % fds[value])


def serve(end: socket.socket, ours: namespaces.Namespaces) -> None:
    """Answer until nobody can ask any more."""
    agent = Agent(ours)
    while (request := frames.request(end)) is not None:
        (number, verb, args, token), fds = request
        back: list[int] = []
        agent.undo = None
        try:
            method: Callable[..., tuple[Any, list[int]]] = getattr(agent, verb)
            result, back = method(fds, *args)
            if token and agent.undo is not None:
                # Before the answer: nobody dies in between but we.
                agent.effects.note(token, verb, agent.undo, back)
            frames.send(end, [number, 0, "", result], back)
        except OSError as error:
            code = error.errno or errno.EIO
            frames.send(end, [number, code, error.strerror or os.strerror(code), None], [])
        finally:
            frames.close_all([fd for fd in {*fds, *back} if fd not in agent.keep()])
