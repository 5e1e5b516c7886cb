"""Open files: their data.

Opening for writing copies nothing; the first write, truncation or fallocate does, and what a
truncation cuts off is not copied. All handles of a file share its descriptors, and move with them.
"""

from __future__ import annotations

import errno
import os
import stat

from viewosd.filetree import Opened

from .changes import DENIED, Changes
from .copying import open_source
from .location import Location
from .node import Node, Open
from .unsafe import fallocate


class Files:
    """For one union."""

    def __init__(self, changes: Changes) -> None:
        self._changes, self._union = changes, changes.union

    def open(self, node: Node, flags: int) -> Opened:
        """Open a file, to write if ``flags`` say so: the error, if any, comes now."""
        opened = node.open or Open()
        mode = flags & os.O_ACCMODE
        reads, writes = mode != os.O_WRONLY, mode != os.O_RDONLY
        if writes and opened.write == -1:
            self._open_to_write(node, opened, reads)
        if opened.read == -1 and (reads or opened.write == -1):
            self._open_to_read(node, opened, writes)
        return self.opened(node, opened)

    def opened(self, node: Node, opened: Open) -> Opened:
        """One more handle."""
        st = os.fstat(max(opened.read, opened.write))
        if not stat.S_ISREG(st.st_mode):  # something else was put in its place outside
            opened.replace(-1, -1)
            raise OSError(errno.ESTALE, "it is no file any more")
        opened.count += 1
        node.open = opened
        seen = st.st_size, st.st_mtime_ns, st.st_ctime_ns, node.parts[0].id
        same, node.seen = node.seen == seen, seen
        return Opened(node, keep_cache=same or node.in_upper)

    def release(self, node: Node) -> None:
        """One handle less."""
        if node.open is None:
            return
        node.open.count -= 1
        if node.open.count == 0:
            node.open.replace(-1, -1)
            node.open = None
            self._union.drop(node)

    def adopt(self, node: Node, fd: int) -> Opened:
        """Open a file that was just made, by the descriptor that made it."""
        opened = node.open or Open()
        opened.replace(fd, fd)
        return self.opened(node, opened)

    def read(self, node: Node, offset: int, size: int) -> bytes:
        """Bytes at an offset."""
        return os.pread(self._reader(node), size, offset)

    def write(self, node: Node, offset: int, data: memoryview) -> int:
        """Write at an offset, all of it unless the disk is full."""
        fd, done = self._writer(node), 0
        while done < len(data):
            try:
                done += os.pwrite(fd, data[done:], offset + done)
            except OSError:
                if done:
                    break
                raise
        return done

    def truncate(self, node: Node, size: int) -> None:
        """Give it a size. What is cut off is not copied up."""
        if node.open is not None and node.open.write != -1:
            os.ftruncate(node.open.write, size)
            return

        def act(there: Location) -> None:
            if node.open is not None and node.open.write != -1:  # since it was copied up
                os.ftruncate(node.open.write, size)
                return
            fd = there.open(os.O_WRONLY)
            try:
                os.ftruncate(fd, size)
            finally:
                os.close(fd)

        self._changes.change(node, act, size)

    def fallocate(self, node: Node, mode: int, offset: int, length: int) -> None:
        """fallocate(2)."""
        fallocate(self._writer(node), mode, offset, length)

    def seek(self, node: Node, offset: int, whence: int) -> int:
        """SEEK_DATA, SEEK_HOLE."""
        return os.lseek(self._reader(node), offset, whence)

    def copy_range(self, node: Node, offset: int, to: Node, to_offset: int, length: int) -> int:
        """copy_file_range(2)."""
        target = self._writer(to)
        return os.copy_file_range(self._reader(node), target, length, offset, to_offset)

    def sync(self, node: Node, datasync: bool) -> None:
        """fsync(2), fdatasync(2); there is nothing to write of what was not changed."""
        if node.open is not None and node.open.write != -1:
            (os.fdatasync if datasync else os.fsync)(node.open.write)

    def _reader(self, node: Node) -> int:
        if node.open is None or node.open.read == -1:
            raise OSError(errno.EBADF, "not open for reading")
        return node.open.read

    def _writer(self, node: Node) -> int:
        """A descriptor to write to the file where its changes go."""
        opened = node.open
        if opened is None:
            raise OSError(errno.EBADF, "not open")
        if opened.write == -1:
            self._changes.copyup.up(node)
            if opened.write == -1:  # it was in the upper layer, or was copied up by another call
                self._open_to_write(node, opened, True)
        return opened.write

    def _open_to_read(self, node: Node, opened: Open, writes: bool) -> None:
        there = self._union.location(node)
        if node.layer.upper:
            opened.replace(there.open(os.O_RDONLY), opened.write)
            return
        st, rights = there.stat(), self._union.rights
        try:
            fd = open_source(there, rights.root or st.st_uid == rights.uid)
        except PermissionError:
            if not writes or st.st_size or self._changes.really(node):
                raise
            self._changes.copyup.up(node)  # it is empty: nothing is read
            self._open_there(node, opened, True)
        else:
            opened.replace(fd, opened.write)

    def _open_to_write(self, node: Node, opened: Open, reads: bool) -> None:
        """Open where it is, if that may be written; else it is copied up at the first write."""
        changes = self._changes
        if changes.really(node):
            changes.must_be_plain(node)
        elif not node.in_upper:
            if not changes.tries(node):
                changes.copyup  # noqa: B018  (EROFS now, not at the first write)
                return
            try:
                self._open_there(node, opened, reads)
            except OSError as error:
                if error.errno not in DENIED:
                    raise
            return
        self._open_there(node, opened, reads)

    def _open_there(self, node: Node, opened: Open, reads: bool) -> None:
        there = self._union.location(node)
        try:
            fd = there.open(os.O_RDWR)
        except PermissionError:
            if reads and opened.read == -1:
                raise
            opened.replace(opened.read, there.open(os.O_WRONLY))
        else:
            opened.replace(fd, fd)
