"""Carry a layer's changes out for real.

A commit is planned as a whole and refused as a whole: conflicts, rights and room are looked at
before anything is changed. From then on every step leaves the target, the layer and what the view
sees whole; one that was killed, or failed half way, is finished by running it again.

A layer is compared with the target itself, and committed to it, whatever other layers lay between:
what the view showed at the names that the layer has is what the target gets.

A layer that a view has mounted may be committed. The kernel's overlayfs allows nobody to change
``upper`` beneath it, so it is left alone: where it is equal to the target now, it is no change any
more (`walk`), and the next commit without a view takes it out (`prune`). One thing has to be told
to it: a directory that only the layer had exists below it from now on too. Overlayfs remembers that
there was nothing below; then a file that the view deletes in it would come back. Such directories
are marked opaque first, which says for ever what overlayfs holds true now.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from .changes import Change, Kind
from .entry import Entry, look, proc_path
from .origins import Origins, conflict, record
from .perform import Performer
from .problems import problems
from .prune import prune
from .store import Layer, LayerError, Part, by_part
from .unsafe import open_beneath
from .walk import Walk


class Refused(Exception):
    """Nothing was changed. ``reasons``: path and reason each; ``conflicts``: force would do it."""

    def __init__(self, reasons: list[tuple[str, str]], *, conflicts: bool) -> None:
        super().__init__("; ".join(": ".join(reason) for reason in reasons[:3]))
        self.reasons, self.conflicts = reasons, conflicts


@dataclass
class Committed:
    """What a commit did.

    Attributes:
        done: how many changes.
        skipped: paths of sockets, which nobody can make for the program that listens on them.
    """

    done: int = 0
    skipped: list[str] = field(default_factory=list)


def commit(
    layer: Layer,
    target: str,
    paths: Sequence[str] | None = None,
    *,
    force: bool = False,
    mounted: bool = False,
    step: Callable[[str], None] = lambda what: None,
) -> Committed:
    """Make the target what the view shows.

    Args:
        target: the directory that the layer lies over, as it is outside of the view.
        paths: counted from it; these and what is below them. None: everything.
        force: what was changed outside meanwhile is overwritten.
        mounted: a view has the layer mounted; it is found out where whoever mounts holds it.
        step: called before everything that changes something.

    Raises:
        Refused: nothing was changed.
        LayerError: no layer, or in use; a path in which nothing has changed.
        OSError: it failed; run it again once the reason is gone.
    """
    mounted = mounted or layer.mounted()
    done = Committed()
    with layer.held(alone=not mounted), ExitStack() as stack:
        commits = []
        for part, inner in by_part(layer.parts(), paths):
            upper, there = part.open_upper(), -1
            stack.callback(os.close, upper)
            there = part.open_target(target)
            stack.callback(os.close, there)
            one = _Commit(layer, part, upper, there, mounted, step)
            with _named(part):
                one.plan(inner, force)
            commits.append(one)
        for one in commits:
            with _named(one.part):
                one.run(done)
    return done


@contextmanager
def _named(part: Part) -> Iterator[None]:
    """Errors name paths counted from the target of the layer."""
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str) and not error.filename.startswith("/"):
            error.filename = "/".join(filter(None, (part.below, error.filename)))
        raise


class _Commit:
    """The commit of one part."""

    def __init__(
        self,
        layer: Layer,
        part: Part,
        upper: int,
        target: int,
        mounted: bool,
        step: Callable[[str], None],
    ) -> None:
        self.layer, self.part, self.upper, self.target = layer, part, upper, target
        self.mounted, self.step = mounted, step
        self.origins = Origins(part)
        self._created_ns = layer.created_ns()
        self._on = bool(layer.meta().get("on"))
        self.changes: list[Change] = []

    def plan(self, paths: Sequence[str] | None, force: bool) -> None:
        """Find what is to be done, and whether it can be.

        Raises:
            Refused, LayerError.
        """
        self.origins.restore(self.upper)
        if self.origins.token:
            parents = {path.rpartition("/")[0] for path in self.origins.entries}
            Performer(self.upper, self.target, self.origins.token, step=self.step).clean(parents)
        walk = Walk(self.upper, self.target)
        self.changes = select(list(walk.changes()), paths)
        self._refuse(self.changes, walk.closed, force)

    def run(self, committed: Committed) -> None:
        """Do it."""
        performer = Performer(self.upper, self.target, self.origins.token, step=self.step)
        if self.changes:
            self.step("begin")
            self.origins.begin(self.changes, self._parents())
            if self.mounted:
                self._mark_opaque(self.changes)
            performer = Performer(self.upper, self.target, self.origins.token, step=self.step)
            performer.run(self.changes)
        done = [change for change in self.changes if change.path not in performer.skipped]
        self._end(done)
        committed.done += len(done)
        committed.skipped += [self._shown(path) for path in performer.skipped]

    def _shown(self, path: str) -> str:
        """Counted from the target of the layer."""
        return "/".join(filter(None, (self.part.below, path)))

    def _refuse(self, changes: Sequence[Change], closed: Sequence[str], force: bool) -> None:
        if reasons := list(problems(changes, closed, self.target)):
            raise Refused([(self._shown(path), why) for path, why in reasons], conflicts=False)
        told = [(change.path, self._conflict(change)) for change in changes]
        if not force and (reasons := [(self._shown(path), why) for path, why in told if why]):
            raise Refused(reasons, conflicts=True)

    def _conflict(self, change: Change) -> str:
        return conflict(
            change, self.upper, self.target, self._created_ns, self.origins, alone=not self._on
        )

    def _parents(self) -> dict[str, Any]:
        """Directories that get other times because of what is done in them: what they are now.

        Such a time would look like a change of permissions made outside. Left out is what has had
        one already.
        """
        found = {}
        paths = {change.path.rpartition("/")[0] for change in self.changes}
        for path in paths - {change.path for change in self.changes}:
            with suppress(FileNotFoundError):
                entry = self._now(path)
                same = Change(path, Kind.METADATA, entry, entry, birth=path)
                if entry and not self._conflict(same):
                    found[path] = record(entry)
        return found

    def _mark_opaque(self, changes: Sequence[Change]) -> None:
        made = {change.path for change in changes if change.makes_directory}
        name = "trusted.overlay.opaque" if self._is_roots() else "user.overlay.opaque"
        for path in made:
            if path.rpartition("/")[0] not in made:
                fd = open_beneath(self.upper, path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    with self.origins.writable(fd, path, self.step):
                        self.step("opaque")
                        os.setxattr(proc_path(fd, ""), name, b"y")
                finally:
                    os.close(fd)

    def _is_roots(self) -> bool:
        owner = self.layer.meta().get("owner", os.fstat(self.upper).st_uid)
        return bool(owner == 0)

    def _end(self, done: Sequence[Change]) -> None:
        kept: dict[str, Any] = {}
        # What lies between shows where nothing hides it any more.
        if self.mounted or self._on:
            gone = [change.path for change in done if change.new is None]
            kept = {c.path: record(self._now(c.path)) for c in done if c.new is not None}
        else:
            left = list(Walk(self.upper, self.target).changes())
            prune(self.upper, left, self.origins, self.step)
            waiting = {change.path for change in left}
            # A name that was made, and is to be another name of a file yet.
            kept = {c.path: record(self._now(c.path)) for c in done if c.path in waiting}
            # A directory that stays may wait for a change yet.
            gone = [p for p in self.origins.entries if p not in waiting and not self._stays(p)]
        if done or self.origins.token:
            self.step("end")
            self.origins.end(kept, gone)

    def _stays(self, path: str) -> bool:
        try:
            os.close(open_beneath(self.upper, path, os.O_RDONLY | os.O_DIRECTORY))
        except OSError:
            return False
        return True

    def _now(self, path: str) -> Entry | None:
        """What the target has there."""
        parent, _, name = path.rpartition("/")
        fd = open_beneath(self.target, parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return look(fd, name)
        finally:
            os.close(fd)


def select(changes: list[Change], paths: Sequence[str] | None) -> list[Change]:
    """The changes at and below some paths, with the directories that they need.

    A hard link whose other name is not among them is a file of its own.

    Raises:
        LayerError: nothing has changed at a path.
    """
    if paths is None:
        return changes
    wanted = set()
    for path in paths:
        below = {c.path for c in changes if not path or f"{c.path}/".startswith(f"{path}/")}
        if path and not below:
            raise LayerError(f"nothing has changed at {path}")
        wanted |= below
    makers = {change.path for change in changes if change.makes_directory}
    for path in list(wanted):
        parent = path.rpartition("/")[0]
        while parent:
            if parent in makers:
                wanted.add(parent)
            parent = parent.rpartition("/")[0]
    left_out = {change.path for change in changes} - wanted
    first: dict[tuple[int, int], str] = {}
    chosen = []
    for change in changes:
        if change.path not in wanted:
            continue
        if change.link is not None and change.link in left_out:
            there = first.setdefault(change.entry.inode, change.path)
            change = replace(change, link=None if there == change.path else there)
        chosen.append(change)
    return chosen
