"""Calls that sleep while the view is re-armed: no program sees that they were broken off."""

from __future__ import annotations

import os

import pytest

from helpers.live import view
from helpers.programs import program as program
from helpers.waiting import until


def _all_asleep(pid: int) -> bool:
    states = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/stat") as stat:
            states.append(stat.read().rpartition(") ")[2][0])
    return set(states) == {"S"}


@pytest.mark.parametrize("flags", [(), ("-m32",), ("-static",)], ids=["64", "32", "static"])
def test_no_sleeping_call_sees_a_re_arm_and_every_timeout_ends(user, program, flags):
    with view(user, program("sleepers", *flags)) as live:
        assert live.hear() == "ready"
        pid = live.processes()[0]
        until(lambda: _all_asleep(pid), "all threads to sleep")
        # Were any timeout begun anew by a re-arm, it would never be over.
        while len(os.listdir(f"/proc/{pid}/task")) > 21 and live.armed < 70:
            live.rearm()
        assert live.hear() == "timeouts are over"
        until(lambda: _all_asleep(pid), "all threads to sleep")
        live.rearm()
        live.say()
        assert live.end() == (0, "ok\n")
