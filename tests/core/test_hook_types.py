"""A wrong hook is an error before anything runs: mypy sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WRONG = """
from viewosd import CONTINUE, Return, Service, Tracee, Verdict, hook
from viewosd.syscalls import Open, openat, uname


class Wrong(Service):
    name = "wrong"

    @hook(uname)
    def another_call(self, call: openat, tracee: Tracee) -> Verdict:
        return CONTINUE

    @hook(uname)
    def no_verdict(self, call: uname, tracee: Tracee) -> int:
        return 0

    @hook(uname)
    def no_such_register(self, call: uname, tracee: Tracee) -> Verdict:
        tracee.write(call.name, b"")
        return Return(0)

    @hook(uname)
    async def right(self, call: uname, tracee: Tracee) -> Verdict | None:
        return None

    @hook(Open)
    @hook(uname)
    def right_for_two(self, call: Open | uname, tracee: Tracee) -> Verdict:
        return Return(0)
"""


def test_a_type_checker_finds_the_wrong_call_the_wrong_result_and_the_wrong_register(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", tmp_path / "wrong.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line]
    assert lines == [9, 13, 19], done.stdout + done.stderr
