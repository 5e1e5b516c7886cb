"""The demo of the README, without its part that installs packages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "scripts" / "demo"


def test_the_demo_runs_to_its_end_and_leaves_nothing(me, tmp_path: Path) -> None:
    commands = Path(sys.executable).parent
    if not (commands / "viewos-run").exists():
        pytest.skip("viewosd's commands are not installed beside this interpreter")
    environment = me.environment | {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
    }
    ended = subprocess.run(
        ["sh", DEMO, "--no-setup"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert ended.stderr == ""
    assert len(re.findall(r"^\x1b\[1m== ", ended.stdout, re.M)) >= 6
    assert "Traceback" not in ended.stdout
    assert me.views() == []
    assert not list(tmp_path.glob("tmp.*"))
