"""What the target was when the view got its own: how a change made outside meanwhile is noticed.

The kernel's overlayfs does not write down what it copied, so age decides. A layer's entry was born
(statx(2), stx_btime) when it was copied up, made or deleted in the view; a file of the target whose
ctime is not older than that has been changed outside since, and that is a conflict. Where the
layer's file system keeps no birth time, the time when the layer was made counts instead. Where a
directory's copy says that it is a copy, and the target has none, it was deleted outside.

What this can't see: that a file which the view changed was deleted outside (the view's is added
again: it might have been renamed in the view); that permissions of a directory changed outside and
something was made in it afterwards.

The rule would find a commit's own traces. So LAYER/origins.json says what a commit has seen and
done, and what is as it says is no conflict, whatever its ctime: before a commit begins, all of the
target that it is going to replace; after it, where the layer is still mounted, what it has made. So
a commit that was killed can be run again, and a mounted layer committed twice.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from .changes import Change, Kind
from .entry import Entry
from .store import Part, read_json, write_json
from .unsafe import birth, open_beneath

OURS = ["directory"]
"""The record of a directory that a commit makes or changes: killed, it leaves any permissions."""


class Origins:
    """LAYER/origins.json.

    Attributes:
        token: in the names of a commit's temporary files; "" while none is under way.
        entries: path to what the target had or has there; None: nothing.
        opened: directories of the layer that we write to against their permissions: these.
    """

    def __init__(self, part: Part) -> None:
        self._path = f"{part.path}/origins.json"
        told = read_json(self._path)
        self.token: str = told.get("token", "")
        self.entries: dict[str, Any] = told.get("entries", {})
        self.opened: dict[str, int] = told.get("opened", {})

    def begin(self, changes: Iterable[Change], others: Mapping[str, Any]) -> None:
        """A commit of these changes begins. The token of one that was killed is kept.

        Args:
            others: records of what it touches beside.
        """
        self.token = self.token or secrets.token_hex(4)
        for change in changes:
            if change.new is not None and change.new.is_dir:
                self.entries[change.path] = OURS
            elif self.entries.get(change.path) != OURS:
                self.entries[change.path] = record(change.old)
        self.entries |= {p: r for p, r in others.items() if self.entries.get(p) != OURS}
        self._save()

    def end(self, kept: dict[str, Any], gone: Iterable[str]) -> None:
        """It has ended well: ``kept`` is what the target has now, ``gone`` nobody asks for."""
        for path in gone:
            self.entries.pop(path, None)
        self.entries |= kept
        self.token = ""
        self._save()

    def _save(self) -> None:
        told = {"token": self.token, "entries": self.entries, "opened": self.opened}
        write_json(self._path, told)

    @contextmanager
    def writable(self, fd: int, path: str, step: Callable[[str], None]) -> Iterator[None]:
        """While it lasts a directory of the layer can be written to by its owner."""
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if not os.geteuid() or mode & 0o700 == 0o700:
            yield
            return
        self.opened[path] = mode
        self._save()
        step("writable")
        os.fchmod(fd, mode | 0o700)
        try:
            yield
        finally:
            os.fchmod(fd, mode)
            del self.opened[path]
            self._save()

    def restore(self, upper: int) -> None:
        """Give back the permissions that a killed commit has taken."""
        for path, mode in self.opened.items():
            with suppress(FileNotFoundError, NotADirectoryError):
                fd = open_beneath(upper, path, os.O_RDONLY | os.O_DIRECTORY)
                os.fchmod(fd, mode)
                os.close(fd)
        if self.opened:
            self.opened = {}
            self._save()

    def knows(self, change: Change) -> bool:
        """Is the target's file as a commit has seen or left it?"""
        if change.path not in self.entries:
            return False
        known = self.entries[change.path]
        if known == OURS and change.old is not None and change.old.is_dir:
            return True
        return bool(known == record(change.old))


def record(entry: Entry | None) -> Any:
    """What tells a file from another, and from itself before it was written to."""
    if entry is None:
        return None
    identity = [*entry.inode, entry.mode, entry.uid, entry.gid]
    return identity if entry.is_dir else [*identity, entry.st.st_size, entry.st.st_mtime_ns]


def conflict(
    change: Change, upper: int, target: int, created_ns: int, origins: Origins, *, alone: bool
) -> str:
    """Why the target is not what the view has changed; "" if nothing speaks against it.

    Args:
        upper: the layer's directory of changes; ``target``: what it lies over.
        alone: no other layer lies between the two, from which it could be copied.
    """
    old, new = change.old, change.new
    if origins.knows(change):
        return ""
    if old is None:
        copied = new is not None and new.is_dir and new.copied and not new.opaque
        return "was deleted outside since" if copied and alone else ""
    since = birth(upper, change.birth).ns or created_ns
    if old.st.st_ctime_ns < since:
        return ""
    if not old.is_dir:
        return "was changed outside since"
    if change.kind in (Kind.TYPE, Kind.DELETED):
        # What is in it is looked at by itself; was it there at all?
        made_ns = birth(target, change.path).ns
        return "was made outside since" if made_ns is not None and made_ns >= since else ""
    # An entry made in it has changed both times; permissions alone, only one.
    metadata = change.kind is Kind.METADATA and old.st.st_ctime_ns != old.st.st_mtime_ns
    return "has got other permissions or another owner outside since" if metadata else ""
