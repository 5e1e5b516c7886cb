"""A real directory, passed through: each call is made below it, by the server, with its rights.

A node is a descriptor (O_PATH) of its file, so files are found again whatever they are called now,
and are there still for a successor of a server that was killed: its descriptors outlive it.
What is mounted in the directory was cloned with it; what is mounted there later is not seen. So a
directory can be mounted below itself.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from viewosd.abi.dirent import unpack_dirents64
from viewosd.filetree import (
    ROOT,
    Attr,
    Context,
    Dirent,
    Entry,
    FileTree,
    Opened,
    SetAttr,
    Statfs,
)

from . import unsafe

# The kernel has dealt with these, or they would mean another descriptor than the caller's.
_NOT_OURS: Final = os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_NOFOLLOW | os.O_DIRECT | os.O_NOCTTY
_LISTED: Final = 4096
"""Bytes of a directory that are read at once."""
_PATH: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class _Node:
    """A file: its descriptor, which file that is, how many entries the kernel has of it."""

    __slots__ = ("fd", "key", "known")

    def __init__(self, fd: int, key: tuple[int, int]) -> None:
        self.fd, self.key, self.known = fd, key, 0

    @property
    def path(self) -> str:
        """A path to the file itself, be it a symbolic link: proc_pid_fd(5)."""
        return f"/proc/self/fd/{self.fd}"


class Real(FileTree):
    """Passes a directory, or a single file, through.

    Args:
        descriptors: of it, O_PATH.
    """

    resumable = True

    def __init__(self, descriptors: Sequence[int]) -> None:
        (root,) = descriptors
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        os.umask(0)  # modes come as they are to be
        self._root = self.passthrough = os.geteuid() == 0
        self._nodes = {ROOT: _Node(root, _key(os.fstat(root)))}
        self._numbers = {self._nodes[ROOT].key: ROOT}
        self._last = ROOT

    def destroy(self) -> None:
        for node in self._nodes.values():
            os.close(node.fd)
        self._nodes.clear()

    # Going on where a killed server was

    def resume(self) -> None:
        for number, (fd, known) in self.kept.items():
            node = self._nodes[number] = _Node(fd, _key(os.fstat(fd)))
            node.known = known
            self._numbers[node.key] = number
            self._last = max(self._last, number)

    def descriptors(self, handles: Sequence[Any]) -> Iterable[int]:
        return [*(node.fd for node in self._nodes.values()), *handles]

    # Names

    def _node(self, number: int) -> _Node:
        try:
            return self._nodes[number]
        except KeyError:
            raise OSError(errno.ESTALE, "not known any more") from None

    def _enter(self, fd: int) -> Entry:
        """The entry of a file; its descriptor is the node's from now on, or closed."""
        try:
            status = os.fstat(fd)
        except OSError:
            os.close(fd)
            raise
        key = _key(status)
        number = self._numbers.get(key)
        if number is None:
            self._last += 1
            number = self._numbers[key] = self._last
            self._nodes[number] = _Node(fd, key)
        else:
            os.close(fd)
        node = self._nodes[number]
        node.known += 1
        if number != ROOT:
            self.kept[number] = [node.fd, node.known]
        return Entry(number, _attr(status))

    def lookup(self, parent: int, name: bytes, context: Context) -> Entry:
        return self._enter(os.open(name, _PATH, dir_fd=self._node(parent).fd))

    def forget(self, node: int, nlookup: int) -> None:
        found = self._nodes.get(node)
        if found is None or node == ROOT:
            return
        found.known -= nlookup
        if found.known > 0:
            self.kept[node] = [found.fd, found.known]
            return
        del self._nodes[node], self._numbers[found.key], self.kept[node]
        os.close(found.fd)

    def _made(self, parent: int, name: bytes, context: Context) -> Entry:
        """What was just made belongs to who asked; who is not root can't make it another's."""
        above = self._node(parent).fd
        if self._root and (context.uid, context.gid) != (0, 0):
            setgid = os.fstat(above).st_mode & stat.S_ISGID
            gid = -1 if setgid else context.gid
            os.chown(name, context.uid, gid, dir_fd=above, follow_symlinks=False)
        return self._enter(os.open(name, _PATH, dir_fd=above))

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, context: Context) -> Entry:
        os.mknod(name, mode, rdev, dir_fd=self._node(parent).fd)
        return self._made(parent, name, context)

    def mkdir(self, parent: int, name: bytes, mode: int, context: Context) -> Entry:
        os.mkdir(name, mode, dir_fd=self._node(parent).fd)
        return self._made(parent, name, context)

    def symlink(self, parent: int, name: bytes, target: bytes, context: Context) -> Entry:
        os.symlink(target, name, dir_fd=self._node(parent).fd)
        return self._made(parent, name, context)

    def link(self, node: int, parent: int, name: bytes, context: Context) -> Entry:
        above = self._node(parent).fd
        os.link(self._node(node).path, name, dst_dir_fd=above, follow_symlinks=True)
        return self._enter(os.open(name, _PATH, dir_fd=above))

    def unlink(self, parent: int, name: bytes, context: Context) -> None:
        os.unlink(name, dir_fd=self._node(parent).fd)

    def rmdir(self, parent: int, name: bytes, context: Context) -> None:
        os.rmdir(name, dir_fd=self._node(parent).fd)

    def rename(
        self, parent: int, name: bytes, to: int, to_name: bytes, flags: int, context: Context
    ) -> None:
        unsafe.renameat2(self._node(parent).fd, name, self._node(to).fd, to_name, flags)

    # Attributes

    def getattr(self, node: int, handle: Any, context: Context) -> Attr:
        return _attr(os.fstat(self._node(node).fd))

    def born(self, node: int, handle: Any, context: Context) -> int:
        return unsafe.born_ns(self._node(node).fd)

    def setattr(self, node: int, change: SetAttr, handle: Any, context: Context) -> Attr:
        found = self._node(node)
        if change.uid is not None or change.gid is not None:
            os.chown(found.path, _id(change.uid), _id(change.gid))
        if change.mode is not None:
            os.chmod(found.path, change.mode)
        if change.size is not None:
            os.truncate(found.path if handle is None else handle, change.size)
        if change.atime_ns is not None or change.mtime_ns is not None:
            _set_times(found, change)
        return _attr(os.fstat(found.fd))

    def readlink(self, node: int, context: Context) -> bytes:
        return os.readlink(b"", dir_fd=self._node(node).fd)

    def statfs(self, node: int, context: Context) -> Statfs:
        told = os.fstatvfs(self._node(node).fd)
        return Statfs(
            told.f_blocks, told.f_bfree, told.f_bavail, told.f_files, told.f_ffree,
            told.f_bsize, told.f_namemax, told.f_frsize,
        )  # fmt: skip

    def getxattr(self, node: int, name: bytes, context: Context) -> bytes:
        return os.getxattr(self._node(node).path, name)

    def listxattr(self, node: int, context: Context) -> list[bytes]:
        return [os.fsencode(name) for name in os.listxattr(self._node(node).path)]

    def setxattr(self, node: int, name: bytes, value: bytes, flags: int, context: Context) -> None:
        if name.startswith(b"system."):
            # A list changes the mode as well, and the kernel would not ask for that again.
            raise OSError(errno.EOPNOTSUPP, "access control lists are not set through here")
        os.setxattr(self._node(node).path, name, value, flags)

    def removexattr(self, node: int, name: bytes, context: Context) -> None:
        os.removexattr(self._node(node).path, name)

    # Files

    def open(self, node: int, flags: int, context: Context) -> Opened:
        return _opened(os.open(self._node(node).path, flags & ~_NOT_OURS | os.O_CLOEXEC))

    def create(
        self, parent: int, name: bytes, mode: int, flags: int, context: Context
    ) -> tuple[Entry, Opened]:
        above = self._node(parent).fd
        ours = flags & ~_NOT_OURS | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(name, ours | os.O_EXCL, mode, dir_fd=above)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            # Somebody outside has made it since it was looked up: it is theirs.
            handle = os.open(name, ours, mode, dir_fd=above)
            return self._enter(os.open(name, _PATH, dir_fd=above)), _opened(handle)
        try:
            return self._made(parent, name, context), _opened(handle)
        except OSError:
            os.close(handle)
            raise

    def tmpfile(self, parent: int, mode: int, flags: int, context: Context) -> tuple[Entry, Opened]:
        ours = flags & ~(_NOT_OURS & ~os.O_EXCL) | os.O_TMPFILE | os.O_CLOEXEC
        handle = os.open(b".", ours, mode, dir_fd=self._node(parent).fd)
        if self._root:
            os.fchown(handle, context.uid, context.gid)
        path = f"/proc/self/fd/{handle}"
        return self._enter(os.open(path, os.O_PATH | os.O_CLOEXEC)), _opened(handle)

    def read(self, node: int, handle: Any, offset: int, size: int, context: Context) -> bytes:
        return os.pread(handle, size, offset)

    def write(self, node: int, handle: Any, offset: int, data: memoryview, context: Context) -> int:
        return os.pwrite(handle, data, offset)

    def flush(self, node: int, handle: Any, owner: int, context: Context) -> None:
        os.close(os.dup(handle))  # the file system's own error, as close(2) has it

    def release(self, node: int, handle: Any, owner: int) -> None:
        os.close(handle)

    def fsync(self, node: int, handle: Any, datasync: bool, context: Context) -> None:
        (os.fdatasync if datasync else os.fsync)(handle)

    def fallocate(
        self, node: int, handle: Any, mode: int, offset: int, length: int, context: Context
    ) -> None:
        unsafe.fallocate(handle, mode, offset, length)

    def lseek(self, node: int, handle: Any, offset: int, whence: int, context: Context) -> int:
        return os.lseek(handle, offset, whence)

    def copy_file_range(
        self, node: int, handle: Any, offset: int, to: int, to_handle: Any, to_offset: int,
        length: int, flags: int, context: Context,
    ) -> int:  # fmt: skip
        return os.copy_file_range(handle, to_handle, length, offset, to_offset)

    # Directories

    def opendir(self, node: int, flags: int, context: Context) -> Opened:
        directory = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        return Opened(os.open(b".", directory, dir_fd=self._node(node).fd))

    def readdir(self, node: int, handle: Any, offset: int, context: Context) -> Iterator[Dirent]:
        # The file system's own offsets: it knows best how to go on after one.
        os.lseek(handle, offset, os.SEEK_SET)
        while raw := unsafe.getdents64(handle, _LISTED):
            for entry in unpack_dirents64(raw):
                yield Dirent(entry.name, entry.ino, entry.type << 12, entry.off)

    def releasedir(self, node: int, handle: Any) -> None:
        os.close(handle)

    def fsyncdir(self, node: int, handle: Any, datasync: bool, context: Context) -> None:
        (os.fdatasync if datasync else os.fsync)(handle)


def _opened(handle: int) -> Opened:
    """The kernel may read and write it itself."""
    return Opened(handle, passthrough=handle)


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _attr(status: os.stat_result) -> Attr:
    return Attr(
        status.st_ino, status.st_mode, status.st_nlink, status.st_uid, status.st_gid,
        status.st_rdev, status.st_size, status.st_blocks, status.st_blksize,
        status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip


def _id(number: int | None) -> int:
    return -1 if number is None else number


def _set_times(node: _Node, change: SetAttr) -> None:
    """utimensat(2); what is not to be changed is set to what it is."""
    if change.atime_now and change.mtime_now:
        os.utime(node.path)
        return
    status, now = os.fstat(node.fd), time.time_ns()
    atime = status.st_atime_ns if change.atime_ns is None else change.atime_ns
    mtime = status.st_mtime_ns if change.mtime_ns is None else change.mtime_ns
    os.utime(node.path, ns=(now if change.atime_now else atime, now if change.mtime_now else mtime))
