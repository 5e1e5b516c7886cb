"""Views that are re-armed while threads and processes come and go: no call gives a wrong result."""

from __future__ import annotations

import os

import pytest

from helpers.live import descriptors, view
from helpers.programs import program as program
from helpers.waiting import until

KINDS = ["threads", "forks", "execs", "thread-execs", "vforks", "slow-vfork", "spawns", "leader",
         "calls"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_no_call_goes_wrong_while_a_storm_is_re_armed(user, program, kind):
    with view(user, program("churn"), kind, "3") as live:
        assert live.hear() == "ready"
        live.load("Parent")
        live.add("misc,nodename=boxed")
        live.rearm(8)
        live.load("Programs")
        live.load("Files")
        live.rearm(8)
        assert live.end() == (0, "ok\n")


def test_fifty_re_arms_leave_no_descriptors_and_no_memory_behind(me, program):
    with view(me, program("churn"), "calls", "4") as live:
        assert live.hear() == "ready"
        pid = live.processes()[0]
        live.rearm(10)
        # The least of some looks: it has a file of /proc open now and then.
        before = min(descriptors(live.supervisor) for _ in range(20)), _mappings(pid)
        live.rearm(50)
        until(lambda: (descriptors(live.supervisor), _mappings(pid)) == before, "as few")
        # It has 0 to 2 and one that it opens itself, each thread, now and then.
        assert all(fd <= 2 + 4 for fd in map(int, os.listdir(f"/proc/{pid}/fd")))
        assert live.end() == (0, "ok\n")


def _mappings(pid: int) -> int:
    with open(f"/proc/{pid}/maps") as maps:
        return len(maps.readlines())
