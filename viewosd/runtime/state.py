"""What a successor needs to know besides journal and listeners: views, services, strangers.

A memfd that the keeper holds too. It has a header (where the newest text is, and how long) and two
halves: a text is written into the half that the header does not point at, and then the header, so
that a supervisor that dies while it writes leaves the text before. Texts are MessagePack.
"""

from __future__ import annotations

import os
import struct
from typing import Any, Final

import msgspec

_HEADER: Final = struct.Struct("=QQ")
HALF: Final = 1 << 24  # bytes; sparse, so only what is written exists


class State:
    """The file; ``fd`` stays the caller's."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._last = b""

    def save(self, facts: Any) -> None:
        """Write ``facts`` down unless they are what was written last.

        Raises:
            OSError: no memory; what was saved before is still there.
            ValueError: more than HALF bytes.
            TypeError: not of numbers, strings, bytes, lists and dicts.
        """
        text = msgspec.msgpack.encode(facts)
        if text == self._last:
            return
        if len(text) > HALF:
            raise ValueError(f"{len(text)} bytes of state are more than {HALF}")
        where, _ = self._header()
        there = HALF if where == _HEADER.size else _HEADER.size
        written = 0
        while written < len(text):
            written += os.pwrite(self._fd, text[written:], there + written)
        os.pwrite(self._fd, _HEADER.pack(there, len(text)), 0)
        self._last = text

    def load(self) -> Any:
        """What was saved last; None: nothing yet."""
        where, length = self._header()
        return msgspec.msgpack.decode(os.pread(self._fd, length, where)) if where else None

    def _header(self) -> tuple[int, int]:
        raw = os.pread(self._fd, _HEADER.size, 0)
        return _HEADER.unpack(raw) if len(raw) == _HEADER.size else (0, 0)
