"""Stop every thread of some processes, all or nothing.

Who waits for whom, and what is done about it:

* A thread that waits in one of our notifications can't stop before it is answered: calls of seized
  threads are answered with −ERESTARTNOINTR, which no program ever sees, for the stop swallows it
  and the call is made again afterwards (`Pump.seized`). Everybody else is served as ever; so the
  sweep waits on trio.
* A parent in vfork(2) can't stop before its child has executed a program or ended, and others
  sleep uninterruptibly too. Where another thread of the process stands still it need not: that one
  can do for all what is to be done, and the sleeper stops at its first step out of the kernel. The
  only thread of a process must stop: then the child is let go, and swept again afterwards.
* An execve(2) waits for the other threads of its process to end, and they for their tracer to have
  seen them dead: the dead are buried.
* New threads and processes appear while others stop. Only a look at /proc that finds nothing new
  *while* everybody stands still is the last one.
* Nobody shall stand still for long because somebody else does not stop: after HOLD_S without
  progress all are let go, and it is tried again, up to PATIENCE_S; with twice the hold each time,
  for in a storm of vforks somebody always is in one. Who did not stop stays seized, and is let go
  when it stops at last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import trio

from ..abi.sysno import SYSNO
from ..keeper.processes import parent_of, state_of
from . import unsafe
from .captive import CannotStop, Captive, collect_late, late, name_of
from .undertaker import Undertaker

HOLD_S: Final = 0.05
PATIENCE_S: Final = 5.0
_REFUSALS: Final = 2  # of one thread that may be chance
_LOOK_S: Final = 0.005  # without progress until the sweep looks for what is in the way


class Calls(Protocol):
    """Who answers the notifications of the threads that are swept."""

    def seize(self, tid: int) -> None:
        """From now on answer this thread with −ERESTARTNOINTR, and what it waits for at once."""

    def free(self, tid: int) -> None:
        """From now on answer it as ever."""


class Sweep:
    """The threads that were stopped. Use as an async context manager: all are let go at its end.

    Nothing is awaited between the last look and the body, so in the body, as long as it does not
    wait either, everybody stands still.

    Args:
        processes: asked again and again for the ids of all processes that shall be stopped.
        calls: told which threads are seized, and let go.
    """

    def __init__(self, processes: Callable[[], Iterable[int]], calls: Calls) -> None:
        self._processes, self._calls = processes, calls
        self.threads: dict[int, dict[int, Captive]] = {}
        """Process id to its captives, by thread id; the leader need not be among them. One that
        does not stand still sleeps, and stops before it runs on."""
        self._apart: dict[int, int] = {}  # vfork child that was let go: the thread that waits
        self._excused: set[int] = set()  # threads that need not stop
        self._refused: dict[int, int] = {}
        self._hold_s = HOLD_S

    async def __aenter__(self) -> Sweep:
        give_up = time.monotonic() + PATIENCE_S
        pause = 0.005
        try:
            while (culprit := await self._stop_all()) is not None:
                why = self._why(culprit)
                self.release()
                if time.monotonic() > give_up:
                    raise CannotStop(why)
                await trio.sleep(pause)
                pause = min(2 * pause, 0.3)
                self._hold_s *= 2
        except BaseException:
            self.release()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let everybody go, as they were."""
        for captives in self.threads.values():
            self._let_go(captives)
        self.threads.clear()
        self._apart.clear()
        self._excused.clear()

    def _let_go(self, captives: dict[int, Captive]) -> None:
        for captive in captives.values():
            if not captive.release(0.002):
                trio.lowlevel.spawn_system_task(_release_late)

    async def _stop_all(self) -> Captive | None:
        """None: everybody stands still. Else somebody who does not, after HOLD_S in vain."""
        moved = time.monotonic()
        before = nap = 0.0
        waiting: list[Captive] = []
        while True:
            if not waiting:
                if not self._seize_new() and not self._apart and self._all_stand_still():
                    return None
                moved, nap = time.monotonic(), 0.0
            waiting = self._not_stopped()
            idle = time.monotonic() - moved
            if waiting and len(waiting) != before:
                moved = time.monotonic()
            elif waiting and idle > _LOOK_S:
                self._bury()
                waiting = self._excuse(waiting)
                if not waiting or self._free_vfork_children(waiting):
                    moved = time.monotonic()
                elif idle > self._hold_s and (slow := self._asleep(waiting, idle)):
                    return slow
            before = len(waiting)
            if waiting or self._apart:
                await trio.sleep(nap)
                nap = min(nap + 0.0001, 0.002)

    def _seize_new(self) -> bool:
        """Seize every thread that is not seized yet; were there any?"""
        with Undertaker() as undertaker:
            return self._seize(undertaker)

    def _seize(self, undertaker: Undertaker) -> bool:
        found = False
        for pid in self._processes():
            if pid in self._apart and state_of(self._apart[pid]) == "D":
                continue
            self._apart.pop(pid, None)
            captives = self.threads.setdefault(pid, {})
            for tid in threads_of(pid):
                if tid in captives:
                    continue
                try:
                    undertaker.stand_by()
                    captives[tid] = late.pop(tid) if tid in late else Captive(tid, pid=pid)
                    captives[tid].released = self._calls.free
                except ProcessLookupError:
                    found = True  # or it has executed a program, and is now called as its leader
                    continue
                except CannotStop:
                    # Dead by now, or it was, and its id is another thread's (execve(2)).
                    self._refused[tid] = self._refused.get(tid, 0) + 1
                    if state_of(tid) not in ("Z", "X", ""):
                        found = True
                        if self._refused[tid] > _REFUSALS:
                            raise
                    continue
                self._calls.seize(tid)
                found = True
        for child in [c for c, parent in self._apart.items() if state_of(parent) != "D"]:
            del self._apart[child]  # it has ended
        return found

    def _not_stopped(self) -> list[Captive]:
        waiting = []
        for captives in self.threads.values():
            for tid, captive in list(captives.items()):
                try:
                    moving = not captive.stopped and not captive.has_stopped()
                    if moving and tid not in self._excused:
                        captive.interrupt()
                        waiting.append(captive)
                except ProcessLookupError:
                    captives.pop(tid).release(0)
        return waiting

    def _all_stand_still(self) -> bool:
        """Ask everybody once more: who was stopped may have been killed, or its id gone to another
        thread of the process by an execve(2).
        """
        good = True
        for captives in self.threads.values():
            for captive in captives.values():
                if captive.tid in self._excused and not captive.stopped:
                    continue
                good = captive.stands_still() and good
        return good

    def _bury(self) -> None:
        """Let the deaths of those who had stopped be known."""
        for captives in self.threads.values():
            for tid, captive in list(captives.items()):
                try:
                    captive.bury()
                except ProcessLookupError:
                    captives.pop(tid).release(0)

    def _excuse(self, waiting: list[Captive]) -> list[Captive]:
        """Do not wait for sleepers that a fellow thread can act for; who is left."""
        tids = {captive.tid for captive in waiting}
        for captives in self.threads.values():
            if any(captive.stopped for captive in captives.values()):
                for tid in tids & captives.keys():
                    # Not in an execve(2): it holds the mutex that TSYNC takes
                    # (kernel/seccomp.c:seccomp_set_mode_filter(), cred_guard_mutex).
                    if state_of(tid) == "D" and _call_of(tid) not in _EXEC:
                        self._excused.add(tid)
        return [captive for captive in waiting if captive.tid not in self._excused]

    def _free_vfork_children(self, waiting: list[Captive]) -> bool:
        """Let go the children that a parent in vfork(2) waits for; were there any?"""
        freed = False
        for child, parent in self._vfork_children(waiting):
            self._let_go(self.threads.pop(child, {}))
            self._apart[child] = parent
            freed = True
        return freed

    def _vfork_children(self, waiting: list[Captive]) -> list[tuple[int, int]]:
        """(child, waiting thread) pairs."""
        asleep = {captive.tid for captive in waiting if state_of(captive.tid) == "D"}
        found = []
        for pid in self.threads:
            above = parent_of(pid)
            parents = asleep & self.threads.get(above, {}).keys()
            if above in self._apart and state_of(above) == "D":
                parents = {above}
            for parent in parents:
                if unsafe.same_memory(pid, parent):
                    found.append((pid, parent))
        return found

    def _asleep(self, waiting: list[Captive], idle: float) -> Captive | None:
        """Who does not stop because it sleeps; or anybody, after a time that no load explains."""
        asleep = [captive for captive in waiting if state_of(captive.tid) == "D"]
        return (asleep or waiting)[0] if asleep or idle > PATIENCE_S else None

    def _why(self, culprit: Captive) -> str:
        tid = culprit.tid
        text = f"thread {tid} ({name_of(tid)}) does not stop"
        child = next((child for child, parent in self._apart.items() if parent == tid), 0)
        if child:
            return text + f": it waits in vfork(2) for process {child} ({name_of(child)})"
        return text + (": it sleeps uninterruptibly" if state_of(tid) == "D" else "")


async def _release_late() -> None:
    while late:
        await trio.sleep(0.01)
        collect_late()


_EXEC: Final = {table[name] for table in SYSNO.values() for name in ("execve", "execveat")} | {-1}


def _call_of(tid: int) -> int:
    """The number of the call that a thread sleeps in, proc_pid_syscall(5); -1: not to be seen."""
    try:
        with open(f"/proc/{tid}/syscall") as file:
            return int(file.read().split()[0])
    except (OSError, ValueError):
        return -1


def threads_of(pid: int) -> list[int]:
    """The thread ids of a process; none when it is gone."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []
