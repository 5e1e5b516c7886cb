"""A mapping that outlives the process: each change is one write to a memory file.

Whoever is killed in the middle of a write leaves a record that is cut off: it never happened.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, MutableMapping
from typing import Any, Final

import msgspec

_LENGTH: Final = struct.Struct("=I")
_SPARE: Final = 1 << 16
"""Bytes of records that were replaced, until those that count are written anew."""
_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode


class Kept(MutableMapping[int, Any]):
    """Numbers to values of msgpack's types. One process at a time may use it.

    Args:
        fd: of a memory file, empty or as a dead process left it; stays the caller's. It is another
            file under the same number from time to time.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._values: dict[int, Any] = {}
        self._sizes: dict[int, int] = {}
        self._spare = 0
        whole = 0
        for key, value, size in _records(fd):
            self._note(key, value, size)
            whole += size
        os.ftruncate(fd, whole)
        os.lseek(fd, whole, os.SEEK_SET)

    def _note(self, key: int, value: list[Any], size: int) -> None:
        self._spare += self._sizes.pop(key, 0)
        if value:
            self._values[key], self._sizes[key] = value[0], size
        else:
            self._spare += size
            self._values.pop(key, None)

    def _write(self, key: int, value: list[Any]) -> None:
        record = _encode([key, *value])
        os.write(self.fd, _LENGTH.pack(len(record)) + record)
        self._note(key, value, _LENGTH.size + len(record))
        if self._spare > _SPARE and self._spare > sum(self._sizes.values()):
            self._write_anew()

    def _write_anew(self) -> None:
        """At every moment the number leads to a whole file."""
        new = os.memfd_create("kept", os.MFD_CLOEXEC)
        try:
            records = [_encode(pair) for pair in self._values.items()]
            raw = memoryview(b"".join(_LENGTH.pack(len(r)) + r for r in records))
            while raw:
                raw = raw[os.write(new, raw) :]
            os.dup2(new, self.fd, inheritable=False)
        finally:
            os.close(new)
        self._spare = 0

    def __setitem__(self, key: int, value: Any) -> None:
        self._write(key, [value])

    def __delitem__(self, key: int) -> None:
        if key not in self._values:
            raise KeyError(key)
        self._write(key, [])

    def __getitem__(self, key: int) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def read(fd: int) -> dict[int, Any]:
    """What another process has in such a mapping."""
    found: dict[int, Any] = {}
    for key, value, _ in _records(fd):
        found.pop(key, None)
        if value:
            found[key] = value[0]
    return found


def _records(fd: int) -> Iterator[tuple[int, list[Any], int]]:
    """Key, value if there is one, and size of each record that is whole."""
    raw, at = os.pread(fd, os.fstat(fd).st_size, 0), 0
    while at + _LENGTH.size <= len(raw):
        end = at + _LENGTH.size + _LENGTH.unpack_from(raw, at)[0]
        if end > len(raw):
            return
        key, *value = _decode(raw[at + _LENGTH.size : end])
        yield key, value, end - at
        at = end
