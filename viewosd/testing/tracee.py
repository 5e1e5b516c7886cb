"""A tracee without a kernel: its memory is a dictionary of mapped pieces."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ..abi.arch import NATIVE, Arch
from ..abi.layout import Struct
from ..errors import BadAddress, Vanished
from ..runtime.tracee import narrowed
from ..syscalls.kinds import In, InOut, Out
from ..tracee import Credentials

S = TypeVar("S", bound=Struct)
T = TypeVar("T")


class FakeTracee:
    """Offers what `viewosd.Tracee` does; what it holds can be set and looked at.

    Attributes:
        memory: address to bytes; reading and writing beyond a piece is a BadAddress.
        alive: False makes every access raise Vanished.
        descriptors: number in the tracee to descriptor of ours.
        lineage: what `ancestors` tells.
    """

    def __init__(self, arch: Arch = NATIVE, tid: int = 1000, cwd: bytes = b"/") -> None:
        self.arch, self.tid, self.pid, self.cwd = arch, tid, tid, cwd
        self.memory: dict[int, bytearray] = {}
        self.descriptors: dict[int, int] = {}
        self.alive, self.cookie = True, 1
        self.umask, self.personality = 0o022, 0
        self.credentials = Credentials(1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, (), 0)
        self.command = b"fake"
        self.lineage = [(tid, 1)]
        self._next = 0x10000

    def ancestors(self) -> Iterator[tuple[int, int]]:
        yield from self.lineage

    def put(self, data: bytes) -> int:
        """Map a new piece that holds ``data``; its address."""
        address, self._next = self._next, self._next + (len(data) + 0x1FFF & ~0xFFF)
        self.memory[address] = bytearray(data)
        return address

    def check(self) -> None:
        if not self.alive:
            raise Vanished

    def _piece(self, address: int, length: int) -> tuple[bytearray, int]:
        self.check()
        for start, piece in self.memory.items():
            if start <= address < start + len(piece):
                return piece, address - start
        raise BadAddress(address, length)

    def read(self, address: int, length: int) -> bytes:
        piece, at = self._piece(address, length)
        if at + length > len(piece):
            raise BadAddress(address, length)
        return bytes(piece[at : at + length])

    def read_str(self, address: int, limit: int = 4096) -> bytes:
        piece, at = self._piece(address, 1)
        found, nul, _ = bytes(piece[at : at + limit]).partition(b"\0")
        if not nul:
            if len(found) < limit:
                raise BadAddress(address, len(found))
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return found

    def read_strs(self, address: int, limit: int = 0x20000) -> list[bytes]:
        size = self.arch.pointer_size
        found: list[bytes] = []
        for at in range(address, address + limit, size):
            pointer = int.from_bytes(self.read(at, size), "little")
            if not pointer:
                return found
            found.append(self.read_str(pointer))
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))

    def read_struct(self, where: In[S] | InOut[S] | Out[S], kind: type[S]) -> S:
        narrow = kind.compat if self.arch.is_compat else None
        if narrow is None:
            return kind.unpack(self.read(where, kind.sizeof))
        small = narrow.unpack(self.read(where, narrow.sizeof))
        return kind(**{n: getattr(small, n) for n in kind._fields if n in narrow._fields})

    def write(self, address: int, data: bytes) -> None:
        piece, at = self._piece(address, len(data))
        if at + len(data) > len(piece):
            raise BadAddress(address, len(data))
        piece[at : at + len(data)] = data

    def write_struct(self, where: Out[S] | InOut[S], what: S) -> None:
        self.write(where, narrowed(what, self.arch).pack())

    @contextmanager
    def fd(self, number: int) -> Iterator[int]:
        if number not in self.descriptors:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        ours = os.dup(self.descriptors[number])
        try:
            yield ours
        finally:
            os.close(ours)

    def open(
        self, dirfd: int, path: bytes, flags: int = 0, mode: int = 0, *, resolve: int = 0
    ) -> int:
        self.check()
        return os.open(self.path_of(dirfd, path), flags | os.O_CLOEXEC, mode)

    def aside(self, function: Callable[..., T], *args: Any) -> T:
        self.check()
        return function(*args)

    def let_go(self) -> None:
        pass

    def path_of(self, dirfd: int, path: bytes) -> bytes:
        return path if path.startswith(b"/") else self.cwd.rstrip(b"/") + b"/" + path
