"""Random changes through the kernel's overlayfs, committed: the target is what the view was."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from conftest import User, remove

TESTS = Path(__file__).resolve().parents[2]
SEEDS = 12


def test_what_is_committed_is_what_overlayfs_showed(user: User, scratch: Path) -> None:
    """Also while it is mounted, and after it was mounted again. A failure names its seed."""
    place = Path(tempfile.mkdtemp(prefix="overlaid-", dir=scratch))
    os.chown(place, user.uid, user.uid)
    namespaces = ["unshare", "-m", "--propagation", "private"]
    if user.uid:
        namespaces += ["--map-current-user", "--keep-caps"]
    if subprocess.run([*user.prefix, *namespaces, "true"], capture_output=True).returncode:
        pytest.skip("needs user namespaces, and an unshare(1) that maps the user to itself")
    program = TESTS / "programs/overlaid.py"
    words = [*user.python, program, place, str(random.randrange(1 << 30)), str(SEEDS)]
    done = subprocess.run(
        [*user.prefix, *namespaces, *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    remove(place)
