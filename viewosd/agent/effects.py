"""What the agent has done for calls that are being answered.

A supervisor that dies between a mount and its answer leaves a call in hand. Its successor asks here
whether it was done: then it is answered, or undone and begun anew. Each call has a token; what was
done for it is forgotten once it has been answered.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from ..abi.mount import MNT_DETACH, UMOUNT_NOFOLLOW
from . import unsafe

MOST: Final = 256
"""Calls that are remembered; the oldest was answered long ago."""


class Effects:
    """By token: verbs in order, each with the mountpoint that undoes it (b"": nothing does)."""

    def __init__(self) -> None:
        self._done: dict[bytes, list[tuple[str, bytes]]] = {}
        self._kept: dict[bytes, list[int]] = {}

    def note(self, token: bytes, verb: str, undo: bytes, fds: list[int]) -> None:
        """One more. ``fds``: what the supervisor gets; it can't be had again."""
        while len(self._done) >= MOST and token not in self._done:
            self.forget(next(iter(self._done)))
        self._done.setdefault(token, []).append((verb, undo))
        self._kept.setdefault(token, []).extend(map(os.dup, fds))

    def recall(self, token: bytes) -> tuple[list[list[str | bytes]], list[int]]:
        """What was done, and duplicates of the descriptors that came of it."""
        done: list[list[str | bytes]] = [[*one] for one in self._done.get(token, ())]
        return done, list(map(os.dup, self._kept.get(token, ())))

    def undo(self, token: bytes) -> None:
        """Take away again what was mounted."""
        for _, path in reversed(self._done.get(token, ())):
            if path:
                with suppress(OSError):
                    unsafe.umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW)
        self.forget(token)

    def forget(self, token: bytes) -> None:
        """It was answered."""
        self._done.pop(token, None)
        for fd in self._kept.pop(token, ()):
            os.close(fd)
