"""The contents of a file in memory, with holes. Pure."""

from __future__ import annotations

from typing import Final

from .filetree_records import Data

PAGE: Final = 4096
CHUNK: Final = 1 << 20
"""Bytes that are stored together, up to the last one that was ever written; aligned."""


class Sparse:
    """Bytes that are zero where nothing was written.

    Attributes:
        size: where the file ends.
        pages: numbers of the pages that were written, or allocated.
    """

    def __init__(self) -> None:
        self.size = 0
        self.pages: set[int] = set()
        self._chunks: dict[int, bytearray] = {}

    def read(self, offset: int, size: int) -> bytes:
        """A copy, which ends where the file does."""
        size = max(0, min(size, self.size - offset))
        number, start = divmod(offset, CHUNK)
        if start + size <= CHUNK:
            found = bytes(memoryview(self._chunks.get(number, b""))[start : start + size])
            return found if len(found) == size else found.ljust(size, b"\0")
        first = self.read(offset, CHUNK - start)
        return first + self.read(offset + len(first), size - len(first))

    def write(self, offset: int, data: Data) -> None:
        """The file grows if it must. `allocate` comes first."""
        self.size = max(self.size, offset + len(data))
        view = memoryview(data)
        while view:
            number, start = divmod(offset, CHUNK)
            part = view[: CHUNK - start]
            chunk = self._chunks.setdefault(number, bytearray())
            if start > len(chunk):
                chunk.extend(bytes(start - len(chunk)))
            chunk[start : start + len(part)] = part
            offset, view = offset + len(part), view[len(part) :]

    def resize(self, size: int) -> None:
        """Cut off what is behind, or end with a hole."""
        if size < self.size:
            last, start = divmod(size, CHUNK)
            for number in [number for number in self._chunks if number > last]:
                del self._chunks[number]
            if last in self._chunks:
                del self._chunks[last][start:]
            self.pages = {page for page in self.pages if page * PAGE < size}
        self.size = size

    def missing(self, offset: int, end: int) -> int:
        """How many pages `allocate` would add; perhaps more than there are, if they are many."""
        first, last = offset // PAGE, -(-end // PAGE)
        if last - first > 2 * len(self.pages) + 4096:
            return last - first - len(self.pages)
        return sum(page not in self.pages for page in range(first, last))

    def allocate(self, offset: int, end: int) -> None:
        """These bytes are no hole from now on."""
        self.pages.update(range(offset // PAGE, -(-end // PAGE)))

    def punch(self, offset: int, end: int) -> None:
        """Make a hole: whole pages are not allocated any more, the rest is zero."""
        first, last = -(-offset // PAGE), end // PAGE
        self.pages = {page for page in self.pages if not first <= page < last}
        for number, chunk in list(self._chunks.items()):
            start = max(offset - number * CHUNK, 0)
            stop = min(end - number * CHUNK, len(chunk))
            if start < stop:
                chunk[start:stop] = bytes(stop - start)

    def data_from(self, offset: int) -> int:
        """Where the next data is: lseek(2), SEEK_DATA; -1: there is none."""
        page = offset // PAGE
        if page in self.pages:
            return offset
        found = min((later for later in self.pages if later > page), default=-1)
        return found * PAGE if 0 <= found * PAGE < self.size else -1

    def hole_from(self, offset: int) -> int:
        """Where the next hole is, at the end at last: SEEK_HOLE."""
        page = offset // PAGE
        if page not in self.pages:
            return offset
        while page in self.pages:
            page += 1
        return min(page * PAGE, self.size)
