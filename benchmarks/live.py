"""How long re-arming, attaching and succeeding take.

    python benchmarks/live.py

The time of `Armory.rearm` itself, without the client and the loading of a service: for programs
that had no filter yet (attach), and then, the median and the worst of some, for the same again. To
hold: 4 threads 5 ms, 1,000 threads 500 ms, 200 processes 1 s.

Succession: from a `kill -9` of the supervisor to the answer of a call that was made just then; each
time in a new view, for a view whose supervisors die often waits before it starts the next. To hold:
300 ms.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import trio
from lab import VIEWOS_RUN

from viewosd.abi.arch import NATIVE
from viewosd.core.traps import Term, Traps
from viewosd.keeper.processes import descendants
from viewosd.runtime.armory import Armory
from viewosd.runtime.journal import Journal
from viewosd.runtime.parking import Parking
from viewosd.runtime.pump import Pump

THREADS = """
import sys, threading
threading.stack_size(65536)
for _ in range({n} - 1):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
TREE = "for i in $(seq {n}); do sleep 1000 <&- >&- & done; echo ready; read line; kill $(jobs -p)"
CASES = (
    ("4 threads", [sys.executable, "-c", THREADS.format(n=4)]),
    ("1,000 threads", [sys.executable, "-c", THREADS.format(n=1000)]),
    ("200 processes", ["bash", "-c", TREE.format(n=199)]),
)
AGAIN = 5


def traps(number: int) -> Traps:
    """personality(2) with one value more each time, which no program asks for."""
    values = frozenset(range(5000, 5000 + number))
    return {NATIVE: {135 if NATIVE.name == "X86_64" else 92: (Term(((0, 0xFFFF_FFFF, values),)),)}}


async def measure(pid: int) -> tuple[float, list[float]]:
    """Milliseconds to attach a process and all below it, and to re-arm them some times."""
    journal = Journal(os.memfd_create("journal", os.MFD_CLOEXEC))
    pump = Pump(journal)
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    armory = Armory(pump, Parking((pair[0].fileno(), pair[1].fileno())))

    def everybody() -> list[int]:
        return [pid, *descendants(pid)]

    async def timed(number: int) -> float:
        began = time.perf_counter()
        await armory.rearm(everybody, traps(number))
        return (time.perf_counter() - began) * 1e3

    async with trio.open_nursery() as nursery:
        await nursery.start(pump.run)
        first = await timed(1)
        later = [await timed(number) for number in range(2, 2 + AGAIN)]
        nursery.cancel_scope.cancel()
    return first, later


def succession() -> float:
    """Milliseconds until a successor answers; uname(1) in a shell asks."""
    words = ["sh", "-c", "while read line; do uname -n; done"]
    keeper = subprocess.Popen(
        [VIEWOS_RUN, "--no-rc", "-p", "misc,nodename=box", "--", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None

    def ask() -> None:
        keeper.stdin.write(b"\n")
        assert keeper.stdout.readline() == b"box\n"

    ask()
    supervisor = descendants(keeper.pid)[0]
    began = time.perf_counter()
    os.kill(supervisor, signal.SIGKILL)
    ask()
    taken = (time.perf_counter() - began) * 1e3
    keeper.communicate()
    return taken


def main(show: Callable[[str], None] = print) -> None:
    show(f"{'':16}{'attach':>10}{'re-arm':>10}{'worst':>10}   ms")
    for name, words in CASES:
        program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert program.stdout is not None
        program.stdout.readline()
        try:
            first, later = trio.run(measure, program.pid)
        finally:
            program.communicate(b"\n")
        show(f"{name:16}{first:10.1f}{sorted(later)[AGAIN // 2]:10.1f}{max(later):10.1f}")
    taken = sorted(succession() for _ in range(AGAIN))
    show(f"{'succession':16}{'':10}{taken[AGAIN // 2]:10.1f}{taken[-1]:10.1f}")


if __name__ == "__main__":
    main()
