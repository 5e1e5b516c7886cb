"""Which processes are of a view tree."""

from __future__ import annotations

from ..keeper.processes import descendants, descends, state_of


class Members:
    """Everything below an ancestor that is no member itself, and strangers that were attached.

    Attributes:
        ancestor: the supervisor, whose descendants all are: it is their subreaper.
        strangers: processes that were attached; what they start is found below them.
    """

    def __init__(self, ancestor: int) -> None:
        self.ancestor = ancestor
        self.strangers: set[int] = set()

    def processes(self) -> list[int]:
        """Process ids, parents before their children; no two looks at /proc are one snapshot."""
        found = descendants(self.ancestor)
        for pid in self.strangers:
            if state_of(pid):
                found += [pid, *descendants(pid)]
        return list(dict.fromkeys(found))

    def has(self, pid: int) -> bool:
        """Is this process, or the process of this thread, one of ours?"""
        if pid != self.ancestor and descends(pid, self.ancestor):
            return True
        return any(descends(pid, stranger) for stranger in self.strangers)

    def strangers_alive(self) -> bool:
        """Is any attached process, or a child of one, still there? Forgets those that are not."""
        for pid in list(self.strangers):
            if state_of(pid) in ("", "Z", "X"):
                self.strangers.discard(pid)
                # Its children live on, adopted by somebody else; they keep our filter.
        return bool(self.strangers)


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
