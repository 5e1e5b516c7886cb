"""Stacks of processes: what ``mstack`` and ``msocket`` with SOCK_DEFAULT have set.

A process has what it was given, for each address family, and else what its parent has. The kernel
keeps no such thing for us, so at a socket(2) the ancestors are looked through. ``mstack`` leaves
one that stays, a subreaper, as long as anybody is below it; of others, who has been found to
inherit is noted: it does so still when its parents have ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final

from viewosd import Tracee

Process = tuple[int, int]
"""Process id and start time."""

MANY: Final = 4096


class Defaults:
    """By process, for each family the path of a stack."""

    def __init__(self) -> None:
        self._own: dict[Process, dict[int, bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self._own)

    def set(self, pid: int, families: Iterable[int], path: bytes) -> None:
        """Give a process, and what it starts, a stack for some families.

        Raises:
            ProcessLookupError: there is no such process.
        """
        process = pid, started(pid)
        self._forget_ended()
        # A copy: it may have been noted as one that inherits, with others.
        self._own[process] = {**self._own.get(process, {}), **dict.fromkeys(families, path)}

    def of(self, tracee: Tracee, family: int) -> bytes | None:
        """The path of the stack that was given to a process or to whoever it comes from."""
        below: list[Process] = []
        found: bytes | None = None
        for process in tracee.ancestors():
            own = self._own.get(process)
            if own is not None and (found := own.get(family)) is not None:
                for heir in below:
                    self._own.setdefault(heir, {})[family] = found
                break
            below.append(process)
        if len(self._own) > MANY:
            self._forget_ended()
        return found

    def _forget_ended(self) -> None:
        self._own = {p: own for p, own in self._own.items() if _runs(p)}

    def describe(self) -> list[Any]:
        """For `restore`."""
        self._forget_ended()
        return [[list(process), list(own.items())] for process, own in self._own.items()]

    def restore(self, state: list[Any]) -> None:
        """Take back what `describe` gave."""
        self._own = {(pid, start): dict(own) for (pid, start), own in state}


def started(pid: int) -> int:
    """When a process was started, in clock ticks since boot: proc_pid_stat(5), field 22.

    Raises:
        ProcessLookupError: there is no such process.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", 0) as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(pid) from None


def _runs(process: Process) -> bool:
    pid, start = process
    if not os.path.exists(f"/proc/{pid}"):
        return False
    try:
        return started(pid) == start
    except ProcessLookupError:
        return False
