"""One mounted tree as its calls see it, and how what a tree returns is packed."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..abi import fuse as abi
from ..filetree import Attr, Data, Entry, FileTree, Lock, Opened, Statfs
from . import codec
from .codec import Request
from .life import FLAGS, Life
from .notify import Notifier
from .passthrough import Backings

log = logging.getLogger("viewosd")


class _Lost:
    """What a successor has instead of a handle that could not be restored."""


_LOST: Final = _Lost()


class Session:
    """One mounted tree as its calls see it.

    Attributes:
        flags: FUSE_* that were agreed on.
    """

    def __init__(self, tree: FileTree, device: int, life: Life, kernel: Notifier) -> None:
        self.tree = tree
        self.flags = 0
        self.backings = Backings(device)
        self._kernel, self._kept = kernel, life.kept
        self._handles: dict[int, Any] = {}
        self._backed: set[int] = set()
        self._polled = tree.resumable and type(tree).poll is not FileTree.poll
        self._next = 1

    def agree(self, flags: int) -> None:
        """FUSE_INIT has been answered."""
        self.flags = self._kept[FLAGS] = flags

    def resume(self) -> None:
        """Take back what a dead server had open."""
        self.flags = self._kept.get(FLAGS, 0)
        for number in [number for number in self._kept if number != FLAGS]:
            node, described, backing, kh = self._kept[number]
            try:
                known = described is not None
                self._handles[number] = self.tree.restore(node, described) if known else None
            except Exception as error:
                name = type(self.tree).__name__
                log.error("%s: a file that is open (node %d) is lost: %r", name, node, error)
                self._handles[number] = _LOST
            self._next = max(self._next, number + 1)
            if backing:
                self.backings.restore(node, backing)
                self._backed.add(number)
            if kh:
                self._kernel.poll(kh)  # who sleeps asks again

    def handle(self, number: int) -> Any:
        """The handle that the kernel knows by a number; None has the number 0.

        Raises:
            OSError: EIO, it was lost with a dead server.
        """
        found = self._handles.get(number)
        if found is _LOST:
            raise OSError(errno.EIO, "lost with its server")
        return found

    def known(self, number: int) -> Any:
        """As `handle`, without a check."""
        return self._handles.get(number)

    def keep(self, node: int, opened: Opened) -> tuple[int, int]:
        """Numbers for what was opened: of its handle, and of the file that the kernel uses."""
        backing = 0
        if opened.passthrough >= 0 and self.flags & abi.FUSE_PASSTHROUGH:
            backing = self.backings.take(node, opened.passthrough)
        if opened.handle is None and not backing and not self._polled:
            return 0, 0
        number, self._next = self._next, self._next + 1
        self._handles[number] = opened.handle
        if backing:
            self._backed.add(number)
        if self.tree.resumable:
            described = None if opened.handle is None else self.tree.describe(opened.handle)
            self._kept[number] = [node, described, backing, 0]
        return number, backing

    def drop(self, node: int, number: int) -> bool:
        """A handle is released. Was it known, so that the tree must hear of it? Not if it was lost,
        or a dead server was killed when it had just done this.
        """
        self._kept.pop(number, None)
        known = self._handles.pop(number, _LOST if number else None) is not _LOST
        if number in self._backed:
            self._backed.remove(number)
            self.backings.give(node)
        return known

    def wake(self, number: int, kh: int) -> Callable[[], None]:
        """What a tree calls when a file that is polled is ready. ``kh`` is the kernel's name."""
        if number in self._kept and not self._kept[number][3]:
            self._kept[number] = [*self._kept[number][:3], kh]
        return lambda: self._kernel.poll(kh)

    def entry(self, entry: Entry) -> bytes:
        """What a name is, packed."""
        tree = self.tree
        return codec.entry_out(entry, tree.entry_s if entry.node else tree.negative_s, tree.attr_s)


def nothing(_s: Session, _r: Request, _result: Any) -> bytes:
    return b""


def entry(s: Session, _r: Request, entry: Entry) -> bytes:
    return s.entry(entry)


def attr(s: Session, _r: Request, attr: Attr) -> bytes:
    return codec.attr_out(attr, s.tree.attr_s)


def opened(s: Session, r: Request, opened: Opened) -> bytes:
    number, backing = s.keep(r.node, opened)
    return codec.open_out(number, opened, backing)


def created(s: Session, _r: Request, both: tuple[Entry, Opened]) -> bytes:
    entry, opened = both
    packed = s.entry(entry)
    number, backing = s.keep(entry.node, opened)
    return packed + codec.open_out(number, opened, backing)


def data(_s: Session, _r: Request, found: Data) -> Data:
    return found


def read(_s: Session, r: Request, data: Data) -> Data:
    size = r.args[2]
    return data if len(data) <= size else memoryview(data)[:size]


def written(_s: Session, r: Request, count: int) -> bytes:
    if count > len(r.data):
        raise ValueError(f"{count} bytes are said to be written of {len(r.data)}")
    return abi.fuse_write_out.codec().pack(count)


def count(_s: Session, _r: Request, count: int) -> bytes:
    return abi.fuse_write_out.codec().pack(count)


def offset(_s: Session, _r: Request, offset: int) -> bytes:
    return abi.fuse_lseek_out.codec().pack(offset)


def copied(_s: Session, _r: Request, count: int) -> bytes:
    return abi.fuse_copy_file_range_out.codec().pack(count)


def statx(s: Session, _r: Request, both: tuple[Attr, int]) -> bytes:
    return codec.statx_out(both[0], s.tree.attr_s, both[1])


def poll(_s: Session, _r: Request, events: int) -> bytes:
    return abi.fuse_poll_out.codec().pack(events)


def statfs(_s: Session, _r: Request, found: Statfs) -> bytes:
    return codec.statfs_out(found)


def lock(_s: Session, _r: Request, lock: Lock) -> bytes:
    return codec.lock_out(lock)


def xattr(_s: Session, r: Request, found: Data) -> Data:
    """Size 0 asks how large it is; too little is ERANGE: getxattr(2)."""
    size = r.args[0]
    if not size:
        return abi.fuse_getxattr_out.codec().pack(len(found))
    if len(found) > size:
        raise OSError(errno.ERANGE, "the attribute is larger")
    return found


def xattr_names(s: Session, r: Request, names: Iterable[bytes]) -> Data:
    return xattr(s, r, b"".join(name + b"\0" for name in names))


def ioctl(_s: Session, r: Request, both: tuple[int, Data]) -> bytes:
    result, data = both
    size = r.args[5]
    return abi.fuse_ioctl_out.codec().pack(result, 0, 0, 0) + bytes(data)[:size]
