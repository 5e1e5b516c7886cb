"""What a `viewosd.filetree.FileTree` takes and returns. Import them from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Data = bytes | bytearray | memoryview


@dataclass(slots=True)
class Attr:
    """What stat(2) tells of a file. A tree may keep one for each node and change it in place.

    Attributes:
        ino: inode number, as programs see it; need not be the node.
        mode: type and permission bits.
        rdev: as os.makedev makes it.
        size: bytes.
        blocks: units of 512 bytes; None: what ``size`` would take.
        valid_s: seconds for which the kernel need not ask again; None: the tree's `attr_s`.
    """

    ino: int
    mode: int
    nlink: int = 1
    uid: int = 0
    gid: int = 0
    rdev: int = 0
    size: int = 0
    blocks: int | None = None
    blksize: int = 4096
    atime_ns: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    valid_s: float | None = None


class Entry(NamedTuple):
    """A name's file: what lookup and all that creates return. Each one counts for `forget`.

    Attributes:
        node: 0 says "no such name, and remember that" (negative; ``attr`` does not matter then).
        attr: its type must stay the same as long as the node lives.
        entry_s: seconds for which the kernel need not look the name up again; None: the tree's
            `entry_s`, or `negative_s` for node 0.
        generation: node and generation together are never used again for another file.
    """

    node: int
    attr: Attr
    entry_s: float | None = None
    generation: int = 0


class SetAttr(NamedTuple):
    """What `FileTree.setattr` is to change; None: leave it.

    Attributes:
        size: truncate or extend to so many bytes.
        atime_now, mtime_now: utimensat(2) with UTIME_NOW; ``atime_ns`` is the time now.
        kill_suidgid: take away S_ISUID, and S_ISGID if S_IXGRP is set; only if `killpriv`.
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None
    atime_now: bool = False
    mtime_now: bool = False
    kill_suidgid: bool = False


class Context(NamedTuple):
    """Who asks. Ids are as the mount's user namespace numbers them; -1 as uint32: unmapped.

    Attributes:
        pid: a thread's; 0 where it has none in the server's pid namespace, or where the kernel
            itself asks (writing back, reading ahead).
        umask: already taken off ``mode``, unless the tree sets `applies_umask`; 0 where nothing
            is created.
    """

    uid: int
    gid: int
    pid: int
    umask: int = 0


class Opened(NamedTuple):
    """What open returns. Source: FOPEN_* in include/uapi/linux/fuse.h.

    Attributes:
        handle: any object.
        direct_io: no page cache: each read(2) and write(2) comes here. For contents whose size
            is not known before. mmap(2) with MAP_SHARED fails then (ENODEV).
        keep_cache: what is cached from before is still good.
        nonseekable: lseek(2), pread(2) fail with ESPIPE.
        cache_dir: the kernel may cache this listing until the directory's mtime changes.
        passthrough: a descriptor of a regular file that the kernel is to read, write and map
            itself from now on, without asking here; it may be closed then. Ignored where that
            can't be: Linux 6.9, CAP_SYS_ADMIN in the first user namespace, no `writeback`. While a
            node is open so, each opening of it must ask for the same file.
    """

    handle: Any = None
    direct_io: bool = False
    keep_cache: bool = False
    nonseekable: bool = False
    cache_dir: bool = False
    passthrough: int = -1


class Dirent(NamedTuple):
    """An entry of a listing.

    Attributes:
        name: "." and ".." are listed like others.
        ino: as in `Attr`.
        type: the type bits of a mode (S_IFMT); 0: unknown. Other bits are ignored.
        offset: where a listing goes on after this entry; above 0, below 2**63. It must stay good
            while other entries come and go: a running number that a name keeps, not a position.
    """

    name: bytes
    ino: int
    type: int
    offset: int


class Statfs(NamedTuple):
    """What statfs(2) tells. ``blocks``, ``bfree``, ``bavail`` are units of ``frsize`` bytes."""

    blocks: int = 0
    bfree: int = 0
    bavail: int = 0
    files: int = 0
    ffree: int = 0
    bsize: int = 4096
    namelen: int = 255
    frsize: int = 4096


class Lock(NamedTuple):
    """A lock on the bytes from ``start`` to ``end``, both included; ``type`` is F_RDLCK, F_WRLCK
    or F_UNLCK. fcntl(2), "Advisory record locking".
    """

    type: int
    start: int
    end: int
    pid: int


class Kernel(Protocol):
    """What a tree tells the kernel, when something changed otherwise than by a call of the kernel.

    Each is sent soon, in order, by a thread of its own (a notification waits for locks that are
    held by calls which wait for the tree). What the kernel does not know is no error.
    """

    def inval_entry(self, parent: int, name: bytes) -> None:
        """Forget what a name is, and what is below it; look it up again."""

    def inval_inode(self, node: int, offset: int = 0, length: int = 0) -> None:
        """Forget a node's attributes, and its cached data from ``offset``.

        Args:
            length: bytes; 0: to the end. ``offset`` below 0: attributes alone.
        """

    def delete(self, parent: int, node: int, name: bytes) -> None:
        """A name is gone: as inval_entry, and inotify(7) tells of it."""

    def store(self, node: int, offset: int, data: Data) -> None:
        """Put data into the page cache of a node."""

    async def retrieve(self, node: int, offset: int, size: int) -> bytes:
        """What the page cache has of a node, at most `FileTree.max_write` bytes; it ends where a
        page is missing.
        """
