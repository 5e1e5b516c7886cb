"""What the calls of the mount family have in common: who may, and how they are answered."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from ...abi.capability import CAP_SYS_ADMIN
from ...abi.mount import FSMOUNT_CLOEXEC
from ...service import Service
from ...tracee import AT_FDCWD, Tracee
from ...verdict import CONTINUE, InjectFd, Return, Verdict
from ..aside import somebody_serves_elsewhere
from .calls import MountCalls
from .contexts import Contexts, Tree, Trees
from .mounter import Mounter, View
from .plain import is_fuse
from .records import Records
from .works import Works

Body = Callable[[], Awaitable[Verdict]]


class Calls(Service):
    """The mounts of one view."""

    name = "mounts"

    def __init__(self, view: View, space: MountCalls) -> None:
        self.view, self.space = view, space
        self.records = Records(space, self._find, lambda: self.remember())
        self.mounter = Mounter(view, space, self.records)
        self.contexts = Contexts(lambda: self.remember())
        self.trees = Trees(lambda: self.remember())
        self.works = Works(space, self._given, self.records.undo)

    def _find(self, name: str) -> Service | None:
        return next((s.service for s in self.view.services if s.service.name == name), None)

    def _given(self, call: Any, fd: int) -> Verdict:
        """fsmount(2), done by a dead supervisor's agent."""
        return InjectFd(self.trees.add(Tree(fd)), bool(call.flags & FSMOUNT_CLOEXEC))

    def may(self, tracee: Tracee) -> bool:
        """May it mount in this view? Whoever may not is left to the kernel, which says so."""
        if not self.space.inhabits(tracee.tid):
            return False
        if self.space.ordinary:
            return not self.view.secure and tracee.credentials.fsuid == os.geteuid()
        return bool(tracee.credentials.cap_eff >> CAP_SYS_ADMIN & 1)

    def theirs(self, type: bytes | None, tracee: Tracee) -> Verdict:
        """Left to the kernel. Who mounts in a namespace of its own may serve files there."""
        if type is not None and is_fuse(os.fsdecode(type)) and not self.space.inhabits(tracee.tid):
            somebody_serves_elsewhere()
        return CONTINUE

    async def for_tracee(self, method: Callable[..., Awaitable[None]], *args: Any) -> Verdict:
        """Do it; the call returns 0. The last argument is the caller, and is closed afterwards."""
        try:
            await method(*args)
        finally:
            args[-1].close()
        return Return(0)


def opened(tracee: Tracee, dirfd: int, path: bytes, *, empty: bool, follow: bool = True) -> int:
    """What a path and a descriptor name together, O_PATH. Raises OSError."""
    if path or not empty:
        return tracee.open(dirfd, path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
    if dirfd == AT_FDCWD:
        return tracee.open(AT_FDCWD, b".", os.O_PATH)
    with tracee.fd(dirfd) as ours:
        return os.dup(ours)


def path_text(tracee: Tracee, address: int, *, empty: bool) -> bytes:
    """The path of a call; NULL is as "" where that may be: fs/namei.c:getname_maybe_null()."""
    return b"" if empty and not address else tracee.read_str(address)
