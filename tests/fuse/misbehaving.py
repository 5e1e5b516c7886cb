"""Trees that do what a tree must not, or wait; served by name, in a process of its own."""

from __future__ import annotations

import errno
import os
import select
import time

import trio

from viewosd.filetree import Attr, Entry, FileTree, Opened


class One(FileTree):
    """A directory with one file, "f"."""

    entry_s = attr_s = 0.0
    resumable = True

    def __init__(self, descriptors=(), note: str = "") -> None:
        self.note = note

    def count(self) -> int:
        """How often this was called, in all processes together."""
        with open(self.note, "ab", 0) as file:
            file.write(b"x")
            return file.tell()

    def getattr(self, node, handle, context):
        return Attr(node, 0o100666 if node == 2 else 0o040755, size=4 if node == 2 else 0)

    def lookup(self, parent, name, context):
        if name != b"f":
            raise OSError(errno.ENOENT, "only f")
        return Entry(2, self.getattr(2, None, context))

    def open(self, node, flags, context):
        return Opened(direct_io=True)

    def read(self, node, handle, offset, size, context):
        return b"data"[offset : offset + size]


class Dies(One):
    """Its process ends in each read."""

    def read(self, node, handle, offset, size, context):
        self.count()
        os._exit(3)


class DiesInAWrite(One):
    def write(self, node, handle, offset, data, context):
        self.count()
        os._exit(3)


class Blocks(One):
    """A read never returns, and the loop stands still."""

    def read(self, node, handle, offset, size, context):
        self.count()
        time.sleep(1e6)


class Waits(One):
    """A read waits until somebody has set the attribute."""

    def __init__(self, descriptors=(), note: str = "") -> None:
        super().__init__(descriptors, note)
        self.go = trio.Event()

    async def read(self, node, handle, offset, size, context):
        self.count()
        await self.go.wait()
        return b"late"[offset : offset + size]

    def setxattr(self, node, name, value, flags, context):
        self.go.set()


class Locked(One):
    """Somebody else has the lock until the attribute is set; a descriptor is never ready before."""

    def __init__(self, descriptors=(), note: str = "") -> None:
        super().__init__(descriptors, note)
        self.go = trio.Event()

    async def setlk(self, node, handle, owner, lock, wait, context):
        self.count()
        await self.go.wait()

    async def flock(self, node, handle, owner, type, wait, context):
        if type != 2:  # F_UNLCK
            self.count()
            await self.go.wait()

    def poll(self, node, handle, events, wake, context):
        if wake is not None:
            self.count()
        return events & select.POLLIN if self.go.is_set() or self.kept.get(1) else 0

    def setxattr(self, node, name, value, flags, context):
        self.kept[1] = True
        self.go.set()


class Refuses(One):
    """It says that it can go on, and then it can't."""

    def resume(self):
        raise KeyError("what was it?")


class LosesHandles(One):
    def open(self, node, flags, context):
        return Opened("handle", direct_io=True)

    def restore(self, node, described):
        raise OSError(errno.ENOENT, "not there any more")


class Forgetful(One):
    """What it has in memory is lost with it."""

    resumable = False
