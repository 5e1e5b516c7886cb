"""One mounted tree as its calls see it, and how what a tree returns is packed. Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

from ..abi import fuse as abi
from ..filetree import Attr, Data, Entry, FileTree, Lock, Opened, Statfs
from . import codec
from .codec import Request


class Session:
    """One mounted tree as its calls see it.

    Attributes:
        flags: FUSE_* that were agreed on.
        handles: by the number that the kernel knows; None has the number 0.
    """

    def __init__(self, tree: FileTree) -> None:
        self.tree = tree
        self.flags = 0
        self.handles: dict[int, Any] = {}
        self._next = 1

    def keep(self, handle: Any) -> int:
        """A number for a handle."""
        if handle is None:
            return 0
        number, self._next = self._next, self._next + 1
        self.handles[number] = handle
        return number

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


def opened(s: Session, _r: Request, opened: Opened) -> bytes:
    return codec.open_out(s.keep(opened.handle), opened)


def created(s: Session, _r: Request, both: tuple[Entry, Opened]) -> bytes:
    entry, opened = both
    return s.entry(entry) + codec.open_out(s.keep(opened.handle), opened)


def data(_s: Session, _r: Request, found: Data) -> Data:
    return found


def read(_s: Session, r: Request, data: Data) -> Data:
    size = r.args[2]
    return data if len(data) <= size else memoryview(data)[:size]


def count(_s: Session, _r: Request, count: int) -> bytes:
    return abi.fuse_write_out.codec().pack(count)


def offset(_s: Session, _r: Request, offset: int) -> bytes:
    return abi.fuse_lseek_out.codec().pack(offset)


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
