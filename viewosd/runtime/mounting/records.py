"""What is mounted in a view that somebody has to know of: mounts of services, permanent ones, and
those whose mountpoints were made for them.

The kernel's table is the truth. A mount may go behind our back: with its parent (MNT_DETACH), by a
program that may do so itself, with the view. So records are reconciled with it whenever it changes.
Mounts are known by their id, which is given out again; what is mounted must be the same as well.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import trio

from ...abi.mount import MNT_DETACH
from ...service import Service
from ...space import Mounted
from . import mountinfo, points
from .calls import MountCalls
from .mountinfo import Line
from .points import Point

log = logging.getLogger("viewosd")


class Record:
    """One mount.

    Attributes:
        mounted: what the service was told; of a plain type, what would have been.
        service: the name of whose it is; "" for a plain type.
        mount: the mount's id; 0 where the service attached nothing.
        point: the mountpoint, if it was made.
    """

    def __init__(self, mounted: Mounted, service: str, mount: int, point: Point | None) -> None:
        self.mounted, self.service, self.mount, self.point = mounted, service, mount, point
        self.line: Line | None = None

    def is_still(self, found: Line | None) -> bool:
        """Is the mount that has our id now the one that had it?"""
        if found is None:
            return False
        if self.line is None:
            self.line = found
        return (found.device, found.root, found.type) == (
            self.line.device, self.line.root, self.line.type,
        )  # fmt: skip


class Records:
    """Every `Record` of a view, in the order in which they were made.

    Args:
        find: the service of a name; None: it is not loaded any more.
        changed: called after every change, to have it written down.
    """

    def __init__(
        self,
        space: MountCalls,
        find: Callable[[str], Service | None],
        changed: Callable[[], None],
    ) -> None:
        self._space, self._find, self._changed = space, find, changed
        self._next = 1
        self._text = b""
        self._table: dict[int, Line] = {}
        self.all: list[Record] = []
        self.begun: list[bytes] = []
        """Mountpoints that are being made."""
        self.left: list[bytes] = []
        """Those that a dead supervisor was making, and those that are being taken away. They are
        apart from what calls of now make meanwhile.
        """

    def next_id(self) -> int:
        """An id for `Mounted`, counted up."""
        self._next += 1
        return self._next - 1

    def begin(self, path: bytes) -> None:
        """A mountpoint is about to be made there: known until its mount is."""
        self.begun.append(path)
        self._changed()

    async def undo(self) -> None:
        """After a succession: what was begun is as if it had not been."""
        await self.reconcile()
        known = {record.mounted.target for record in self.all}
        left, self.left = [path for path in self.left if path not in known], []
        for path in left:
            with suppress(OSError):
                await self._space.aside(points.left, path, self._space)

    def add(self, record: Record) -> None:
        """One more."""
        self.begun = [path for path in self.begun if path != record.mounted.target]
        record.line = self.line(record.mount) if record.mount else None
        self.all.append(record)
        self._changed()

    def table(self) -> dict[int, Line]:
        """The mounts of the view. Read anew each time, which is cheap; parsed when it differs."""
        text = self._space.mountinfo()
        if text != self._text:
            self._text, self._table = text, mountinfo.parse(text)
        return self._table

    def line(self, mount: int) -> Line | None:
        """One mount of the view."""
        return mountinfo.find(self._space.mountinfo(), mount)

    def with_it(self, mount: int, flags: int) -> list[Record]:
        """What goes if a mount is unmounted."""
        ids = mountinfo.below(self.table(), mount) if flags & MNT_DETACH else {mount}
        return [record for record in self.all if record.mount in ids]

    def permanent_below(self, mount: int) -> bool:
        """Would a permanent mount go, or move, with this one?"""
        kept = {record.mount for record in self.all if record.mounted.permanent}
        return bool(kept and kept & mountinfo.below(self.table(), mount))

    def concerns(self, mount: int, path: bytes) -> bool:
        """Would any of ours go if what is mounted there is unmounted, with all that lies on it?"""
        if self.unattached_at(path) is not None:
            return True
        ours = {record.mount for record in self.all}
        if mount in ours:
            return True
        return bool(ours & mountinfo.below(self.table(), mount))

    def unattached_at(self, path: bytes) -> Record | None:
        """The newest mount at a path that the kernel does not know of."""
        found = [r for r in self.all if not r.mount and r.mounted.target == path]
        return found[-1] if found else None

    async def reconcile(self) -> None:
        """Look at the kernel's table; let those go that are not in it any more."""
        if not self.all:
            return
        try:
            table = self.table()
        except OSError as error:
            log.warning("the mounts of the view can't be looked at: %s", error)
            return
        gone = []
        for record in self.all:
            found = table.get(record.mount)
            if not record.mount:
                continue
            if not record.is_still(found):
                gone.append(record)
            elif found is not None and found.point != record.mounted.target:
                record.mounted.target = found.point  # moved
        await self.drop(gone)

    async def drop(self, gone: Iterable[Record]) -> None:
        """These are gone: their services are told, once, and mountpoints that were made go too."""
        for record in reversed(list(gone)):
            if record not in self.all:
                continue
            self.all.remove(record)
            if record.point is not None:  # until it is taken away a successor is to do it
                self.left.append(record.point.path)
            self._changed()
            with trio.CancelScope(shield=True):
                await self._tell(record)
            if record.point is not None:
                await points.remove(record.point, self._space)
                self.left = [path for path in self.left if path != record.point.path]
                self._changed()

    async def _tell(self, record: Record) -> None:
        if (service := self._find(record.service)) is None:
            return
        try:
            await service.umounted(record.mounted)
        except Exception:
            where = os.fsdecode(record.mounted.target)
            log.exception("service %s: a bug, when %s was unmounted", service.name, where)

    def describe(self) -> list[dict[str, Any]]:
        """What `restore` needs."""
        return [
            {
                "id": r.mounted.id,
                "type": r.mounted.type,
                "source": r.mounted.source,
                "target": r.mounted.target,
                "flags": r.mounted.flags,
                "options": [[os.fsencode(n), os.fsencode(v)] for n, v in r.mounted.options],
                "permanent": r.mounted.permanent,
                "keep": r.mounted.keep,
                "service": r.service,
                "mount": r.mount,
                "line": [r.line.device, r.line.root, r.line.type] if r.line else None,
                "point": r.point.describe() if r.point else None,
            }
            for r in self.all
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take back what a dead supervisor's `describe` gave, or that of the view that this one is
        a branch of. There every mount is a copy with an id of its own, and mountpoints that were
        made are the other view's to take away.
        """
        table = self.table()
        for one in state:
            mounted = Mounted.__new__(Mounted)
            for name in ("id", "type", "source", "target", "flags", "permanent", "keep"):
                setattr(mounted, name, one[name])
            mounted.options = [(os.fsdecode(n), os.fsdecode(v)) for n, v in one["options"]]
            record = Record(mounted, one["service"], one["mount"], None)
            if one["line"]:
                device, root, kind = one["line"]
                record.line = Line(record.mount, 0, device, root, mounted.target, kind, b"")
            if record.mount and not record.is_still(table.get(record.mount)):
                taken = {other.mount for other in self.all}
                copies = [
                    line.id
                    for line in table.values()
                    if line.point == mounted.target
                    and line.id not in taken
                    and record.is_still(line)
                ]
                record.mount = copies[0] if copies else record.mount
            elif one["point"]:
                record.point = points.restored(one["point"])
            self.all.append(record)
            self._next = max(self._next, mounted.id + 1)
