"""The small C programs of tests/programs/, compiled once in a session."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parent.parent / "programs"

Program = Callable[..., str]
"""``program("uname")`` or ``program("uname", "-m32", "-static")``: the path of the executable."""


@pytest.fixture(scope="session")
def program(scratch: Path) -> Program:
    """Compiles; skips the test where there is no compiler, or no 32-bit one."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    made: dict[tuple[str, ...], str] = {}

    def compiled(name: str, *flags: str) -> str:
        if (name, *flags) not in made:
            path = scratch / "-".join([name, *(f.strip("-") for f in flags)])
            words = ["gcc", "-O1", "-w", *flags, "-o", path, SOURCES / f"{name}.c", "-lpthread"]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode and "-m32" in flags and "32" in done.stderr:
                pytest.skip("needs a 32-bit C library (gcc-multilib)")
            assert done.returncode == 0, done.stderr
            made[name, *flags] = str(path)
        return made[name, *flags]

    return compiled
