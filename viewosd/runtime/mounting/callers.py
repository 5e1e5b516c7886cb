"""Whose eyes a path of a mount is seen with: the tracee that asked, or the view's owner."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from typing import Protocol

from ...abi.mount import UMOUNT_NOFOLLOW
from ...space import Space
from ...tracee import AT_FDCWD, Tracee
from ..resolve import Walk
from ..tracee import waiting

_FD = re.compile(rb"/proc/(?:self|thread-self|(\d+))/fd/(\d+)|/dev/fd/(\d+)")


class Caller(Protocol):
    """Opens paths, and descriptors by number, until it is closed.

    Attributes:
        alone: nobody runs in the view yet.
    """

    alone: bool

    def open(self, path: bytes, flags: int) -> int:
        """A descriptor of ours, close-on-exec. Raises OSError as open(2) would."""

    def fd(self, number: int) -> int:
        """Our duplicate of a descriptor of the caller's. Raises OSError: EBADF."""

    def close(self) -> None:
        """Let go what was held."""


class Asking:
    """A tracee, and what is left of it when its call is restarted: its root and its directory. So
    `open` may be called aside.

    A path that is written as one of its own descriptors is that descriptor, though magic links are
    not followed otherwise: mount(8), bwrap and others name what they have opened that way.
    """

    alone = False

    def __init__(self, tracee: Tracee) -> None:
        self._tracee, self._pid, self._tid = tracee, tracee.pid, tracee.tid
        self._root = tracee.open(AT_FDCWD, b"/", os.O_PATH | os.O_DIRECTORY)
        try:
            self._cwd = tracee.open(AT_FDCWD, b".", os.O_PATH | os.O_DIRECTORY)
        except OSError:
            self._cwd = os.dup(self._root)

    def open(self, path: bytes, flags: int) -> int:
        if (number := self._own(path)) is not None:
            ours = self.fd(number)
            try:
                return _again(ours, flags)
            finally:
                os.close(ours)
        walk = Walk(self._root, self._cwd, lambda: self._pid, self._tid, 0)
        fd = walk.open(path, flags | _ours(flags), 0)
        return fd if flags & (os.O_PATH | os.O_NONBLOCK) else waiting(fd)

    def _own(self, path: bytes) -> int | None:
        match = _FD.fullmatch(path)
        if match is None or match[1] not in (None, b"%d" % self._pid):
            return None
        return int(match[2] or match[3])

    def fd(self, number: int) -> int:
        with self._tracee.fd(number) as ours:
            return os.dup(ours)

    def close(self) -> None:
        for fd in (self._root, self._cwd):
            os.close(fd)


def _again(fd: int, flags: int) -> int:
    """Open what a descriptor is, with other flags."""
    if flags & os.O_PATH:
        return os.dup(fd)
    return os.open(b"/proc/self/fd/%d" % fd, flags & ~os.O_NOFOLLOW | _ours(flags))


def _ours(flags: int) -> int:
    """What is added for us; O_PATH takes little beside it: openat2(2)."""
    return os.O_CLOEXEC | (0 if flags & os.O_PATH else os.O_NOCTTY | os.O_NONBLOCK)


class Owner:
    """The view's owner, who asks through the control socket with absolute paths of the view."""

    def __init__(self, space: Space, alone: bool = False) -> None:
        self.alone = alone
        self._open: Callable[[bytes, int], int] = space.open

    def open(self, path: bytes, flags: int) -> int:
        return self._open(path, flags | os.O_CLOEXEC)

    def fd(self, number: int) -> int:
        raise OSError(9, os.strerror(9))

    def close(self) -> None:
        pass


def to_unmount(open: Callable[[bytes, int], int], path: bytes, flags: int) -> int:
    """A descriptor of what umount2(2) is to take away.

    What is mounted there may be a link that leads nowhere, so that it seems not to be there.
    """
    try:
        return open(path, os.O_PATH | (os.O_NOFOLLOW if flags & UMOUNT_NOFOLLOW else 0))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            raise
    return open(path, os.O_PATH | os.O_NOFOLLOW)


def path_of(fd: int) -> bytes:
    """Where what a descriptor is lies, as its own mount namespace shows it: proc_pid_fd(5)."""
    return os.readlink(b"/proc/self/fd/%d" % fd)


def mount_of(fd: int) -> int:
    """The id of the mount that a descriptor lies in, as mountinfo has it: proc_pid_fdinfo(5)."""
    with open(f"/proc/self/fdinfo/{fd}", "rb", 0) as file:
        for line in file.read().splitlines():
            name, _, value = line.partition(b":")
            if name == b"mnt_id":
                return int(value)
    raise OSError(9, os.strerror(9))
