"""What mounting asks of a view's namespace beyond `viewosd.space.Space`: the calls of the kernel
as they are, made by the agent, every descriptor being the supervisor's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ...space import Space

Text = Sequence[bytes | int]
"""Pieces of a string that are put together in the agent: a number is a descriptor of ours and
becomes the agent's own, in decimal. ``[b"fd=", 7, b",rootmode=40000"]``."""


class MountCalls(Space, Protocol):
    """A view's mount namespace, as the mount family of calls needs it.

    Paths are never passed but by descriptor, except to `Space.umount`. Descriptors that a method
    returns are the caller's to close. Close-on-exec flags are added by the agent.

    Raises (any method):
        OSError: the kernel's errno; its text is the kernel's own explanation where there is one.
    """

    @property
    def ordinary(self) -> bool:
        """An ordinary user's view: its user namespace maps the owner alone."""

    async def mount(
        self, source: Text | None, target: int, type: bytes | None, flags: int, data: Text | None
    ) -> None:
        """mount(2) at the descriptor ``target`` (by ``/proc/self/fd/N``), with any flags.

        A source that is a file is ``[b"/proc/self/fd/", fd]``.
        """

    async def recall(self, token: bytes) -> tuple[list[tuple[str, bytes]], list[int]]:
        """What was done for a call that a dead supervisor had in hand: verbs, each with the
        mountpoint that undoes it, and descriptors that came of it."""

    async def take_back(self, token: bytes) -> None:
        """Undo that."""

    async def forget(self, token: bytes) -> None:
        """The call has been answered."""

    async def fsopen(self, name: bytes, flags: int = 0) -> int:
        """fsopen(2): a context."""

    async def fsconfig(
        self,
        context: int,
        cmd: int,
        key: bytes | None = None,
        value: bytes | None = None,
        aux: int | None = None,
    ) -> None:
        """fsconfig(2); ``aux`` is a descriptor of ours, or None.

        What the kernel says to an error is left in the context, for who has it to read.
        """

    async def fsmount(self, context: int, flags: int = 0, attributes: int = 0) -> int:
        """fsmount(2): a tree that is attached nowhere."""

    async def fspick(self, fd: int, flags: int = 0) -> int:
        """fspick(2) of what a descriptor is, FSPICK_EMPTY_PATH: a context."""

    async def open_tree(self, fd: int, flags: int) -> int:
        """open_tree(2) of what a descriptor is, AT_EMPTY_PATH."""

    async def move_mount(self, source: int, target: int, flags: int = 0) -> None:
        """move_mount(2), both by descriptor with an empty path."""

    async def mount_setattr(self, fd: int, flags: int, attr: bytes) -> None:
        """mount_setattr(2) of what a descriptor is; ``attr`` is a struct mount_attr."""

    def lost(self) -> dict[str, str]:
        """Why file systems that were served can't go on, by "major:minor"."""

    def inhabits(self, tid: int) -> bool:
        """Is the thread in this mount namespace, and in the user namespace that owns it?

        One that has made a namespace of its own mounts there, with the rights it has there, and
        none of this is about it. False too for one that is gone.
        """
