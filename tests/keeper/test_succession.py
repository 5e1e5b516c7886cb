"""When a supervisor counts as hanging: its count stands still though it has a processor."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from viewosd.keeper import succession
from viewosd.keeper.succession import Succession, starved_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the watchdog sees: the time, and how long the supervisor has waited for a processor."""
    seen = {"now": 100.0, "starved": 0.0}
    monkeypatch.setattr(succession.time, "monotonic", lambda: seen["now"])
    monkeypatch.setattr(succession, "starved_s", lambda pid: seen["starved"])
    return seen


@pytest.fixture
def supervisor() -> Iterator[subprocess.Popen[bytes]]:
    """Something that counts once, and then no more."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def watchdog() -> Iterator[Succession]:
    journal = os.memfd_create("journal", os.MFD_CLOEXEC)
    os.pwrite(journal, (7).to_bytes(8, "little"), 0)
    yield Succession(journal, patience_s=10.0)
    os.close(journal)


def test_a_count_that_stands_still_is_a_hang(clock, supervisor, watchdog) -> None:
    watchdog.look(supervisor.pid)
    clock["now"] += 9
    watchdog.look(supervisor.pid)
    assert supervisor.poll() is None
    clock["now"] += 2
    watchdog.look(supervisor.pid)
    assert supervisor.wait() == -signal.SIGKILL


def test_time_without_a_processor_is_not_counted(clock, supervisor, watchdog) -> None:
    watchdog.look(supervisor.pid)
    clock["now"] += 1000
    clock["starved"] += 995
    watchdog.look(supervisor.pid)
    assert supervisor.poll() is None
    clock["now"] += 6
    watchdog.look(supervisor.pid)
    assert supervisor.wait() == -signal.SIGKILL


def test_waiting_for_a_processor_is_told_by_the_kernel() -> None:
    assert starved_s(os.getpid()) >= 0.0
    assert starved_s(2**30) == 0.0
