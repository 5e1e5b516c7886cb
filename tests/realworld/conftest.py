"""What tests of real programs share: the kinds of view, and programs of our own, compiled."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.alike import Alike, needs

PROGRAMS = Path(__file__).resolve().parent.parent / "programs"
KINDS = {
    "empty": [],
    "filter": ["-p", "misc,nodename=box"],
    "trapped": ["-p", str(PROGRAMS / "trap_all.py")],
}
"""No filter at all; a filter that few calls meet; one that stops most calls and continues them."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> list[str]:
    """Options of viewos-run, each kind of view in turn."""
    return KINDS[request.param]


@pytest.fixture
def alike(me, kind: list[str], scratch: Path) -> Alike:
    """Whoever runs the tests, in each kind of view."""
    return Alike(me, kind, scratch / "work")


@pytest.fixture
def alike_for_all(user, kind: list[str], scratch: Path) -> Alike:
    """The same, and as root an ordinary user's views as well."""
    if user.uid and kind == KINDS["trapped"]:
        shutil.copy(PROGRAMS / "trap_all.py", user.runtime_dir)
        kind = ["-p", str(user.runtime_dir / "trap_all.py")]
    return Alike(user, kind, scratch / "work")


@pytest.fixture(scope="session")
def program(scratch: Path) -> Callable[..., str]:
    """Compile a program of tests/programs, with more options of gcc; its path. Skips by name."""

    @functools.cache
    def compiled(name: str, *options: str) -> str:
        needs("gcc")
        target = scratch / "-".join([name, *(o.strip("-") for o in options)])
        built = subprocess.run(
            ["gcc", "-O1", "-Wall", "-pthread", *options, "-o", target, PROGRAMS / f"{name}.c"],
            capture_output=True,
            text=True,
        )
        if built.returncode and options:
            pytest.skip(f"gcc can't build with {' '.join(options)}: {built.stderr[-200:]}")
        assert built.returncode == 0, built.stderr
        return str(target)

    return compiled
