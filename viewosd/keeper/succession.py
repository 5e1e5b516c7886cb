"""When a supervisor has died or hangs: whether there is another one, and when.

A supervisor that works counts in the first 8 bytes of the journal; 0 means that it does not count
yet. One whose count stands still hangs (in a page of a tracee's memory that never
comes, or in a hook that blocks), and is killed: its successor answers the call that did it
with EFAULT when that happens again. While it only waits for a processor it does not hang: that time
is not counted, or a busy machine would have us kill one supervisor after the other.
"""

from __future__ import annotations

import os
import signal
import time

from .processes import state_of

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from typing import Final

ATTEMPTS: Final = 6
"""Deaths within WITHIN_S seconds after which there is no other supervisor. VIEWOS_SUCCESSORS
overrides it, for tests that kill many on purpose."""
WITHIN_S: Final = 60.0
PAUSE_S: Final = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
"""How long to wait before each of them: a moment's trouble (no memory) may pass."""
HANGS_S: Final = 10.0
"""How long the count may stand still. VIEWOS_WATCHDOG_S overrides it, for tests and slow hosts."""


class Succession:
    """One view's supervisors, one after the other.

    Args:
        journal: the memfd; its first 8 bytes are the living supervisor's count.
        patience_s: how long the count may stand still.

    Attributes:
        suspicious: the last death was no kill from outside (signal(7), SIGKILL, as the kernel sends
            it when memory is short): the supervisor hung or ended by itself.
    """

    def __init__(self, journal: int, patience_s: float = HANGS_S) -> None:
        self._journal = journal
        self._deaths: list[float] = []
        self._count, self._since, self._starved = 0, 0.0, 0.0
        self._patience = float(os.environ.get("VIEWOS_WATCHDOG_S") or patience_s)
        self._attempts = int(os.environ.get("VIEWOS_SUCCESSORS") or ATTEMPTS)
        self._hung = False
        self.suspicious = False

    def died(self, waitstatus: int) -> None:
        """A supervisor has, and this is how: waitpid(2)."""
        killed = os.WIFSIGNALED(waitstatus) and os.WTERMSIG(waitstatus) == signal.SIGKILL
        self.suspicious = self._hung or not killed
        self._hung = False

    def another(self) -> bool:
        """Shall there be another supervisor? Waits its pause if so."""
        now = time.monotonic()
        self._deaths = [*(t for t in self._deaths if t > now - WITHIN_S), now]
        self._since = 0.0
        if len(self._deaths) > self._attempts:
            return False
        time.sleep(PAUSE_S[min(len(self._deaths), len(PAUSE_S)) - 1])
        return True

    @property
    def look_again_ms(self) -> int:
        """How soon `look` wants to be called, for poll(2)."""
        return max(100, int(self._patience * 250))

    def look(self, supervisor: int) -> None:
        """Kill the supervisor if it hangs."""
        raw = os.pread(self._journal, 8, 0)
        count, now = int.from_bytes(raw, "little"), time.monotonic()
        starved = starved_s(supervisor)
        if not count or count != self._count or not self._since:
            self._count, self._since, self._starved = count, now, starved
        elif (now - self._since) - (starved - self._starved) > self._patience:
            self._since, self._starved = now, starved
            # Not T or t: somebody has stopped it, and will know why.
            if state_of(supervisor) in ("S", "D", "R"):
                self._hung = True
                os.kill(supervisor, signal.SIGKILL)


def starved_s(pid: int) -> float:
    """Seconds that a process has waited for a processor since it began; 0 where that is not told.

    Source: the second field of /proc/pid/schedstat, Documentation/scheduler/sched-stats.rst.
    """
    try:
        with open(f"/proc/{pid}/schedstat", "rb", buffering=0) as file:
            return int(file.read(100).split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0
