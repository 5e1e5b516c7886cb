"""Mounting, as an internal service of a view that has a mount namespace of its own.

It answers the mount family of calls. A type that a loaded service offers goes to that service,
everybody's; of the rest, root's is the kernel's own business and is continued, and an ordinary
user's is done by the agent. Whoever may not mount gets the kernel's answer, and whoever has made a
mount namespace of its own mounts there.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from functools import partial
from typing import Any

import trio

from ...abi.mount import (
    MNT_DETACH,
    MNT_EXPIRE,
    MNT_FORCE,
    UMOUNT_NOFOLLOW,
)
from ...service import Service, hook
from ...space import Mounted
from ...syscalls.mounts import Umount, mount
from ...tracee import AT_FDCWD, Tracee
from ...verdict import CONTINUE, Verdict
from . import flags as ms
from . import options as opts
from .base import Body
from .callers import Asking, Caller, Owner, mount_of, to_unmount
from .calls import MountCalls
from .contextcalls import ContextCalls
from .mounter import View
from .plain import Asked
from .treecalls import TreeCalls

log = logging.getLogger("viewosd")

PAGE = 4096
_UMOUNT_FLAGS = MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW
LOOK_S = 1.0
"""How often the kernel's table is looked at for mounts that went behind our back."""


class Mounting(ContextCalls, TreeCalls):
    """The mounts of a view."""

    def __init__(self, view: View, space: MountCalls) -> None:
        super().__init__(view, space)
        self._looking: trio.CancelScope | None = None

    # -- for the supervisor

    async def stop(self) -> None:
        """The view has ended: every service is told, mountpoints that were made are taken away."""
        if self._looking is not None:
            self._looking.cancel()
        self.contexts.close()
        self.trees.close()
        for record in reversed(self.records.all):
            if record.point is not None:
                # Else the mountpoint could not be seen, and taken away.
                with suppress(OSError):
                    await self.space.umount(record.mounted.target, MNT_DETACH | UMOUNT_NOFOLLOW)
        await self.records.drop(self.records.all)
        self.records.left += self.records.begun
        await self.records.undo()

    def describe(self) -> Any:
        return {
            "mounts": self.records.describe(),
            "begun": [*self.records.left, *self.records.begun],
            "aliases": self.mounter.aliases,
            "making": [*self.contexts.names(), *self.trees.names()],
        }

    def restore(self, state: Any) -> None:
        self.records.restore(state["mounts"])
        self.mounter.aliases = dict(state["aliases"])
        self.look()

    def succeed(self, state: Any) -> None:
        """`restore`, and what was in hand: a branch has no part in that."""
        self.restore(state)
        self.works.inherited = True
        self.records.left = list(state["begun"])
        lost = {(kind, number) for kind, number in state["making"]}
        self.contexts.lost, self.trees.lost = lost, lost

    def alias(self, name: str, type: str) -> None:
        """Let a name stand for a mount type, "" for none. Raises OSError: ELOOP."""
        self.mounter.alias(name, type)
        self.remember()

    def why(self, target: bytes) -> str:
        """Why a mount on what was called so has just failed; "" if the errno says as much."""
        return self.mounter.said.pop(target, "")

    def in_use(self, service: Service) -> int:
        """How many mounts of a service there are."""
        return sum(record.service == service.name for record in self.records.all)

    def listing(self) -> list[tuple[Mounted, str]]:
        """The mounts of services with their names, in the order in which they were made."""
        return [(record.mounted, record.service) for record in self.records.all if record.service]

    def lost(self) -> dict[int, str]:
        """Why mounts can't go on whose servers have died, by `Mounted.id`."""
        found = self.space.lost()
        return {
            record.mounted.id: found[record.line.device]
            for record in self.records.all
            if record.line is not None and record.line.device in found
        }

    async def request(
        self,
        type: str,
        options: str | bytes,
        source: bytes,
        target: bytes,
        flags: int = 0,
        *,
        alone: bool = False,
    ) -> None:
        """Mount as the view's owner, with absolute paths of the view.

        Args:
            type: "" with an option like "bind" or "remount".
            options: as users write them: "ro,size=4M".
            flags: MS_*, beside those that ``options`` name.
            alone: nobody runs in the view yet.

        Raises:
            OSError: as mount(2); its text is the reason where one is known.
        """
        kept = ms.OWN if self.mounter.offering(type) else ()
        given, rest = ms.from_words(opts.split(os.fsencode(options)), kept)
        asked = Asked(type or None, source, target, flags | given, opts.join(rest))
        await self._mount(asked, Owner(self.space, alone))

    async def umount(self, target: bytes, flags: int = 0) -> None:
        """Unmount as the view's owner. Raises OSError: as umount2(2)."""
        await self._umount(target, flags, Owner(self.space))

    def look(self) -> None:
        if self._looking is None and self.records.all:
            self._looking = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._look_after, self._looking)

    async def _look_after(self, scope: trio.CancelScope) -> None:
        """While there are records, see whether they are still true."""
        with scope:
            while self.records.all:
                await trio.sleep(LOOK_S)
                await self.records.reconcile()
        self._looking = None

    # -- mount(2), umount2(2)

    @hook(mount, deadline_s=None)
    async def on_mount(self, call: mount, tracee: Tracee) -> Verdict:
        return await self.works.once(call, tracee, partial(self._consider, call, tracee))

    def _consider(self, call: mount, tracee: Tracee) -> Verdict | Body:
        if not self.may(tracee):
            return self.theirs(_text(tracee, call.type), tracee)
        # In the kernel's order, so that errors come in its order too.
        type = _text(tracee, call.type)
        source = _text(tracee, call.source)
        data = _text(tracee, call.data) or b""
        target = tracee.read_str(call.target)
        flags = ms.without_magic(int(call.flags))
        asked = Asked(None if type is None else os.fsdecode(type), source, target, flags, data)
        if not self.space.ordinary and self._is_the_kernels(asked, tracee):
            return CONTINUE
        return partial(self.for_tracee, self._mount, asked, Asking(tracee))

    async def _mount(self, asked: Asked, caller: Caller) -> None:
        await self.mounter.mount(asked, caller)
        self.look()

    def _is_the_kernels(self, asked: Asked, tracee: Tracee) -> bool:
        """Root's mount: is there nothing in it that we must do, or know of?"""
        if ms.is_new(asked.flags) and (
            self.mounter.offering(asked.type) is not None or asked.type in self.mounter.aliases
        ):
            return False
        if opts.take(asked.data, opts.PERMANENT)[1]:
            return False
        if ms.makes_a_mount(asked.flags):
            return not _is_missing(tracee, asked.target)
        if ms.has_source(asked.flags) and asked.source:  # moved, for what is bound makes a mount
            return not self._has_permanent(tracee, asked.source, 0)
        return True

    def _has_permanent(self, tracee: Tracee, path: bytes, nofollow: int) -> bool:
        """Is a mount there that we must look after?"""
        if not self.records.all:
            return False
        try:
            fd = tracee.open(AT_FDCWD, path, os.O_PATH | nofollow)
        except OSError:
            return False  # the kernel says why
        try:
            return self.records.permanent_below(mount_of(fd))
        finally:
            os.close(fd)

    @hook(Umount, deadline_s=None)
    async def on_umount(self, call: Umount, tracee: Tracee) -> Verdict:
        return await self.works.once(call, tracee, partial(self._consider_umount, call, tracee))

    def _consider_umount(self, call: Umount, tracee: Tracee) -> Verdict | Body:
        if not self.may(tracee):
            return CONTINUE
        flags = int(call.flags)
        if flags & ~_UMOUNT_FLAGS:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        path = tracee.read_str(call.path)
        if not self.space.ordinary and not self._concerns(tracee, path, flags):
            return CONTINUE
        return partial(self.for_tracee, self._umount, path, flags, Asking(tracee))

    def _concerns(self, tracee: Tracee, path: bytes, flags: int) -> bool:
        """Would root's umount take away something that we know of?"""
        if not self.records.all:
            return False
        try:
            fd = to_unmount(partial(tracee.open, AT_FDCWD), path, flags)
        except OSError:
            return False
        try:
            return self.records.concerns(mount_of(fd), os.readlink(b"/proc/self/fd/%d" % fd))
        finally:
            os.close(fd)

    async def _umount(self, path: bytes, flags: int, caller: Caller) -> None:
        await self.mounter.umount(path, flags, caller)


def _text(tracee: Tracee, address: int) -> bytes | None:
    """A string of mount(2), at most a page: mm/util.c:strndup_user()."""
    if not address:
        return None
    try:
        return tracee.read_str(address, PAGE)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from None
        raise


def _is_missing(tracee: Tracee, path: bytes) -> bool:
    try:
        os.close(tracee.open(AT_FDCWD, path, os.O_PATH))
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False
