"""Real programs that mount in real views, as whoever runs the tests and as an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import User, remove
from helpers.programs import program as program

SERVICES = Path(__file__).parent.parent / "live" / "file_services.py"


class Box:
    """A directory of a user's, and views of theirs that have a file service loaded."""

    def __init__(self, user: User, service: str, place: Path) -> None:
        self.user, self.service, self.place = user, service, place
        self.log = place.with_suffix(".log")

    def run(self, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program in a view, in our directory, to its end."""
        given = {"cwd": self.place, "text": True} | options
        argv = ["--no-rc", "-o", str(self.log), "-p", self.service, "--", *map(str, words)]
        return self.user.run(*argv, **given)

    def sh(self, script: str, status: int = 0) -> str:
        """What a shell script in a view says, if it ends as it should and complains of nothing."""
        done = self.run("sh", "-ec", script)
        assert (done.returncode, done.stderr) == (status, ""), self.log_text()
        return done.stdout

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def path(self, name: str) -> Path:
        """A new directory of the user's."""
        path = self.place / name
        path.mkdir(parents=True)
        os.chown(path, self.user.uid, self.user.uid)
        return path


@pytest.fixture
def box(user: User, scratch: Path) -> Iterator[Box]:
    """As root, and as an ordinary user. Nothing of a view's mounts may be left at the end."""
    top = Path(tempfile.mkdtemp(prefix="box-", dir=scratch))
    os.chown(top, user.uid, user.uid)
    top.chmod(0o755)
    service = top / "file_services.py"
    shutil.copy(SERVICES, service)
    service.chmod(0o644)
    place = top / "place"
    place.mkdir()
    os.chown(place, user.uid, user.uid)
    before = Path("/proc/self/mountinfo").read_text()
    yield Box(user, f"{service}:Scratch", place)
    assert str(top) not in Path("/proc/self/mountinfo").read_text() or str(top) in before
    remove(top)
