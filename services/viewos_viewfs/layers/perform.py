"""Carries changes out in the target, one name at a time, in an order that loses nothing.

A file, a link, a device is made complete under a temporary name in its directory, made durable, and
renamed: whoever looks sees the old one or the new one. Order:

1. what is new or other, parents first, but for names that are hard links of such;
2. deletions, what is in a directory first; a file that replaces a directory follows what was in it,
   and of the two kinds of change where nothing can be renamed over the old one, this and the
   opposite, the old one is taken away first;
3. hard links;
4. permissions and times of directories, what is in a directory first.

Before a name is touched it is looked at again: it must be what the plan saw there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from .changes import Change, Kind
from .copying import apply_metadata, copy_data
from .entry import Entry, link_text, look, opened, xattrs
from .origins import record
from .unsafe import RENAME_NOREPLACE, open_beneath, rename

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
TEMPORARY: Final = ".viewos-"
"""Temporary names are this, the token of the commit, and a number."""


class ChangedMeanwhile(OSError):
    """Somebody has changed the target while the commit ran."""


class Performer:
    """Carries out one commit's changes.

    Attributes:
        step: called with a word before everything that changes something; tests die in it.
        skipped: sockets, which can't be made for somebody else.
    """

    def __init__(
        self,
        upper: int,
        target: int,
        token: str,
        *,
        step: Callable[[str], None] = lambda what: None,
    ) -> None:
        self._upper, self._target, self._token, self.step = upper, target, token, step
        self._count = 0
        self._touched: set[str] = set()
        self.skipped: list[str] = []

    def run(self, changes: Sequence[Change]) -> None:
        """Carry all of them out.

        Args:
            changes: as the walk found them: parents first.

        Raises:
            OSError: with ``filename`` the path; what was done until then is whole.
        """
        links = {c.path for c in changes if c.link is not None and c.new is not None}
        for change in changes:
            if change.new is not None and change.path not in links and not _comes_late(change):
                self._put(change)
        for change in reversed(changes):
            if change.new is None:
                self._delete(change)
            elif _replaces_directory(change) and change.path not in links:
                self._put(change)
        for change in changes:
            if change.path in links:
                self._put(change)
        finished = {c.path: c for c in changes if c.new is not None and c.new.is_dir}
        for path in sorted(self._touched | finished.keys(), key=_depth, reverse=True):
            self._finish(path, finished.get(path))

    def clean(self, directories: set[str]) -> None:
        """Remove what a killed commit has left under temporary names."""
        for path in directories:
            with suppress(FileNotFoundError, NotADirectoryError):
                fd = open_beneath(self._target, path, _DIRECTORY)
                try:
                    for name in os.listdir(fd):
                        if name.startswith(f"{TEMPORARY}{self._token}-"):
                            self._remove(fd, name)
                finally:
                    os.close(fd)

    @contextmanager
    def _parents(self, change: Change) -> Iterator[tuple[int, int, str]]:
        """Descriptors of the directory in the layer (-1 if it has none) and in the target."""
        parent, _, name = change.path.rpartition("/")
        fds = []
        try:
            fds.append(open_beneath(self._target, parent, _DIRECTORY))
            self._touched.add(parent)
            if change.new is not None:
                fds.append(open_beneath(self._upper, parent, _DIRECTORY))
            yield fds[-1] if change.new is not None else -1, fds[0], name
        except OSError as error:
            error.filename = change.path
            raise
        finally:
            for fd in fds:
                os.close(fd)

    def _put(self, change: Change) -> None:
        assert change.new is not None
        if stat.S_ISSOCK(change.new.mode):
            self.skipped.append(change.path)
            return
        with self._parents(change) as (upper, target, name):
            self._count += 1
            temporary = f"{TEMPORARY}{self._token}-{self._count}"
            try:
                if change.link is None:
                    self._make(upper, name, change.new, target, temporary)
                else:
                    self._link(change.link, target, temporary)
                self._look_again(target, name, change)
                self._rename(target, temporary, name, change)
            except OSError:
                with suppress(OSError):
                    self._remove(target, temporary)
                raise

    def _make(self, upper: int, name: str, new: Entry, target: int, temporary: str) -> None:
        """The new one, complete, under a temporary name."""
        self.step("make")
        kind, fd = new.type, -1
        if kind == stat.S_IFDIR:
            os.mkdir(temporary, 0o700, dir_fd=target)
        elif kind == stat.S_IFLNK:
            os.symlink(link_text(upper, name, new), temporary, dir_fd=target)
        elif kind == stat.S_IFREG:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(temporary, flags, 0o600, dir_fd=target)
        else:
            os.mknod(temporary, kind | 0o600, new.rdev, dir_fd=target)
        try:
            if fd >= 0:
                with opened(upper, name) as source:
                    copy_data(source, fd, new.st.st_size, self.step)
            # What is to be made in a directory needs these; its own come last.
            more = 0o700 if kind == stat.S_IFDIR else 0
            self.step("metadata")
            apply_metadata(target, temporary, new, xattrs(upper, name), more)
            if fd >= 0:
                self.step("fsync")
                os.fsync(fd)
        finally:
            if fd >= 0:
                os.close(fd)

    def _link(self, first: str, target: int, temporary: str) -> None:
        parent, _, name = first.rpartition("/")
        fd = open_beneath(self._target, parent, _DIRECTORY)
        try:
            self.step("link")
            os.link(name, temporary, src_dir_fd=fd, dst_dir_fd=target, follow_symlinks=False)
        finally:
            os.close(fd)

    def _look_again(self, target: int, name: str, change: Change) -> None:
        now, old = look(target, name), change.old
        same = record(now) == record(old)
        if now is not None and old is not None and now.is_dir and old.is_dir:
            same = now.inode == old.inode
        if not same:
            raise ChangedMeanwhile(0, "it was changed outside while the commit ran", change.path)

    def _rename(self, target: int, temporary: str, name: str, change: Change) -> None:
        old, new = change.old, change.new
        assert new is not None
        if old is not None and not old.is_dir and not new.is_dir:
            self.step("rename")
            os.rename(temporary, name, src_dir_fd=target, dst_dir_fd=target)
            return
        if old is not None:
            self._remove(target, name)
            gone = f"{change.path}/"
            self._touched = {p for p in self._touched if not f"{p}/".startswith(gone)}
        self.step("rename")
        rename(target, temporary, target, name, RENAME_NOREPLACE)

    def _delete(self, change: Change) -> None:
        with self._parents(change) as (_, target, name):
            self._look_again(target, name, change)
            self._remove(target, name)

    def _remove(self, directory: int, name: str) -> None:
        """Take one name away; a directory must be empty."""
        entry = look(directory, name)
        if entry is not None:
            self.step("remove")
            if entry.is_dir:
                os.rmdir(name, dir_fd=directory)
            else:
                os.unlink(name, dir_fd=directory)

    def _finish(self, path: str, change: Change | None) -> None:
        """A directory that something was done in: permissions, times, and make it durable."""
        try:
            target = open_beneath(self._target, path, _DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return  # deleted with what was in it
        try:
            with suppress(FileNotFoundError, NotADirectoryError):
                upper = open_beneath(self._upper, path, _DIRECTORY)
                try:
                    self.step("finish")
                    if change is not None and change.new is not None:
                        apply_metadata(target, "", change.new, xattrs(upper, ""))
                    else:
                        st = os.fstat(upper)
                        with suppress(PermissionError):  # of somebody else's: its times are now
                            os.utime(target, ns=(st.st_atime_ns, st.st_mtime_ns))
                finally:
                    os.close(upper)
            self.step("fsync")
            os.fsync(target)
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(target)


def _replaces_directory(change: Change) -> bool:
    new, old = change.new, change.old
    return new is not None and old is not None and old.is_dir and not new.is_dir


def _comes_late(change: Change) -> bool:
    """It waits for deletions, or is a directory's metadata and comes last of all."""
    new = change.new
    metadata = change.kind is Kind.METADATA and new is not None and new.is_dir
    return metadata or _replaces_directory(change)


def _depth(path: str) -> int:
    return path.count("/") + 1 if path else 0
