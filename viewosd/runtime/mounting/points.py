"""Mountpoints that do not exist.

The parent must be there. Where the view's owner may write in it, the mountpoint is made, a
directory or a file as what is mounted, and taken away again with the mount. Where it may not, the
parent is covered by a private copy of itself: a tmpfs that has each of its names with the real
thing bound to it, and the new one; so is a directory below /dev. Files in it are the real ones, so
writing to them is real; names that are made, removed or renamed in it from then on are the view's
alone, and what others add to the real directory does not show. It stays until the view ends, for
programs may have made files in it. Whoever stands in the covered directory goes on seeing it as it
was; so the root directory is covered only while nobody runs in the view.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, Final

from .callers import Caller, path_of
from .calls import MountCalls

log = logging.getLogger("viewosd")

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_HERE = os.O_PATH | os.O_DIRECTORY
AT_ONCE: Final = 48
"""So many names of a copy are there when it is; the rest follow, each in its own moment."""


class Point:
    """A mountpoint that was made.

    Attributes:
        path: where, in the view.
        parent: a descriptor of the directory that it was made in; -1 if that is not to be had.
        identity: device and inode, to take away nothing else that has its name by then.
    """

    def __init__(self, path: bytes, parent: int, identity: tuple[int, int], is_file: bool) -> None:
        self.path, self.parent = path, parent
        self.identity, self.is_file = identity, is_file

    @property
    def name(self) -> bytes:
        return os.path.basename(self.path)

    def become_file(self) -> None:
        """Be a file instead of a directory, before anything is mounted here."""
        os.rmdir(self.name, dir_fd=self.parent)
        self.identity = _made(self.parent, self.name, True)
        self.is_file = True

    def remove(self) -> None:
        """Take it away, if it still is what was made, and empty. Raises nothing."""
        parent, self.parent = self.parent, -1
        if parent < 0:
            return
        try:
            found = os.stat(self.name, dir_fd=parent, follow_symlinks=False)
            if (found.st_dev, found.st_ino) == self.identity:
                if self.is_file and not found.st_size:
                    os.unlink(self.name, dir_fd=parent)
                elif not self.is_file:
                    os.rmdir(self.name, dir_fd=parent)
        except OSError as error:
            log.info("the mountpoint %s stays: %s", os.fsdecode(self.path), error.strerror)
        finally:
            os.close(parent)

    def open_parent(self, space: MountCalls) -> None:
        """Of one that was `restored`."""
        if self.parent < 0:
            with suppress(OSError):
                self.parent = space.open(os.path.dirname(self.path), _HERE | os.O_CLOEXEC)

    def describe(self) -> list[Any]:
        """What `restored` needs."""
        return [self.path, list(self.identity), self.is_file]


def left(path: bytes, space: MountCalls) -> None:
    """Take away what a supervisor had just made when it died, if it is empty. Raises OSError."""
    parent = space.open(os.path.dirname(path), _HERE | os.O_CLOEXEC)
    try:
        name = os.path.basename(path)
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(name, dir_fd=parent)
        elif stat.S_ISREG(found.st_mode) and not found.st_size:
            os.unlink(name, dir_fd=parent)
    finally:
        os.close(parent)


def restored(state: list[Any]) -> Point:
    """The point again, in a successor."""
    path, identity, is_file = state
    return Point(path, -1, (identity[0], identity[1]), is_file)


async def remove(point: Point, space: MountCalls) -> None:
    """`Point.remove`, whoever serves the directory. Raises nothing."""

    def body() -> None:
        point.open_parent(space)
        point.remove()

    await space.aside(body)


async def make(
    path: bytes,
    is_file: bool,
    caller: Caller,
    space: MountCalls,
    begun: Callable[[bytes], None] = lambda path: None,
) -> Point:
    """Make a mountpoint.

    Args:
        path: as the caller wrote it; nothing is there.
        caller: `Caller.alone` if it may have the root directory covered.
        begun: told where, before anything is there.

    Raises:
        OSError: ENOENT, its parent is not there either; what the kernel says to making it.
    """
    # "../x/" and "x/.": the last name is what is made.
    head, name = os.path.split(path.rstrip(b"/"))
    if name in (b"", b".", b"..") or await space.aside(_is_link, path, caller):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    head = head or (b"/" if path.startswith(b"/") else b".")
    parent = await space.aside(caller.open, head, _HERE | os.O_CLOEXEC)
    try:
        path = path_of(parent).rstrip(b"/") + b"/" + name
        begun(path)
        try:
            if _is_of_devices(parent, path):
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
            identity = await space.aside(_made, parent, name, is_file)
        except OSError as error:
            at_root = path == b"/" + name
            if error.errno not in _DENIED or (at_root and not caller.alone):
                raise
            parent = await _copy(parent, space)
            identity = _made(parent, name, is_file)
        return Point(path, parent, identity, is_file)
    except BaseException:
        os.close(parent)
        raise


def _is_of_devices(parent: int, path: bytes) -> bool:
    """Is it a directory of the system's devices, below /dev? Two views of root's have the same
    mountpoints there as a rule, and who took one away would unmount what the other has on it.
    """
    below = path.startswith(b"/dev/") and os.path.dirname(path) != b"/dev"
    return below and os.fstat(parent).st_dev == os.stat("/dev").st_dev


def _is_link(path: bytes, caller: Caller) -> bool:
    """Is it a link that leads nowhere? Then it stays one."""
    try:
        os.close(caller.open(path.rstrip(b"/"), os.O_PATH | os.O_NOFOLLOW))
    except OSError:
        return False
    return True


def _made(parent: int, name: bytes, is_file: bool) -> tuple[int, int]:
    if is_file:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o644, dir_fd=parent))
    else:
        os.mkdir(name, 0o755, dir_fd=parent)
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    return found.st_dev, found.st_ino


async def _copy(parent: int, space: MountCalls) -> int:
    """Cover a directory by a copy of itself; a descriptor of the copy, and ``parent`` is closed."""
    before = await space.aside(os.fstat, parent)
    mode = f"{stat.S_IMODE(before.st_mode) | 0o700:o}"
    with ExitStack() as held:
        tree = await space.create("tmpfs", [("mode", mode), ("source", b"viewos")])
        held.callback(os.close, tree)
        below = []
        for name in await space.aside(_names, parent):
            if (copy := await _copy_name(parent, tree, name, space)) >= 0:
                held.callback(os.close, copy)
                below.append((name, copy))
        await space.attach(tree, parent, below[:AT_ONCE])
        for name, copy in below[AT_ONCE:]:
            there = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)
            try:
                await space.attach(copy, there)
            finally:
                os.close(there)
        top = os.open(b".", _HERE | os.O_CLOEXEC, dir_fd=tree)
    os.close(parent)
    return top


def _names(directory: int) -> list[bytes]:
    listing = os.open(b"/proc/self/fd/%d" % directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return [os.fsencode(name) for name in os.listdir(listing)]
    finally:
        os.close(listing)


def _looked_at(name: bytes, parent: int) -> tuple[int, int, bytes]:
    """A descriptor of it, its mode, and what it says if it is a link."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        kind = os.fstat(fd).st_mode
        return fd, kind, os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(kind) else b""
    except OSError:
        os.close(fd)
        raise


async def _copy_name(parent: int, top: int, name: bytes, space: MountCalls) -> int:
    """Make one name in the copy; the tree to attach there, or -1: it needs none."""
    source, kind, text = await space.aside(_looked_at, name, parent)
    try:
        if stat.S_ISLNK(kind):
            os.symlink(text, name, dir_fd=top)
            return -1
        _made(top, name, not stat.S_ISDIR(kind))
        return await space.clone(source)
    finally:
        os.close(source)
