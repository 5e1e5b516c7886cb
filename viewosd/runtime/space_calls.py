"""The calls of the mount family, one by one, as a view's agent makes them."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

token: ContextVar[bytes] = ContextVar("token", default=b"")
"""Of the call that the agent is asked for: `viewosd.agent.effects`."""


class SpaceCalls:
    """Part of `viewosd.runtime.space.ViewSpace`: `viewosd.runtime.mounting.calls.MountCalls`."""

    async def _ask(self, verb: str, fds: Sequence[int], *args: Any) -> tuple[Any, list[int]]:
        raise NotImplementedError

    async def mount(
        self,
        source: Sequence[bytes | int] | None,
        target: int,
        type: bytes | None,
        flags: int,
        data: Sequence[bytes | int] | None,
    ) -> None:
        fds = [target]
        texts = [_pieces(source, fds), _pieces(data, fds)]
        await self._ask("mount", fds, texts[0], type, flags, texts[1])

    async def recall(self, token: bytes) -> tuple[list[tuple[str, bytes]], list[int]]:
        """What the agent has done for a call: `viewosd.agent.effects.Effects.recall`."""
        done, fds = await self._ask("recall", [], token)
        return [(verb, undo) for verb, undo in done], fds

    async def take_back(self, token: bytes) -> None:
        """Undo it."""
        await self._ask("take_back", [], token)

    async def forget(self, token: bytes) -> None:
        """The call has been answered."""
        await self._ask("forget", [], token)

    async def fsopen(self, name: bytes, flags: int = 0) -> int:
        _, (context,) = await self._ask("fsopen", [], name, flags)
        return context

    async def fsconfig(
        self,
        context: int,
        cmd: int,
        key: bytes | None = None,
        value: bytes | None = None,
        aux: int | None = None,
    ) -> None:
        fds = [context] if aux is None else [context, aux]
        await self._ask("fsconfig", fds, cmd, key, value)

    async def fsmount(self, context: int, flags: int = 0, attributes: int = 0) -> int:
        _, (mount,) = await self._ask("fsmount", [context], flags, attributes)
        return mount

    async def fspick(self, fd: int, flags: int = 0) -> int:
        _, (context,) = await self._ask("fspick", [fd], flags)
        return context

    async def open_tree(self, fd: int, flags: int) -> int:
        _, (copy,) = await self._ask("open_tree", [fd], flags)
        return copy

    async def move_mount(self, source: int, target: int, flags: int = 0) -> None:
        await self._ask("move_mount", [source, target], flags)

    async def mount_setattr(self, fd: int, flags: int, attr: bytes) -> None:
        await self._ask("mount_setattr", [fd], flags, attr)


def _pieces(text: Sequence[bytes | int] | None, fds: list[int]) -> list[bytes | int] | None:
    """A string for the agent; descriptors in it go along."""
    if text is None:
        return None
    pieces: list[bytes | int] = []
    for piece in text:
        if isinstance(piece, int):
            fds.append(piece)
            piece = len(fds) - 1
        pieces.append(piece)
    return pieces
