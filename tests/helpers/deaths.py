"""Supervisors that are killed, and services that tell who was asked: for tests of succession."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .puppets import Stage

SERVICES = Path(__file__).resolve().parent.parent / "live" / "services_to_outlive.py"
MANY = {"VIEWOS_SUCCESSORS": "1000"}
"""A test that kills on purpose is no crash loop."""


def text(name: str, *options: str) -> str:
    """A service of services_to_outlive.py, as it is loaded."""
    return ",".join([f"{SERVICES}:{name}", *options])


def replaced(stage: Stage, keeper: subprocess.Popen[bytes] | None = None) -> int:
    """Kill the supervisor and wait for its successor."""
    old = stage.kill_supervisor(keeper)
    new = stage.supervisor(keeper)
    assert new != old
    return new


def asked(place: Path, number: int) -> int:
    """How often the hook of `Marks` was asked, each time by another supervisor or call."""
    try:
        return len((place / f"asked-{number}").read_text().splitlines())
    except FileNotFoundError:
        return 0
