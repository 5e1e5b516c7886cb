"""Measure what viewosd costs, as multiples of what the kernel itself costs; a Markdown table.

usage: python benchmarks/run.py [--quick] [--rows NAME,...] [--write FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from lab import Lab, markdown
from rows import HEADER, ROWS


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what viewosd costs.")
    parser.add_argument("--quick", action="store_true", help="3 rounds of few calls: a first look")
    parser.add_argument("--rounds", type=int, help="rounds of each row (3 with --quick, else 9)")
    parser.add_argument("--rows", metavar="NAME,...", help=f"only these of: {', '.join(ROWS)}")
    parser.add_argument("--write", metavar="FILE", type=Path, help="write the table there, too")
    options = parser.parse_args()
    names = options.rows.split(",") if options.rows else list(ROWS)
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}")
    rounds = options.rounds or (3 if options.quick else 9)
    with tempfile.TemporaryDirectory(prefix="viewos-bench-") as place:
        lab = Lab(place, rounds, 5_000 if options.quick else 30_000)
        lines = []
        for name in names:
            print(f"{name} …", file=sys.stderr, flush=True)
            lines += ROWS[name](lab)
    text = f"{_heading(rounds)}\n\n{markdown(HEADER, lines)}\n"
    print(text)
    if options.write:
        options.write.write_text(f"# Results\n\nREADME.md says how to read them.\n\n{text}")
    return 0


def _heading(rounds: int) -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    command = shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]])
    return "\n".join(
        [
            f"- machine: {cpu}, {os.cpu_count()} CPUs, Linux {platform.release()}, "
            f"Python {platform.python_version()}",
            f"- date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; load "
            f"{os.getloadavg()[2]:.1f} (15 minutes)",
            f"- command: `{command}`, {rounds} rounds",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
