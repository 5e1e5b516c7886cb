"""What was received and not yet answered, in memory that outlives the supervisor.

A notification that was received is never delivered again; if its supervisor dies, the tracee
hangs. But any holder of the listener may answer a cookie that it knows. So RECV writes straight
into a slot of a memfd that the keeper holds too, and a successor finds it there.

Layout: slot 0 is the header; a slot has SLOT bytes: struct seccomp_notif (80), then

    u32 listener  the key of the listener, written before RECV
    u32 begun     1: a hook that may not be run twice has been called
    u32 attempts  how many supervisors hung or crashed with this call in hand, perhaps because of it
    u32 waiting   1: its hook has begun to wait
    u32 added     a number and 1: the descriptor that the tracee was given and not yet told

A slot whose cookie is 0 is free: answering clears it. Death between SEND and the clearing leaves
an answered cookie, which the kernel no longer knows (ENOENT): the successor drops it.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

SLOT = 128
SLOTS = 8192  # 1 MiB, of which only touched pages exist; more calls in flight wait in the kernel
WINDOW = 1032  # what RECV is shown: ioctl hands over more than 1024 bytes uncopied
_NOTIF = 80
_META = struct.Struct("=IIIII")  # listener, begun, attempts, waiting, added
_ZERO = bytes(_NOTIF + _META.size)
_HEAD = struct.Struct("=QQ")  # heartbeat, next listener key


class Journal:
    """The slots. One reader and writer at a time: the living supervisor."""

    def __init__(self, fd: int) -> None:
        """``fd``: a memfd; it is made as long as it must be and stays the caller's."""
        size = SLOT * SLOTS + WINDOW
        new = os.fstat(fd).st_size < size
        if new:
            os.ftruncate(fd, size)
        self._map = mmap.mmap(fd, size)
        self._view = memoryview(self._map)
        # To look at a page makes it exist, so nothing is looked at in vain.
        self._free = [n for n in range(SLOTS - 1, 0, -1) if new or not self._cookie(n)]
        self._beat = _HEAD.unpack_from(self._map)[0]

    def _cookie(self, slot: int) -> int:
        return int.from_bytes(self._map[slot * SLOT : slot * SLOT + 8], "little")

    def take(self) -> int:
        """A free slot; 0: all are in use. Low numbers come first: few pages are ever touched."""
        return self._free.pop() if self._free else 0

    def window(self, slot: int) -> memoryview:
        """Where RECV writes."""
        return self._view[slot * SLOT : slot * SLOT + WINDOW]

    def prepare(self, slot: int, listener: int) -> None:
        """Zero the slot and write whose it will be, before RECV."""
        at = slot * SLOT
        self._view[at : at + len(_ZERO)] = _ZERO
        _META.pack_into(self._map, at + _NOTIF, listener, 0, 0, 0, 0)

    def begin(self, slot: int) -> None:
        """A hook that may not be run twice is about to be called."""
        struct.pack_into("=I", self._map, slot * SLOT + _NOTIF + 4, 1)

    def wait(self, slot: int) -> None:
        """Its hook waits: other calls are answered meanwhile."""
        struct.pack_into("=I", self._map, slot * SLOT + _NOTIF + 12, 1)

    def add(self, slot: int, number: int | None) -> None:
        """The tracee has this descriptor, and the answer comes next; None: it was answered."""
        added = 0 if number is None else number + 1
        struct.pack_into("=I", self._map, slot * SLOT + _NOTIF + 16, added)

    def added(self, slot: int) -> int | None:
        """The descriptor that a dead supervisor gave and did not come to tell."""
        added: int = struct.unpack_from("=I", self._map, slot * SLOT + _NOTIF + 16)[0]
        return added - 1 if added else None

    def release(self, slot: int) -> None:
        """The call was answered or is gone; the slot may be taken again."""
        at = slot * SLOT
        self._view[at : at + 8] = _ZERO[:8]
        self._free.append(slot)

    def left_behind(self, suspicious: bool) -> list[tuple[int, int, bool, int]]:
        """What a dead supervisor had in hand: (slot, listener key, begun, attempts before this).

        Args:
            suspicious: it hung or crashed, and one of these calls may be why. Then one attempt more
                is counted for the call whose hook did not wait, for that was being answered; where
                all waited, for all.
        """
        found = {s: _META.unpack_from(self._map, s * SLOT + _NOTIF) for s in self._in_hand()}
        at_work = {slot for slot, (_, _, _, waiting, _) in found.items() if not waiting}
        for slot in (at_work or found) if suspicious else ():
            attempts = found[slot][2] + 1
            struct.pack_into("=I", self._map, slot * SLOT + _NOTIF + 8, attempts)
        return [(slot, key, bool(begun), n) for slot, (key, begun, n, *_) in found.items()]

    def _in_hand(self) -> Iterator[int]:
        return (slot for slot in range(1, SLOTS) if self._cookie(slot))

    def beat(self) -> None:
        """Say that the supervisor's loop turns; the keeper's watchdog looks at it."""
        self._beat += 1
        struct.pack_into("=Q", self._map, 0, self._beat)

    def next_key(self) -> int:
        """A listener key that was never used in this journal."""
        key = _HEAD.unpack_from(self._map)[1] + 1
        struct.pack_into("=Q", self._map, 8, key)
        return int(key)

    def close(self) -> None:
        """Unmap; the memfd itself is the keeper's."""
        self._view.release()
        self._map.close()
