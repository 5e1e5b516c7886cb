"""Who is of the tree, and of which branch, though those that could tell have ended.

A process is looked for along its parents (`members`). Two kinds get lost when these end: what an
attached process started goes to somebody outside, and what `viewos exec` started in a branch goes
to the supervisor, as if it were of the first view. They are found again

* by a look at all of them, twice a second;
* by their calls: who is heard through one of our listeners is under one of our filters, and so of
  the tree. And each program that was attached, or executed in a branch, has a listener of its own:
  who is heard through that belongs to the same branch.

Who makes no trapped call and lost its parents between two looks stays lost: it is not listed, nor
ended with the view, and what a later re-arm traps it does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..keeper.processes import lineage, parent_of
from .listener import Listener
from .members import leader_of

if TYPE_CHECKING:
    from .supervisor import Supervisor


class Learning:
    """Of one supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._saved: tuple[dict[int, int], ...] = ({}, {})
        supervisor.pump.meet = self.meet

    def listen(self) -> None:
        """Have the pump tell of the threads that it hears, where somebody could be lost."""
        lost = self._supervisor.members.strangers
        self._supervisor.pump.met = set() if lost else None

    def look(self) -> None:
        """Look at all of the tree, while their parents live."""
        self.listen()
        members, pump = self._supervisor.members, self._supervisor.pump
        adopted = members.adopted.items()
        members.adopted = {pid: root for pid, root in adopted if members.still(pid)}
        heard = {listener.key for listener in pump.listeners.values()}
        members.through = {key: root for key, root in members.through.items() if key in heard}
        if members.adopted:
            self._adopt_children()
        if (members.adopted, members.through) != self._saved:
            self._saved = dict(members.adopted), dict(members.through)
            self._supervisor.save()

    def _adopt_children(self) -> None:
        """What adopted processes start counts to the same branch, but for what a branch holds that
        began there: its root and what is below its root and its keeper.
        """
        members, roots = self._supervisor.members, self._supervisor.branch_roots()
        for pid in members.processes():  # parents before their children
            if pid in members.adopted or roots.get(pid) == pid:
                continue
            parent = parent_of(pid)
            if parent in members.adopted and parent not in roots:
                members.adopt(pid, members.adopted[parent])

    def meet(self, listener: Listener, cookie: int, tid: int) -> None:
        """A thread was heard, for the first time in a while. Is it of a process that we know?"""
        members = self._supervisor.members
        pid = leader_of(tid)
        if not pid:
            return
        for one in lineage(pid):
            if one == members.ancestor:
                return
            if one in members.strangers and members.still(one):
                members.add_stranger(pid)  # its parents may end before the next look
                return
        members.note(pid)
        if not listener.alive(cookie):
            return  # killed meanwhile; the id may be somebody else's
        members.strangers.add(pid)
        self._supervisor.save()
