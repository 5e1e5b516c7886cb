"""A command to run, and a fake supervisor to run it against, inside or outside of its view."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.commands import Run, runner
from helpers.fake_supervisor import FakeSupervisor, running


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command line, its first word by its entry point."""
    return runner(tmp_path)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSupervisor]:
    """A view, and we are not in it."""
    monkeypatch.setenv("VIEWOS_RUNTIME_DIR", str(tmp_path / "run"))
    with running(FakeSupervisor()) as supervisor:
        yield supervisor


@pytest.fixture
def inside(outside: FakeSupervisor) -> FakeSupervisor:
    """A view that every process is in."""
    outside.inside = lambda pid: outside.root
    return outside
