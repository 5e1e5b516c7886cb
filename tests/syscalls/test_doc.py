"""docs/syscalls.md says what the tables say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GENERATOR = Path(__file__).parents[2] / "scripts" / "gen-syscalls-doc"


def test_the_page_of_calls_is_current() -> None:
    made = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
