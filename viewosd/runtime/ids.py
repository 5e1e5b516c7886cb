"""Ids that an ordinary user's view has no name for, and that the user may name all the same.

The view's user namespace maps the owner alone. Of every other id the kernel says EINVAL to chown(2)
and setuid(2) before it looks at rights; outside it looks at rights, says EPERM, and lets who owns a
file give it to another group of theirs. So these calls are answered here as outside.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

from ..abi.fcntl import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
from ..service import Service, hook
from ..syscalls.files import Fchown
from ..syscalls.ids import Setgid, SetIds, Setregid, Setresgid, Setresuid, Setreuid, Setuid
from ..syscalls.paths import Chown
from ..tracee import Tracee
from ..verdict import Errno, Return, Verdict
from .mounting.base import opened, path_text

T = TypeVar("T")

_KEEP: Final = 0xFFFF_FFFF
"""-1, for the ids that are to stay."""


class Inhabited(Protocol):
    """A file tree, as far as it is asked who is in it: `viewosd.runtime.space.ViewSpace`."""

    def inhabits(self, tid: int) -> bool:
        """Is a thread in its namespaces, none of its own?"""


class UnmappedIds(Service):
    """The runtime's own service, in a view that has a user namespace."""

    name = "ids"

    def __init__(self, space: Inhabited) -> None:
        self._space = space

    def _lacks(self, tracee: Tracee, uids: Iterable[int], gids: Iterable[int]) -> bool:
        """Is an id among these that the tracee's namespace does not map, and is it inside?"""
        mapped = set(uids) <= {_KEEP, os.geteuid()} and set(gids) <= {_KEEP, os.getegid()}
        return not mapped and self._space.inhabits(tracee.tid)

    @hook(Chown)
    def chown(self, call: Chown, tracee: Tracee) -> Verdict | None:
        """chown(2), lchown(2), fchownat(2)."""
        if call.flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) or not self._lacks(
            tracee, [call.user], [call.group]
        ):
            return None
        empty, follow = bool(call.flags & AT_EMPTY_PATH), not call.flags & AT_SYMLINK_NOFOLLOW
        try:
            path = path_text(tracee, call.path, empty=empty)
            fd = opened(tracee, call.dirfd, path, empty=empty, follow=follow)
        except OSError:
            return None  # the kernel will say what is wrong with it
        try:
            return _give(tracee, os.chown, b"/proc/self/fd/%d" % fd, call)
        finally:
            os.close(fd)

    @hook(Fchown)
    def fchown(self, call: Fchown, tracee: Tracee) -> Verdict | None:
        """fchown(2)."""
        if not self._lacks(tracee, [call.user], [call.group]):
            return None
        with tracee.fd(call.fd) as fd:
            return _give(tracee, os.fchown, fd, call)

    @hook(Setuid)
    @hook(Setreuid)
    @hook(Setresuid)
    def set_user(self, call: Setuid | Setreuid | Setresuid, tracee: Tracee) -> Verdict | None:
        """setuid(2), setreuid(2), setresuid(2)."""
        return Errno(errno.EPERM) if self._lacks(tracee, _ids(call), ()) else None

    @hook(Setgid)
    @hook(Setregid)
    @hook(Setresgid)
    def set_group(self, call: Setgid | Setregid | Setresgid, tracee: Tracee) -> Verdict | None:
        """setgid(2), setregid(2), setresgid(2)."""
        return Errno(errno.EPERM) if self._lacks(tracee, (), _ids(call)) else None


def _ids(call: SetIds) -> list[int]:
    return [getattr(call, name) for name in call.registers]


def _give(
    tracee: Tracee, change: Callable[[T, int, int], None], what: T, call: Chown | Fchown
) -> Verdict:
    """With the rights of the view's owner, which are the tracee's outside of its namespace."""
    user, group = (-1 if id == _KEEP else int(id) for id in (call.user, call.group))
    tracee.check()
    try:
        tracee.aside(change, what, user, group)
    except OSError as error:
        # Of a file system that the view itself has mounted: fs/attr.c:notify_change().
        if error.errno != errno.EOVERFLOW:
            raise
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from None
    return Return(0)
