"""A file system that a service writes, served to the programs of a view through FUSE.

Subclass `FileTree`, override what the tree offers. Each method may be ``def`` (it answers at once
and must not block: one thread serves many trees) or ``async def`` (it may wait, on trio; it is
cancelled when the caller is killed, see `FileTree.interruptible`).

* A **node** is a file, whatever its names: a number of the tree's choosing, above 0, `ROOT` for the
  root. The kernel knows a node from the first `Entry` that names it until `FileTree.forget`.
* A **handle** is what `FileTree.open` returned: any object, given back until `FileTree.release`.
* Names, xattr names and link targets are bytes. Times are nanoseconds since 1970.
* Raise OSError with the errno that the program is to see. Anything else is a bug: EIO, and a log
  line with the traceback.
* The kernel checks permission bits; only of a tree that is served ``unchecked``
  (`viewosd.space.Space.serve`) it does not, and the tree must, in each method. It serialises:
  nothing else happens in a directory while one of its names is made, moved or taken away.

* A server that is killed has a successor. A tree that says `FileTree.resumable` goes on in it; of
  any other all calls fail with EIO from then on, until it is unmounted.

`viewosd.generated` is a tree of names and contents in a few lines.
Source: include/uapi/linux/fuse.h, fs/fuse/; fuse(4).
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, ClassVar, NoReturn, Self, TypeAlias, TypeVar

from .filetree_records import (
    Attr,
    Context,
    Data,
    Dirent,
    Entry,
    Kernel,
    Lock,
    Opened,
    SetAttr,
    Statfs,
)

__all__ = [
    "ROOT", "Attr", "Context", "Data", "Dirent", "Entry", "FileTree", "Kernel", "Lock", "Opened",
    "SetAttr", "Soon", "Statfs",
]  # fmt: skip

T = TypeVar("T")
Soon: TypeAlias = T | Awaitable[T]
"""What a method returns, be it ``def`` or ``async def``."""

ROOT = 1
"""The node of the root. Source: FUSE_ROOT_ID."""


def _refuse(code: int = errno.ENOSYS) -> NoReturn:
    raise OSError(code, "not offered by this tree")


class FileTree:
    """Base of a served file system. ``context`` says who asks; ``handle`` is None if `no_open`.

    Not offered, the kernel does without: access, create, flush, fsync, fallocate, lseek, locks,
    copy_file_range, ioctl, tmpfile, xattrs (ENOTSUP). Calls that change fail with EROFS.
    """

    entry_s: float = 1.0
    attr_s: float = 1.0
    negative_s: float = 0.0
    """Seconds for which the kernel believes names, attributes, the absence of names."""

    no_open: ClassVar[bool] = False
    """open and release are not needed: the kernel does not ask, and keeps caches at each open."""
    no_opendir: ClassVar[bool] = False
    """opendir and releasedir are not needed; listings are cached as with `Opened.cache_dir`."""
    writeback: ClassVar[bool] = False
    """Writes go to the page cache and come here later. Size and mtime of a written file are then
    the kernel's alone; files are opened for reading too, never with O_APPEND."""
    passthrough: bool = False
    """`Opened.passthrough` is used."""
    killpriv: ClassVar[bool] = False
    """The tree takes security.capability away at each write, truncation and chown, and set-id bits
    where `SetAttr.kill_suidgid` says so. Else the kernel asks for that xattr at each write."""
    applies_umask: ClassVar[bool] = False
    """``mode`` comes as the program said it: for trees with default ACLs."""
    posix_acl: bool = False
    """It keeps access control lists, `system.posix_acl_access` and `_default`, as extended
    attributes whose mask is the group's permissions: acl(5). The kernel checks by them, so never
    say this of a tree that is served ``unchecked``. Without it the two are attributes like others
    where the mount belongs to root's user namespace, and ENOTSUP elsewhere."""
    cache_symlinks: ClassVar[bool] = False
    """A symbolic link's target never changes."""
    interruptible: ClassVar[bool] = False
    """Any signal to the caller cancels a method that waits, as it ends a read of a terminal. Else
    those only that kill the caller: programs do not expect EINTR of files. (`setlk` and `flock`
    are interruptible always, `flush` and `release` never.)"""
    max_write: ClassVar[int] = 1 << 20
    """Bytes in one write, and in one read that is not of the cache; at least 4096."""

    resumable: ClassVar[bool] = False
    """It can go on in another process after its own was killed: see `resume`."""

    kernel: Kernel
    """Set before the first call comes."""
    kept: MutableMapping[int, Any]
    """If the tree is `resumable`, what is put here outlives a killed server. Values are numbers,
    str, bytes, lists, dicts; a changed one is put again."""

    def __new__(cls, *_: Any, **__: Any) -> Self:
        made = super().__new__(cls)
        made.kept = {}  # until the server has a better one
        return made

    # Going on where a killed server was

    def resume(self) -> None:
        """Be the tree that a killed server had: called after ``__init__``, before any call.

        `kept` is as it was left, and the kernel knows the nodes that it knew. Descriptors that the
        dead tree had are open still, under the same numbers; see `descriptors`. What was under way
        is asked again if that can't do harm, else it has failed with EIO. An exception here: the
        tree can't go on.
        """

    def descriptors(self, handles: Sequence[Any]) -> Iterable[int]:
        """After `resume`: those of the dead tree's that are used; all others are closed.

        Args:
            handles: those that were open, as `describe` has described them.
        """
        return ()

    def describe(self, handle: Any) -> Any:
        """An open handle, as `kept` takes it."""
        return handle

    def restore(self, node: int, described: Any) -> Any:
        """The handle that was described so. An exception: what uses it fails with EIO."""
        return described

    def destroy(self) -> Soon[None]:
        """The last mount is gone; called once, after everything else."""

    # Names

    def lookup(self, parent: int, name: bytes, context: Context) -> Soon[Entry]:
        """Find a name in a directory. ENOENT: there is none, as a negative `Entry` that is not
        remembered.
        """
        _refuse()

    def forget(self, node: int, nlookup: int) -> None:
        """The kernel dropped ``nlookup`` of the entries it was given for a node.

        At the sum of all it knows the node no more. Not called for what it still knows at the
        end. Always ``def``.
        """

    def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, context: Context
    ) -> Soon[Entry]:
        """Create a regular file, device, FIFO or socket."""
        _refuse(errno.EROFS)

    def mkdir(self, parent: int, name: bytes, mode: int, context: Context) -> Soon[Entry]:
        """Create a directory."""
        _refuse(errno.EROFS)

    def symlink(self, parent: int, name: bytes, target: bytes, context: Context) -> Soon[Entry]:
        """Create a symbolic link."""
        _refuse(errno.EROFS)

    def link(self, node: int, parent: int, name: bytes, context: Context) -> Soon[Entry]:
        """Give a file one more name."""
        _refuse(errno.EROFS)

    def unlink(self, parent: int, name: bytes, context: Context) -> Soon[None]:
        """Take a name away. The node lives on until `forget` and `release`."""
        _refuse(errno.EROFS)

    def rmdir(self, parent: int, name: bytes, context: Context) -> Soon[None]:
        """Remove a directory; ENOTEMPTY."""
        _refuse(errno.EROFS)

    def rename(
        self, parent: int, name: bytes, to: int, to_name: bytes, flags: int, context: Context
    ) -> Soon[None]:
        """Move a name, over another if there is one.

        Args:
            flags: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT; EINVAL for what the tree
                can't do. Source: include/uapi/linux/fs.h; rename(2).
        """
        _refuse(errno.EROFS)

    # Attributes

    def getattr(self, node: int, handle: Any, context: Context) -> Soon[Attr]:
        """Attributes of a node. ``handle``: the open file of fstat(2), if the kernel said it."""
        _refuse()

    def setattr(self, node: int, change: SetAttr, handle: Any, context: Context) -> Soon[Attr]:
        """Change some; returns all, as they are then. ``handle``: of ftruncate(2), else None."""
        _refuse(errno.EROFS)

    def readlink(self, node: int, context: Context) -> Soon[bytes]:
        """A symbolic link's target."""
        _refuse(errno.EINVAL)

    def access(self, node: int, mask: int, context: Context) -> Soon[None]:
        """access(2), chdir(2); asked only of a tree that is served ``unchecked``."""
        _refuse()

    def born(self, node: int, handle: Any, context: Context) -> Soon[int]:
        """When a file was made, ns: statx(2) with STATX_BTIME; 0: unknown. Linux 6.6."""
        _refuse()

    def statfs(self, node: int, context: Context) -> Soon[Statfs]:
        """Sizes of the file system."""
        return Statfs()

    def syncfs(self, node: int, context: Context) -> Soon[None]:
        """syncfs(2), sync(2). No kernel up to 6.18 asks it of a file system of type fuse."""
        _refuse()

    def getxattr(self, node: int, name: bytes, context: Context) -> Soon[bytes]:
        """An extended attribute; ENODATA."""
        _refuse()

    def listxattr(self, node: int, context: Context) -> Soon[Iterable[bytes]]:
        """Names of extended attributes."""
        _refuse()

    def setxattr(
        self, node: int, name: bytes, value: bytes, flags: int, context: Context
    ) -> Soon[None]:
        """Set one; ``flags``: XATTR_CREATE (EEXIST), XATTR_REPLACE (ENODATA)."""
        _refuse()

    def removexattr(self, node: int, name: bytes, context: Context) -> Soon[None]:
        """Remove one; ENODATA."""
        _refuse()

    # Files

    def open(self, node: int, flags: int, context: Context) -> Soon[Opened]:
        """Open a file that exists; O_CREAT, O_EXCL, O_TRUNC are not in ``flags``: setattr comes
        after it for O_TRUNC.
        """
        return Opened()

    def create(
        self, parent: int, name: bytes, mode: int, flags: int, context: Context
    ) -> Soon[tuple[Entry, Opened]]:
        """Create a regular file and open it, in one step; open it if it is there after all, unless
        O_EXCL. Not offered: the kernel uses mknod and open.
        """
        _refuse()

    def tmpfile(
        self, parent: int, mode: int, flags: int, context: Context
    ) -> Soon[tuple[Entry, Opened]]:
        """open(2) with O_TMPFILE: a file without a name. Linux 6.1."""
        _refuse()

    def read(self, node: int, handle: Any, offset: int, size: int, context: Context) -> Soon[Data]:
        """Bytes at an offset; fewer than ``size`` only at the end (or with `Opened.direct_io`).

        For what may take long, use `Opened.direct_io`: a read into the page cache is cancelled by
        nothing, and opening the file again waits for it.
        """
        _refuse()

    def write(
        self, node: int, handle: Any, offset: int, data: memoryview, context: Context
    ) -> Soon[int]:
        """Write at an offset; returns how many bytes. ``data`` is good until the method is done."""
        _refuse(errno.EROFS)

    def flush(self, node: int, handle: Any, owner: int, context: Context) -> Soon[None]:
        """close(2) of one of the descriptors; its error is close's. The POSIX locks of ``owner``
        (an opaque number) end here, for trees that offer `setlk`.
        """
        _refuse()

    def release(self, node: int, handle: Any, owner: int) -> Soon[None]:
        """The last descriptor and mapping are gone. Ends the flock(2) lock of ``owner``, if it is
        not 0. Nobody hears its errors.
        """

    def fsync(self, node: int, handle: Any, datasync: bool, context: Context) -> Soon[None]:
        """fsync(2), fdatasync(2)."""
        _refuse()

    def fallocate(
        self, node: int, handle: Any, mode: int, offset: int, length: int, context: Context
    ) -> Soon[None]:
        """fallocate(2); ``mode``: FALLOC_FL_*, EOPNOTSUPP for what the tree can't do."""
        _refuse()

    def lseek(
        self, node: int, handle: Any, offset: int, whence: int, context: Context
    ) -> Soon[int]:
        """SEEK_DATA, SEEK_HOLE; ENXIO. Not offered: the file is all data."""
        _refuse()

    def copy_file_range(
        self, node: int, handle: Any, offset: int, to: int, to_handle: Any, to_offset: int,
        length: int, flags: int, context: Context,
    ) -> Soon[int]:  # fmt: skip
        """copy_file_range(2) between files of this tree; returns how many bytes."""
        _refuse()

    def poll(
        self, node: int, handle: Any, events: int, wake: Callable[[], None] | None, context: Context
    ) -> Soon[int]:
        """poll(2): which of ``events`` (POLL*) are there; it must not wait for them.

        Args:
            wake: to be called, once or more often, when others may be there: somebody sleeps until
                then. None: nobody does.

        Not offered: the file is always ready.
        """
        _refuse()

    def ioctl(
        self, node: int, handle: Any, command: int, argument: int, data: bytes, size: int,
        context: Context,
    ) -> Soon[tuple[int, Data]]:  # fmt: skip
        """An ioctl whose number tells size and direction of its data, as `viewosd.abi.ioctl` says.

        There are no others: what is behind a pointer is never to be had ("unrestricted" is for
        character devices alone, fs/fuse/ioctl.c:fuse_do_ioctl()).

        Args:
            data: what the program gave, if the number has IOC_WRITE.
            size: bytes that may be returned, if it has IOC_READ.

        Returns:
            The call's result, at least 0, and what goes to the program.
        """
        _refuse()

    def getlk(self, node: int, handle: Any, owner: int, lock: Lock, context: Context) -> Soon[Lock]:
        """The lock that is in the way of ``lock``, else ``lock`` with type F_UNLCK."""
        _refuse()

    def setlk(
        self, node: int, handle: Any, owner: int, lock: Lock, wait: bool, context: Context
    ) -> Soon[None]:
        """Set or take away a POSIX lock; EAGAIN if not to ``wait``. Without it, and without
        `flock`, the kernel keeps the locks.
        """
        _refuse()

    def flock(
        self, node: int, handle: Any, owner: int, type: int, wait: bool, context: Context
    ) -> Soon[None]:
        """flock(2); ``type``: F_RDLCK for LOCK_SH, F_WRLCK for LOCK_EX, F_UNLCK for LOCK_UN."""
        _refuse()

    # Directories

    def opendir(self, node: int, flags: int, context: Context) -> Soon[Opened]:
        """Begin a listing."""
        return Opened()

    def readdir(
        self, node: int, handle: Any, offset: int, context: Context
    ) -> Soon[Iterable[Dirent]]:
        """The entries after ``offset`` (0: from the start), in order; taken as far as they fit.

        A generator is fine. What was there all the time between opendir and the end comes exactly
        once. Attributes that the kernel wants along are asked of `lookup`, entry by entry.
        """
        _refuse()

    def releasedir(self, node: int, handle: Any) -> Soon[None]:
        """End a listing."""

    def fsyncdir(self, node: int, handle: Any, datasync: bool, context: Context) -> Soon[None]:
        """fsync(2) of a directory."""
        _refuse()
