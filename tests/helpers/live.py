"""A running view, and what is done to it while its programs run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from helpers.waiting import until

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "clients")]

from viewos_clients.session import Session  # noqa: E402

PROGRAMS = Path(__file__).resolve().parent.parent / "programs"


class LiveView:
    """A view whose first program is a subprocess of the test's.

    Attributes:
        run: the keeper, with PROG's standard input and output.
        session: asks the supervisor.
        layers: programs/layers.py, where the view's owner can read it.
        armed: how many of its numbered services are loaded.
    """

    def __init__(self, run: subprocess.Popen[bytes], session: Session, layers: str) -> None:
        self.run, self.session, self.layers = run, session, layers
        self.supervisor = session.serverid
        self.armed = 0

    def add(self, text: str) -> None:
        """Load a service; raises Refused."""
        self.session.call("add", None, os.fsencode(text), False)

    def load(self, name: str) -> None:
        """Load a service of programs/layers.py."""
        self.add(f"{self.layers}:{name}")

    def rearm(self, times: int = 1) -> None:
        """Load services that trap one thing more, each."""
        for _ in range(times):
            self.load(f"L{self.armed}")
            self.armed += 1

    def attach(self, pid: int) -> None:
        """Pull a process in; raises Refused."""
        self.session.call("attach", None, pid)

    def say(self, text: str = "\n") -> None:
        """Write to PROG's standard input."""
        assert self.run.stdin is not None
        self.run.stdin.write(text.encode())
        self.run.stdin.flush()

    def hear(self) -> str:
        """PROG's next line."""
        assert self.run.stdout is not None
        return self.run.stdout.readline().decode().rstrip("\n")

    def processes(self) -> list[int]:
        """Process ids."""
        return list(self.session.call("ps", None)["pids"])

    def end(self) -> tuple[int, str]:
        """Close PROG's input; its exit status, and what it printed."""
        out, _ = self.run.communicate(timeout=100)
        return self.run.returncode, out.decode()


def _session(user: Any, serverid: int) -> Session:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIEWOS_RUNTIME_DIR", str(user.runtime_dir))
        return Session(serverid)


@contextmanager
def view(user: Any, *words: str, **options: Any) -> Iterator[LiveView]:
    """Run a program in a view: ``view(me, "-p", "misc", "--", "cat")``."""
    before = set(user.views())
    layers = shutil.copy(PROGRAMS / "layers.py", user.runtime_dir)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    run = user.start(*words, **(pipes | options))
    try:
        (serverid,) = until(lambda: set(user.views()) - before, "the view")
        with _session(user, serverid) as session:
            yield LiveView(run, session, layers)
    finally:
        if run.poll() is None:
            with suppress(ConnectionError), _session(user, serverid) as session:
                session.call("stop", None, 0.0)
            run.communicate(timeout=100)
        for pipe in (run.stdin, run.stdout):
            if pipe is not None:
                pipe.close()


def descriptors(pid: int) -> int:
    """How many a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))
