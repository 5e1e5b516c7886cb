"""Supervisors are killed at random moments while programs use a view's file tree.

The long one is scripts/soak-files.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from helpers.files import remove
from helpers.filestorm import FileStorm


@pytest.fixture
def place(scratch: Path):
    made = scratch / f"filestorm-{os.urandom(4).hex()}"
    made.mkdir()
    yield made
    remove(made)


@pytest.mark.timeout(180)
def test_programs_that_use_mounts_in_a_storm_of_kills_have_the_output_of_a_quiet_run(user, place):
    if user.prefix and shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    quiet = FileStorm.run(user, place / "quiet", kills=0, seed=5)
    loud = FileStorm.run(user, place / "loud", kills=8, seed=5)
    assert loud.output == quiet.output, loud.log[-3000:]
    assert (loud.killed, loud.status, quiet.status) == (8, 0, 0)
    mounting = [line for line in quiet.output.splitlines() if line.startswith("mounts")]
    assert mounting
    assert all(line.count(" ok'") == line.count("mount ") for line in mounting)
    assert "Traceback" not in loud.log, loud.log
    assert (loud.left, quiet.left) == ([], [])
