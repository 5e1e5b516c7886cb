"""Carry a layer's changes out for real, or forget them.

A commit is planned as a whole and refused as a whole: conflicts, rights and room are looked at
before anything is changed. From then on every step leaves the target, the layer and what the view
sees whole; one that was killed, or failed half way, is finished by running it again.

A layer that a view has mounted may be committed. The kernel's overlayfs allows nobody to change
``upper`` beneath it, so it is left alone: where it is equal to the target now, it is no change any
more (`walk`), and the next commit without a view takes it out (`prune`). One thing has to be told
to it: a directory that only the layer had exists below it from now on too. Overlayfs remembers that
there was nothing below; then a file that the view deletes in it would come back. Such directories
are marked opaque first, which says for ever what overlayfs holds true now.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from .changes import Change
from .entry import look, proc_path
from .origins import Origins, conflict, record
from .perform import Performer
from .problems import problems
from .prune import prune
from .store import Layer, LayerError
from .unsafe import open_beneath
from .walk import Walk


class Refused(Exception):
    """Nothing was changed. ``reasons``: path and reason each; ``conflicts``: force would do it."""

    def __init__(self, reasons: list[tuple[str, str]], *, conflicts: bool) -> None:
        super().__init__(f"{len(reasons)} reasons")
        self.reasons, self.conflicts = reasons, conflicts


@dataclass
class Committed:
    """What a commit did.

    Attributes:
        done: in the order of the walk.
        skipped: paths of sockets, which nobody can make for the program that listens on them.
    """

    done: list[Change] = field(default_factory=list)
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
        paths: relative to it; these and what is below them. None: everything.
        force: what was changed outside meanwhile is overwritten.
        mounted: a view has the layer mounted; it is found out where whoever mounts holds it.
        step: called before everything that changes something.

    Raises:
        Refused: nothing was changed.
        LayerError: no layer, or in use; a path in which nothing has changed.
        OSError: it failed; run it again once the reason is gone.
    """
    mounted = mounted or layer.mounted()
    with layer.held(alone=not mounted):
        upper = layer.open_upper()
        there = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return _Commit(layer, upper, there, mounted, step).run(paths, force)
        finally:
            os.close(upper)
            os.close(there)


class _Commit:
    def __init__(
        self, layer: Layer, upper: int, target: int, mounted: bool, step: Callable[[str], None]
    ) -> None:
        self.layer, self.upper, self.target, self.step = layer, upper, target, step
        self.mounted = mounted
        self.origins = Origins(layer)

    def run(self, paths: Sequence[str] | None, force: bool) -> Committed:
        if self.origins.token:
            parents = {path.rpartition("/")[0] for path in self.origins.entries}
            Performer(self.upper, self.target, self.origins.token, step=self.step).clean(parents)
        changes = select(list(Walk(self.upper, self.target).changes()), paths)
        self._refuse(changes, force)
        done = Committed()
        if changes:
            self.step("begin")
            self.origins.begin(changes)
            if self.mounted:
                self._mark_opaque(changes)
            performer = Performer(self.upper, self.target, self.origins.token, step=self.step)
            performer.run(changes)
            done.skipped = performer.skipped
            done.done = [change for change in changes if change.path not in performer.skipped]
        self._end(done)
        return done

    def _refuse(self, changes: Sequence[Change], force: bool) -> None:
        if reasons := list(problems(changes, self.upper, self.target)):
            raise Refused(reasons, conflicts=False)
        created = self.layer.created_ns()
        told = [(c.path, conflict(c, self.upper, created, self.origins)) for c in changes]
        if not force and (reasons := [(path, reason) for path, reason in told if reason]):
            raise Refused(reasons, conflicts=True)

    def _mark_opaque(self, changes: Sequence[Change]) -> None:
        made = {change.path for change in changes if change.makes_directory}
        name = "trusted.overlay.opaque" if self._is_roots() else "user.overlay.opaque"
        for path in made:
            if path.rpartition("/")[0] not in made:
                fd = open_beneath(self.upper, path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    self.step("opaque")
                    os.setxattr(proc_path(fd, ""), name, b"y")
                finally:
                    os.close(fd)

    def _is_roots(self) -> bool:
        owner = self.layer.meta().get("owner", os.fstat(self.upper).st_uid)
        return bool(owner == 0)

    def _end(self, done: Committed) -> None:
        kept: dict[str, Any] = {}
        if self.mounted:
            gone = [change.path for change in done.done if change.new is None]
            kept = {c.path: self._now(c.path) for c in done.done if c.new is not None}
        else:
            left = list(Walk(self.upper, self.target).changes())
            prune(self.upper, left, self.step)
            waiting = {change.path for change in left}
            gone = [path for path in self.origins.entries if path not in waiting]
        if done.done or self.origins.token:
            self.step("end")
            self.origins.end(kept, gone)

    def _now(self, path: str) -> Any:
        parent, _, name = path.rpartition("/")
        fd = open_beneath(self.target, parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return record(look(fd, name))
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
        if not below:
            raise LayerError(f"nothing has changed at {path or 'the top'}")
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


def discard(layer: Layer) -> None:
    """Forget a layer's changes, and with them the layer: what we have made of it is removed.

    Raises:
        LayerError: no layer, or in use.
        OSError: something can't be removed; run it again.
    """
    layer.meta()
    with layer.held(alone=True):
        fd = os.open(layer.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Half of a layer must not be taken for a whole one: it is none without its changes.
            with suppress(FileNotFoundError):
                os.rename("upper", "gone", src_dir_fd=fd, dst_dir_fd=fd)
            for name in ("gone", "work"):
                _remove_tree(fd, name)
            for name in ("origins.json", "meta.json"):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)
        with suppress(OSError):  # the user has put something else into it
            os.rmdir(layer.path)


def _remove_tree(directory: int, name: str) -> None:
    """Remove a directory whose permissions may say no to its own owner (overlayfs's work/work)."""
    entry = look(directory, name)
    if entry is None:
        return
    stack = [name]
    while stack:
        path = stack[-1]
        if (
            stat.S_IMODE(os.stat(path, dir_fd=directory, follow_symlinks=False).st_mode) & 0o700
            != 0o700
        ):
            os.chmod(path, 0o700, dir_fd=directory)
        fd = open_beneath(directory, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            inner = []
            for each in os.listdir(fd):
                found = look(fd, each)
                if found is not None and found.is_dir:
                    inner.append(f"{path}/{each}")
                else:
                    os.unlink(each, dir_fd=fd)
        finally:
            os.close(fd)
        if inner:
            stack += inner
        else:
            os.rmdir(stack.pop(), dir_fd=directory)
