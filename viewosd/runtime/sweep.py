"""Stop every thread of some processes, all or nothing.

Who waits for whom: a thread that waits in one of our notifications can't stop before it is
answered; so while the sweep waits for stops it answers what is in flight with −ERESTARTNOINTR,
which no program ever sees: the stop swallows it, and the call is made again afterwards. A parent in
vfork(2) can't stop before its child has executed or ended; so that child is let go for a moment and
swept again. New threads and processes appear while we stop others: sweep until a pass finds nothing
new.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Final

from ..keeper.processes import state_of
from . import unsafe
from .captive import CannotStop, Captive

TOGETHER_S: Final = 5.0  # for everybody to be stopped; then the sweep gives up, and lets all go
ROUND_S: Final = 0.05  # how long one round waits for stops before it looks what is in the way


class Sweep:
    """The threads that were stopped. Use as a context manager: all are let go at its end.

    Args:
        processes: asked in every round for the ids of all processes that shall be stopped.
        in_flight: called again and again while stops are awaited, with the ids of the threads that
            are seized: answers those of their calls that wait for us.
    """

    def __init__(
        self, processes: Callable[[], Iterable[int]], in_flight: Callable[[set[int]], None]
    ) -> None:
        self._processes, self._in_flight = processes, in_flight
        self.threads: dict[int, dict[int, Captive]] = {}
        """Process id to its captives, by thread id; the leader need not be among them."""

    def __enter__(self) -> Sweep:
        try:
            self._stop_all()
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let everybody go, as they were."""
        for captives in self.threads.values():
            for captive in captives.values():
                captive.release()
        self.threads.clear()

    def _stop_all(self) -> None:
        """Raises CannotStop: somebody can't be taken; the text names it."""
        until = time.monotonic() + TOGETHER_S
        while True:
            new = self._seize_new()
            waiting = self._wait(time.monotonic() + ROUND_S)
            if not new and not waiting:
                return
            if waiting and not self._free_vfork_children(waiting) and time.monotonic() > until:
                captive = waiting[0]
                state = state_of(captive.tid)
                raise CannotStop(
                    f"thread {captive.tid} ({_name(captive.tid)}) does not stop"
                    + (": it sleeps uninterruptibly" if state == "D" else "")
                )
            if time.monotonic() > until + TOGETHER_S:
                raise CannotStop("processes appear faster than they can be stopped")

    def _seize_new(self) -> bool:
        """Seize every thread that is not seized yet; were there any?"""
        found = False
        for pid in self._processes():
            captives = self.threads.setdefault(pid, {})
            for tid in threads_of(pid):
                if tid in captives:
                    continue
                try:
                    captives[tid] = Captive(tid)
                    found = True
                except ProcessLookupError:
                    pass
                except CannotStop:
                    if state_of(tid) not in ("Z", "X", ""):
                        raise
        return found

    def _wait(self, until: float) -> list[Captive]:
        """Wait for stops, answering what is in flight; those that have not stopped by then."""
        nap = 0.0
        while True:
            self._in_flight({tid for captives in self.threads.values() for tid in captives})
            waiting = []
            for captives in self.threads.values():
                for tid, captive in list(captives.items()):
                    try:
                        if not captive.stopped and not captive.has_stopped():
                            waiting.append(captive)
                    except ProcessLookupError:
                        del captives[tid]
            if not waiting or time.monotonic() > until:
                return waiting
            time.sleep(nap)
            nap = min(nap + 0.00005, 0.002)

    def _free_vfork_children(self, waiting: list[Captive]) -> bool:
        """Let go the children that a parent in vfork(2) waits for; were there any?"""
        parents = {captive.tid for captive in waiting if state_of(captive.tid) == "D"}
        freed = False
        for pid, captives in list(self.threads.items()):
            parent = parent_thread_group(pid)
            held = [t for t in parents if t in self.threads.get(parent, {})]
            if held and unsafe.same_memory(pid, parent) and captives:
                for captive in captives.values():
                    captive.release()
                del self.threads[pid]
                freed = True
        return freed


def threads_of(pid: int) -> list[int]:
    """The thread ids of a process; none when it is gone."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []


def parent_thread_group(pid: int) -> int:
    """The parent's process id; 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", 0) as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _name(tid: int) -> str:
    try:
        with open(f"/proc/{tid}/comm", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "gone"
