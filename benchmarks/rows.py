"""The rows: what is measured, against what. README.md says what each one means."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, perf_counter_ns, sleep

from lab import VIEWOS_RUN, Lab, children, parent, pss_kb, time

from viewosd import wire
from viewosd.keeper import place

HEADER = ["row", "ours", "base", "ratio", "best", "hold"]
"""ours and base: medians; ratio: median of the rounds' ratios; best: ratio of the best runs."""
Table = list[list[str]]

ROWS: dict[str, Callable[[Lab], Table]] = {}


def row(measure: Callable[[Lab], Table]) -> Callable[[Lab], Table]:
    ROWS[measure.__name__] = measure
    return measure


def _against(lab: Lab, name: str, hold: str, ours: list[str], base: list[str]) -> Table:
    found = lab.measure(base=base, ours=ours)
    ratio, best = found.ratio("ours", "base"), found.least("ours", "base")
    return [[name, time(found["ours"]), time(found["base"]), f"{ratio:.2f}", f"{best:.2f}", hold]]


def _hook(lab: Lab, name: str, hold: str, service: str, call: str, mode: str) -> Table:
    """Against the limit as it is, and as it would be in a session of its own, which ours must be."""
    ours, limit = lab.view(service, plain := lab.trace(call)), [mode, *plain]
    return [
        *_against(lab, name, hold, ours, [lab.limit, *limit]),
        *_against(lab, "… the limit in a session too", hold, ours, [lab.limit, "-s", *limit]),
    ]


@row
def native(lab: Lab) -> Table:
    found = lab.measure(getppid=lab.trace("getppid"), open=lab.trace("open"))
    return [[f"native {n}", "", time(found[n]), "", "", ""] for n in ("getppid", "open")]


@row
def hook(lab: Lab) -> Table:
    return _hook(lab, "def hook, returns a value", "1.5 × C", "Returns", "getppid", "return")


@row
def under(lab: Lab) -> Table:
    name = "hooked open that nobody claims"
    return _hook(lab, name, "1.4 × C", "Elsewhere", "open", "path-continue")


@row
def inject(lab: Lab) -> Table:
    return _hook(lab, "open, InjectFd", "", "Opens", "open", "open-inject")


@row
def coroutine(lab: Lab) -> Table:
    return [
        *_hook(lab, "async def hook", "7 × C", "Async", "getppid", "return"),
        *_hook(lab, "async def hook that waits", "", "Waits", "getppid", "return"),
    ]


@row
def scale(lab: Lab) -> Table:
    found: Table = []
    for how, counts in {"threads": (1, 2, 8, 64), "processes": (1, 2, 8, 64)}.items():
        for n in counts:
            plain = lab.trace("getppid", how, str(n))
            c, ours = [lab.limit, "return", *plain], lab.view("Returns", plain)
            figures = lab.measure(base=c, ours=ours)
            ratio, best = figures.ratio("ours", "base"), figures.least("ours", "base")
            rates = [f"{1e6 / figures[name]:.0f} k/s" for name in ("ours", "base")]
            found.append([f"calls from {n} {how}", *rates, f"{ratio:.2f}", f"{best:.2f}", ""])
    return found


@row
def start(lab: Lab) -> Table:
    true = shutil.which("true") or "/bin/true"
    found = lab.wall(
        native=[true],
        empty=[VIEWOS_RUN, true],
        hostname=[VIEWOS_RUN, "--hostname", "box", true],
    )
    names = {"empty": ("viewos-run true", "60 ms"), "hostname": ("… --hostname box", "")}
    return [
        [title, time(found[name]), time(found["native"]), "", "", hold]
        for name, (title, hold) in names.items()
    ]


@row
def programs(lab: Lab) -> Table:
    """Timed inside the view, from fork to wait: what a program feels, without the view's start."""
    work = _build(lab) | _unittest(lab)
    found: Table = []
    for name, command in work.items():
        plain = lab.timed(*command)
        found += _against(lab, f"{name}, empty view", "1.02", lab.view(None, plain), plain)
        found += _against(lab, f"{name}, `getppid` hooked", "", lab.view("Returns", plain), plain)
    return found


def _build(lab: Lab) -> dict[str, list[str]]:
    source = lab.place / "build"
    source.mkdir(exist_ok=True)
    for n in range(6):
        body = "".join(f"int f{n}_{i}(int x) {{ return x * {i} + {n}; }}\n" for i in range(300))
        (source / f"part{n}.c").write_text(f"#include <stdio.h>\n#include <stdlib.h>\n{body}")
    compiler = os.environ.get("CC", "cc")
    script = f"cd {source} && for f in *.c; do {compiler} -O1 -c $f || exit 1; done"
    return {"a build": ["sh", "-c", script]}


TESTS = """
import json, os, subprocess, sys, tempfile, textwrap, unittest

class Everyday(unittest.TestCase):
    pass

def _test(n):
    def test(self):
        with tempfile.TemporaryDirectory() as place:
            for name in range(40):
                path = os.path.join(place, f"{name}.json")
                with open(path, "w") as file:
                    json.dump({"n": n, "text": textwrap.fill("words " * 200)}, file)
                with open(path) as file:
                    self.assertEqual(json.load(file)["n"], n)
            if n % 10 == 0:
                out = subprocess.run([sys.executable, "-S", "-c", "print(1)"], capture_output=True)
                self.assertEqual(out.stdout, b"1\\n")
    return test

for n in range(100):
    setattr(Everyday, f"test_{n}", _test(n))
"""
"""Files, small processes, computing: what a project's tests do, in a second."""


def _unittest(lab: Lab) -> dict[str, list[str]]:
    place = lab.place / "tests"
    place.mkdir(exist_ok=True)
    (place / "test_everyday.py").write_text(TESTS)
    return {"a test run": [sys.executable, "-m", "unittest", "discover", "-s", str(place)]}


@contextmanager
def held(command: list[str]) -> Iterator[tuple[int, int]]:
    """A command in a view, for as long as the context lasts: (keeper, supervisor).

    ``command`` starts with viewos-run; PROG is ours, so that its parent is the supervisor.
    """
    keeper = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until, prog = monotonic() + 30, None
        while prog is None and monotonic() < until and keeper.poll() is None:
            prog = next((p for s in children(keeper.pid) for p in children(s)), None)
            sleep(0.02)
        if prog is None:
            raise RuntimeError(f"{' '.join(command)}: no PROG")
        sleep(0.3)
        yield keeper.pid, parent(prog)
    finally:
        keeper.terminate()
        keeper.wait()


@row
def memory(lab: Lab) -> Table:
    found: Table = []
    for name, service in {"empty view": None, "with a service": "Returns"}.items():
        with held(lab.view(service, ["sleep", "1000"])) as pids:
            kept, supervised = (pss_kb(pid) / 1024 for pid in pids)
        cells = [f"{supervised:.1f} MB", f"{kept:.1f} MB (keeper)", "", "", "30 MB"]
        found.append([f"supervisor's PSS, {name}", *cells])
    return found


@row
def control(lab: Lab) -> Table:
    """How long "hello" takes, 200 times, while nothing happens and while 64 threads ask."""
    found: Table = []
    bursting = lab.view("Returns", [lab.tracee, "getppid", "0", "threads", "64"])
    for name, command in {
        "idle": lab.view("Returns", ["sleep", "1000"]),
        "64 threads ask": bursting,
    }.items():
        with held(command) as (_, supervisor):
            waits = sorted(_hello(supervisor) for _ in range(200))
        median, worst = waits[len(waits) // 2], waits[-1]
        hold = "50 ms" if "64" in name else ""
        found.append(
            [f"control socket, {name}", time(median), f"{time(worst)} (worst)", "", "", hold]
        )
    return found


def _hello(supervisor: int) -> int:
    begin = perf_counter_ns()
    with place.connect(supervisor) as connection:
        message, _ = wire.encode(wire.Request(1, "hello", [wire.PROTOCOL]))
        connection.send(message)
        answer = wire.decode(connection.recv(wire.MAX_MESSAGE))
    if not isinstance(answer, wire.Response) or answer.error:
        raise RuntimeError(f"hello: {answer}")
    return perf_counter_ns() - begin


@row
def others(lab: Lab) -> Table:
    """The same open, and the start of `true`, under what else is installed."""
    true = shutil.which("true") or "/bin/true"
    tools = {
        "proot": ["proot"],
        "strace -f": ["strace", "-f", "-o", "/dev/null", "-e", "trace=openat"],
        "strace -f --seccomp-bpf": ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=openat"],
        "bwrap": ["bwrap", "--dev-bind", "/", "/"],
    }  # fmt: skip
    found: Table = []
    for name, tool in tools.items():
        if shutil.which(tool[0]) is None:
            found.append([f"{name}: not installed", "", "", "", "", ""])
            continue
        try:
            plain = lab.trace("open")
            found += _against(lab, f"{name}, open", "", [*tool, *plain], plain)
            found += _against(
                lab, f"{name}, start of true", "", lab.timed(*tool, true), lab.timed(true)
            )
        except RuntimeError as error:
            found.append([f"{name}: {str(error).rpartition(':')[2].strip()}", "", "", "", "", ""])
    return found
