"""What rows are made with: the C programs, runs in turn, medians, tables."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
VIEWOS_RUN = str(Path(sys.executable).with_name("viewos-run"))
SERVICES = str(HERE / "services.py")


class Lab:
    """A directory with the compiled programs, and how much to do.

    Attributes:
        rounds: how often each of a row's variants runs; in turn, so that all see the same weather.
        calls: about how many calls one run makes.
    """

    def __init__(self, place: str, rounds: int, calls: int) -> None:
        self.place, self.rounds, self.calls = Path(place), rounds, calls
        self.limit, self.tracee = str(self.place / "limit"), str(self.place / "tracee")
        compiler = os.environ.get("CC", "cc")
        for name, flags in {"limit": [], "tracee": ["-static", "-pthread"]}.items():
            source = str(HERE / f"{name}.c")
            subprocess.run(
                [compiler, "-O2", *flags, "-o", str(self.place / name), source], check=True
            )

    def trace(self, call: str, *more: str, times: int | None = None) -> list[str]:
        """A command that makes ``call`` over and over and prints nanoseconds a call."""
        return [self.tracee, call, str(times or self.calls), *more]

    def timed(self, *command: str) -> list[str]:
        """A command that prints the nanoseconds that ``command`` takes."""
        return [self.tracee, "run", *command]

    def view(self, service: str | None, command: list[str]) -> list[str]:
        """The same in a view; ``service``: a class of services.py, or None."""
        load = [] if service is None else ["-p", f"{SERVICES}:{service}"]
        return [VIEWOS_RUN, *load, "--", *command]

    def measure(self, **variants: list[str]) -> Figures:
        """Run every variant once a round, round after round; each prints its figure."""
        return Figures(self._in_turn({n: lambda c=c: figure(c) for n, c in variants.items()}))

    def wall(self, **variants: list[str]) -> Figures:
        """The same for commands that print nothing: nanoseconds from our fork to their end."""
        return self.measure(**{name: self.timed(*c) for name, c in variants.items()})

    def _in_turn(self, variants: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(self.rounds):
            for name, run in variants.items():
                found[name].append(run())
        return found


class Figures:
    """Nanoseconds of every variant, round by round."""

    def __init__(self, rounds: Mapping[str, list[float]]) -> None:
        self.rounds = rounds

    def __getitem__(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def ratio(self, name: str, base: str) -> float:
        """The median of the rounds' own ratios: a neighbour's load is in both of a pair."""
        pairs = zip(self.rounds[name], self.rounds[base], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def least(self, name: str, base: str) -> float:
        """The ratio of the best runs: what the machine can do when it is left alone."""
        return min(self.rounds[name]) / min(self.rounds[base])


def figure(command: list[str]) -> float:
    """Run a command and read the number it prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}")
    return float(done.stdout.split()[-1])


def pss_kb(pid: int) -> int:
    """Proportional set size of a process: /proc/PID/smaps_rollup, proc(5)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError("smaps_rollup without Pss")


def parent(pid: int) -> int:
    """The parent of a process: field 4 of /proc/PID/stat, counted behind the name."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children(pid: int) -> list[int]:
    """The children of a process's main thread."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def time(nanoseconds: float) -> str:
    """Three digits and a unit."""
    for limit, unit in ((1e3, "ns"), (1e6, "µs"), (1e9, "ms")):
        if nanoseconds < limit:
            return f"{nanoseconds / (limit / 1e3):.3g} {unit}"
    return f"{nanoseconds / 1e9:.3g} s"


def markdown(header: list[str], rows: Iterable[list[str]]) -> str:
    """A table; the first column is text, the others are figures."""
    marks = ["---"] + ["--:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, marks, *rows))
