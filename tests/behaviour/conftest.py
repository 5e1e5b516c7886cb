"""Each behaviour runs natively, in an empty view and under the mirror, and the three must agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.files import remove
from helpers.programs import program
from viewosd.testing.view import Outcome, Runner

__all__ = ["program"]

PRELUDE = """
import errno, os, stat, sys, socket, struct, fcntl, resource, signal, threading, time, ctypes
libc = ctypes.CDLL(None, use_errno=True)
def show(what, function, *args, **kwargs):
    "Print what a call gave, or its errno."
    try:
        result = function(*args, **kwargs)
    except OSError as error:
        result = errno.errorcode[error.errno]
    print(what, "->", result, flush=True)
    return result
def code(result):
    return errno.errorcode[ctypes.get_errno()] if result == -1 else result
def show_open(what, path, flags=0, mode=0o666, **kwargs):
    "Open, say what there is, close."
    def opened():
        fd = os.open(path, flags, mode, **kwargs)
        try:
            got = fcntl.fcntl(fd, fcntl.F_GETFL), fcntl.fcntl(fd, fcntl.F_GETFD)
            return fd, oct(got[0]), got[1], oct(os.fstat(fd).st_mode)
        finally:
            os.close(fd)
    return show(what, opened)
"""


class Agree:
    """Runs things in three ways in a directory that is new each time, always of the same name."""

    def __init__(self, runner: Runner, place: Path, owner: int) -> None:
        self.runner, self.place, self.owner = runner, place, owner

    def _prepare(self) -> None:
        remove(self.place)
        self.place.mkdir()
        os.chown(self.place, self.owner, -1)

    def __call__(self, *argv: str | bytes, **options: object) -> Outcome:
        """Run a program; its outcome, which was the same all three times."""
        return self.runner.compare(
            argv, self._prepare, **{"cwd": self.place, "umask": 0o022} | options
        )

    def python(self, text: str, *args: str | bytes, **options: object) -> Outcome:
        """Run a piece of Python, after PRELUDE; it must end well."""
        outcome = self("/usr/bin/python3", "-ISc", PRELUDE + text, *args, **options)
        assert (outcome.status, outcome.stderr) == (0, b""), outcome.stderr.decode()
        return outcome


def _agree(user, scratch: Path, name: str) -> Iterator[Agree]:
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    env["VIEWOS_RUNTIME_DIR"] = str(user.runtime_dir)
    place = scratch / name
    yield Agree(Runner(user.viewos_run, env, user.prefix), place, user.uid)
    remove(place)


@pytest.fixture
def agree(user, scratch: Path, request: pytest.FixtureRequest) -> Iterator[Agree]:
    """As whoever runs the tests and, if that is root, as an ordinary user as well."""
    yield from _agree(user, scratch, "place")


@pytest.fixture
def agree_as_root(me, scratch: Path) -> Iterator[Agree]:
    """For what only root can do."""
    if os.geteuid():
        pytest.skip("needs root")
    yield from _agree(me, scratch, "place")


Reader = Callable[[Outcome], dict[str, str]]


@pytest.fixture
def told() -> Reader:
    """What `show` printed, by what it was about."""

    def read(outcome: Outcome) -> dict[str, str]:
        return dict(line.split(" -> ", 1) for line in outcome.lines if " -> " in line)

    return read
