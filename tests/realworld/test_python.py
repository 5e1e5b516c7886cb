"""Python's own test suite where it is installed, and a suite of the same kind of ours."""

from __future__ import annotations

import glob
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.alike import Alike

SUITE = Path(__file__).resolve().parent.parent / "programs" / "suite.py"


def with_test_suite() -> str:
    """An interpreter that ships its tests; Debian's does not, one from source does."""
    found = glob.glob(
        os.path.expanduser(
            os.environ.get("PYENV_ROOT", "~/.pyenv") + "/versions/3.1[1-9].*/bin/python3"
        )
    )
    for python in [sys.executable, *sorted(found)]:
        if (
            subprocess.run(
                [python, "-c", "import test.test_subprocess"], capture_output=True
            ).returncode
            == 0
        ):
            return python
    pytest.skip("no interpreter here ships Python's test suite")


def counts(text: bytes) -> bytes:
    """How many tests ran and how they ended; not how long they took."""
    kept = re.findall(rb"^(?:Ran \d+ tests?|OK.*|FAILED.*|FAIL: .*|ERROR: .*)", text, re.M)
    return b"\n".join(kept)


def test_asyncio_processes_threads_and_signals(alike_for_all: Alike) -> None:
    alike_for_all.check(
        sys.executable if alike_for_all.runner.uid == 0 else "/usr/bin/python3",
        str(SUITE),
        edit=counts,
    )


MODULES = ("test_posix", "test_pty", "test_select", "test_tempfile", "test_os.ForkTests")


@pytest.mark.parametrize("module", MODULES)
def test_modules_of_the_standard_library(alike: Alike, module: str) -> None:
    alike.check(with_test_suite(), "-m", "unittest", f"test.{module}", edit=counts)
