"""Requests that were read and are not answered yet, where a successor finds them.

The kernel hands out a request once. So its header is read into memory that outlives the server: a
slot holds one as long as it begins with a length. Nothing has to be written down: the kernel's own
copy is the note, and a server that is killed at any moment has left one or had no request.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final, NamedTuple

from ..abi.fuse import fuse_in_header

HEADER: Final = fuse_in_header.sizeof
SLOT: Final = 64
"""Bytes: the header, the device's number, whether its method waits."""
_TOGETHER: Final = 64  # slots in a page
_OURS: Final = struct.Struct("=iI")
EMPTY: Final = bytes(4)
"""At the beginning of `Slot.head`: what was there is answered."""
_WAITS: Final = struct.pack("=I", 1)


class Slot(NamedTuple):
    """Where a request's header is read to.

    Attributes:
        head: 40 bytes.
        ours: what is said of it: `_OURS`.
    """

    head: memoryview
    ours: memoryview


class Left(NamedTuple):
    """A request that a dead server had in hand.

    Attributes:
        waited: its method waited for something; the loop went on.
    """

    device: int
    opcode: int
    unique: int
    waited: bool


class InHand:
    """Args: fd: of a memory file, which stays the caller's; -1: nobody succeeds us."""

    def __init__(self, fd: int = -1) -> None:
        self._fd, self._pages = fd, 0
        self._free: list[Slot] = []

    def take(self, device: int) -> Slot:
        """A slot for what is read from a device."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        _OURS.pack_into(slot.ours, 0, device, 0)
        return slot

    def give(self, slot: Slot) -> None:
        """It is not read to any more, and what it held is answered."""
        slot.head[:4] = EMPTY
        self._free.append(slot)

    def _grow(self) -> None:
        at = self._pages * mmap.PAGESIZE
        if self._fd < 0:
            page = memoryview(bytearray(mmap.PAGESIZE))
        else:
            if os.fstat(self._fd).st_size < at + mmap.PAGESIZE:
                os.ftruncate(self._fd, at + mmap.PAGESIZE)
            page = memoryview(mmap.mmap(self._fd, mmap.PAGESIZE, offset=at))
        self._pages += 1
        for start in range(0, _TOGETHER * SLOT, SLOT):
            slot = page[start : start + SLOT]
            self._free.append(Slot(slot[:HEADER], slot[HEADER:]))

    def left(self) -> list[Left]:
        """What a dead server had in hand; it is forgotten here."""
        found = []
        raw = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        header = fuse_in_header.codec()
        for at in range(0, len(raw), SLOT):
            length, opcode, unique, *_ = header.unpack_from(raw, at)
            device, waited = _OURS.unpack_from(raw, at + HEADER)
            if length:
                found.append(Left(device, opcode, unique, bool(waited)))
        os.ftruncate(self._fd, 0)
        return found


def waits(slot: Slot) -> None:
    """The method of what is in a slot waits."""
    slot.ours[4:8] = _WAITS
