"""Which processes are of a view tree, and of which branch of it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from ..keeper.processes import (
    descendants,
    descends,
    lineage,
    lives,
    own_children,
    parent_of,
    start_of,
)
from .helpers import Helpers

FRESH_S: Final = 0.2
"""How long a thread's branch is remembered. A process never changes its branch, but its id may go
to another one; ids are given out in a circle, and no machine gets round in so short a time."""


class Members:
    """Everything below an ancestor that is no member itself, and strangers that were attached.

    Attributes:
        ancestor: the supervisor, whose descendants all are: it is their subreaper. For a
            successor: the keeper.
        besides: below the ancestor and no member: the successor itself.
        strangers: processes that were attached, and those that they started, whose ancestors may
            end before them.
        left_out: children of strangers, with their start times, that were there when these were
            attached, and are no members.
        adopted: process id to the branch root that it counts to, though not below it.
        through: key of a listener to the branch root of all that are heard through it and are not
            below a root: adopted processes have listeners of their own.
        helpers: processes of ours that are below the ancestor and of no view, as those that they
            start.
    """

    def __init__(self, ancestor: int, besides: int = 0) -> None:
        self.ancestor, self.besides = ancestor, besides
        self.strangers: set[int] = set()
        self.left_out: dict[int, int] = {}
        self.adopted: dict[int, int] = {}
        self.through: dict[int, int] = {}
        self.helpers = Helpers()
        self._branches: dict[int, tuple[int, float]] = {}
        self._last: list[int] = []
        self._starts: dict[int, int] = {}

    def note(self, pid: int) -> None:
        """This process is somebody from now on: `still` knows it from a later one of its id."""
        self._starts[pid] = start_of(pid)
        if len(self._starts) > 16384:
            self._starts = {p: at for p, at in self._starts.items() if start_of(p) == at}

    def adopt(self, pid: int, root: int) -> None:
        """This process counts to a branch from now on, though it is not below its root."""
        self.note(pid)
        self.adopted[pid] = root

    def add_stranger(self, pid: int) -> None:
        """This process is of the tree, though not, or soon not, below anybody of it."""
        if pid not in self.strangers:
            self.note(pid)
            self.strangers.add(pid)

    def still(self, pid: int) -> bool:
        """Does the process that was noted, or first asked for, run? Its id may be another's."""
        if not self.alive(pid):
            return False
        start = start_of(pid)
        return self._starts.setdefault(pid, start) == start

    def processes(self) -> list[int]:
        """Process ids, parents before their children; no two looks at /proc are one snapshot."""
        found = self._below(self.ancestor) if self.ancestor else []
        if self.besides:
            found = [p for p in found if p != self.besides] + descendants(self.besides)
        if self.helpers:
            found = self._without_helpers(found)
        for pid in list(self.strangers):
            if parent_of(pid) in self.strangers and pid not in self.left_out:
                continue  # found below its parent
            if self.still(pid):
                following = [p for p in descendants(pid) if self._follows(p, pid)]
                for new in set(following) - self.strangers:
                    self.note(new)
                self.strangers.update(following)  # its parents may end before it
                found += [pid, *following]
        return list(dict.fromkeys(found))

    def _follows(self, pid: int, stranger: int) -> bool:
        """Was this process, or the process of this thread, started by an attached one since?"""
        while pid > 1 and pid != stranger:
            if pid in self.left_out and self.left_out[pid] == start_of(pid):
                return False
            pid = parent_of(pid)
        return pid == stranger

    def has(self, pid: int) -> bool:
        """Is this process, or the process of this thread, one of ours?"""
        if pid in (self.ancestor, self.besides):
            return False
        if self.helpers and any(p in self.helpers for p in lineage(pid)):
            return False
        if self.ancestor and descends(pid, self.ancestor):
            return True
        return any(self._follows(pid, s) for s in self.strangers if self.still(s))

    def _below(self, pid: int) -> list[int]:
        """As `descendants`; that looks at every process of the machine, which is not needed while
        we ourselves have no children but helpers.
        """
        with suppress(OSError):
            if pid == os.getpid() and all(child in self.helpers for child in own_children()):
                return []
        return descendants(pid)

    def _without_helpers(self, found: list[int]) -> list[int]:
        """Without helpers and what they have started; parents come before their children."""
        theirs: set[int] = set()
        for pid in found:
            if pid in self.helpers or parent_of(pid) in theirs:
                theirs.add(pid)
        return [pid for pid in found if pid not in theirs]

    def alive(self, pid: int) -> bool:
        """Does it run, in any state but dead?"""
        return lives(pid)

    def nobody_left(self) -> bool:
        """Has everybody ended who is not the supervisor's own child?"""
        self.strangers = {pid for pid in self.strangers if self.still(pid)}
        self.left_out = {pid: at for pid, at in self.left_out.items() if start_of(pid) == at}
        if self.strangers:
            return False
        return not self.besides or not any(self.alive(pid) for pid in self.processes())

    def branch_root(self, tid: int, roots: Mapping[int, int], key: int = 0) -> int:
        """The root of the branch that a thread is in; 0: none, it is of the first view.

        Args:
            roots: each branch root to itself, and each root's keeper to the root. A keeper is not
                of the branch, but all below it are.
            key: of the listener through which it was heard just now.
        """
        known = self._branches.get(tid)
        now = time.monotonic()
        if known is not None and known[1] > now:
            return known[0]
        found = 0
        for pid in lineage(tid):
            if pid == self.ancestor:
                break
            root = roots.get(pid, 0)
            if root == pid or (root and pid != tid):
                found = root
                break
            if pid in self.adopted and self.still(pid):
                found = self.adopted[pid]
                if key:
                    self.through[key] = found
                self._adopt_process_of(tid, found)
                break
        if not found and (found := self.through.get(key, 0)):
            self._adopt_process_of(tid, found)
        if len(self._branches) > 4096:
            self._branches.clear()
        self._branches[tid] = (found, now + FRESH_S)
        return found

    def _adopt_process_of(self, tid: int, root: int) -> None:
        """Its parents, which tell so now, may end before it."""
        if (pid := leader_of(tid)) and self.adopted.get(pid) != root:
            self.adopt(pid, root)

    def adopted_by(self, root: int) -> list[int]:
        """Processes that count to a branch though not below its root."""
        return [pid for pid, to in self.adopted.items() if to == root]

    def any_below(self, pid: int) -> bool:
        """Has a process any descendant that has not ended, and is of a view?"""
        return any(self.alive(p) for p in self._without_helpers(self._below(pid)))

    def forget_branches(self) -> None:
        """Views came or went."""
        self._branches.clear()

    def remember(self) -> None:
        """Look who is there while their ancestors live: once these are gone they are hard to find.

        Who was started by a stranger and left alone between two looks is lost: it keeps our filter,
        and we do not know.
        """
        if self.besides or self.strangers:
            found = self.processes()
            if not (self.besides and self.ancestor) or parent_of(self.besides) == self.ancestor:
                # Else the keeper has just ended, and nobody is below it now.
                for new in set(found) - set(self._last):
                    self.note(new)
                self._last = found

    def everybody(self) -> list[int]:
        """As `processes`, and those that were there a moment ago."""
        found = self.processes()
        return [*found, *(p for p in self._last if p not in found and self.still(p))]

    def keeper_is_gone(self) -> None:
        """A successor's processes were the keeper's descendants, and are somebody else's now."""
        if self.besides:
            self.strangers |= {pid for pid in self._last if self.still(pid)}
            self.ancestor = 0


def leader_of(tid: int) -> int:
    """The process that a thread is of; 0 when it is gone."""
    try:
        with open(f"/proc/{tid}/status", "rb", 0) as status:
            for line in status.read(4096).splitlines():
                if line.startswith(b"Tgid:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
