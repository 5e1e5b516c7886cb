"""Descriptors that are to survive their supervisor: the ends that companions live by.

They lie in the parking place (`viewosd.runtime.parking`) beside the listeners; a successor takes
them out again by their numbers.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from .armory import BESIDES, Armory

FIRST: Final = BESIDES + 0x8000
"""Lower keys are views' own."""


class Kept:
    """By number, counted from 0."""

    def __init__(self, armory: Armory) -> None:
        self._armory = armory
        self._fds: dict[int, int] = {}

    def keep(self, fd: int) -> int:
        """Take a descriptor over; its number. It is ours to close from now on."""
        number = next(n for n in range(len(self._fds) + 1) if n not in self._fds)
        self._fds[number] = fd
        self._armory.park_besides(FIRST + number, fd)
        return number

    def of(self, number: int) -> int:
        """The descriptor; it stays ours.

        Raises:
            OSError: EBADF, it is not kept, or was lost.
        """
        if number not in self._fds:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._fds[number]

    def drop(self, number: int) -> None:
        """Close it, and the parked duplicate."""
        if (fd := self._fds.pop(number, None)) is not None:
            self._armory.unpark_besides(FIRST + number)
            os.close(fd)

    def take_over(self, parked: dict[int, int]) -> dict[int, int]:
        """Take what a dead supervisor kept out of what it had parked; the rest is returned."""
        for key, fd in parked.items():
            if key >= FIRST:
                self._fds[key - FIRST] = fd
                self._armory.park_besides(key, fd)
        return {key: fd for key, fd in parked.items() if key < FIRST}
