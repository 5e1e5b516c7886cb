"""What signals did to other supervisors. T16 and so on: see README.md."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from helpers.live import view
from helpers.waiting import until


def _blocked(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk:"))


def test_t16_no_signal_ever_reaches_a_supervisor_and_storms_of_them_cost_no_call(user):
    # An ioctl that a signal interrupts left the tracee waiting for ever (kernels until 2026).
    every = {s for s in signal.valid_signals() if s not in (signal.SIGKILL, signal.SIGSTOP)}
    wanted = sum(1 << (s - 1) for s in every)
    with view(user, "cat") as live:
        assert _blocked(live.supervisor) & wanted == wanted
        live.add("misc,nodename=box")
        assert _blocked(live.supervisor) & wanted == wanted
    script = "i=0; while [ $i -lt 150 ]; do [ $(uname -n) = box ] || echo wrong; i=$((i+1)); done"
    with view(user, "-p", "misc,nodename=box", "sh", "-c", f"read x; {script}; cat") as live:
        live.say()
        live.say("done\n")
        for _ in range(2000):
            for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGALRM, signal.SIGTERM):
                os.kill(live.supervisor, number)
        assert live.hear() == "done"
        until(lambda: live.processes(), "the supervisor to answer")
