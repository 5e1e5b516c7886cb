"""Programs in views that do what a test says, one expression at a time.

outer = stage.run("-p", "misc,nodename=a")      # a process in a new view
inner = outer.branch("-V", "name")              # one in a branch of it
inner.ask("os.uname().nodename")                # evaluated there; the value comes back
"""

from __future__ import annotations

import ast
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from viewos_clients.session import Session
from viewosd.keeper.processes import descendants, state_of

from .commands import ROOT, command
from .waiting import LIMIT, until

PUPPET = '''
import ctypes, errno, os, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
children = []
def call(name, *args):
    """A C function's result, or its errno as a negative number."""
    result = getattr(libc, name)(*args)
    return -ctypes.get_errno() if result < 0 else result
def sethostname(name):
    return call("sethostname", name, len(name))
def node():
    return os.uname().nodename
def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr
def spawn(*words):
    children.append(subprocess.Popen(words))
    return children[-1].pid
def wait(number=-1):
    return children[number].wait()
def many(expression, times):
    """How often it was each value."""
    code, found = compile(expression, "many", "eval"), {}
    for _ in range(times):
        value = eval(code)
        found[value] = found.get(value, 0) + 1
    return found
def play():
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(sys.argv[1])
    talk = peer.makefile("rw")
    print(os.getpid(), file=talk, flush=True)
    for line in talk:
        try:
            value = eval(line)
        except BaseException as error:
            value = f"{type(error).__name__}: {error}"
        try:
            print(repr(value), file=talk, flush=True)
        except BrokenPipeError:
            break
play()
'''


class Puppet:
    """One program in a view."""

    def __init__(self, stage: Stage, talk: Any) -> None:
        self.stage, self._talk = stage, talk
        self.pid = int(talk.readline())

    def ask(self, expression: str) -> Any:
        """The value, as Python writes and reads it."""
        self.tell(expression)
        return self.hear()

    def tell(self, expression: str) -> None:
        """Ask without waiting; `hear` gets the value."""
        print(expression, file=self._talk, flush=True)

    def hear(self) -> Any:
        line = self._talk.readline()
        assert line, f"the puppet {self.pid} has ended"
        return ast.literal_eval(line)

    def viewos(self, *words: str) -> str:
        """A client command, run in the puppet's view; its output."""
        status, out, err = self.ask(f"run(*{command(*words)!r})")
        assert (status, err) == (0, ""), (words, status, out, err)
        return str(out)

    def branch(self, *options: str) -> Puppet:
        """A puppet in a branch of this one's view."""
        self.ask(f"spawn(*{self.stage.words(*options)!r})")
        return self.stage.enter()

    def close(self) -> None:
        """It ends, with status 0."""
        self._talk.close()


class Stage:
    """Where puppets connect to, and the keepers that were started."""

    def __init__(self, user: Any, place: Path) -> None:
        self.user = user
        self.script, self.address = place / "puppet.py", str(place / "stage")
        self.script.write_text(PUPPET)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.address)
        os.chmod(self.address, 0o777)
        self._socket.listen(200)
        self._socket.settimeout(LIMIT)
        self.keepers: list[subprocess.Popen[bytes]] = []
        self.puppets: list[Puppet] = []
        places = os.pathsep.join(str(ROOT / name) for name in ("", "clients", "services"))
        self.user.environment |= {"PYTHONPATH": places}

    def words(self, *options: str) -> list[str]:
        return [*self.user.viewos_run, "--no-rc", *options, "--", *self.player]

    @property
    def player(self) -> list[str]:
        return [sys.executable, "-S", str(self.script), self.address]

    def run(self, *options: str, env: dict[str, str] | None = None, **more: Any) -> Puppet:
        """A puppet in a view of its own; its keeper is `keepers[-1]`."""
        environment = self.user.environment | (env or {})
        words = [*self.user.prefix, *self.words(*options)]
        self.keepers.append(subprocess.Popen(words, env=environment, **more))
        return self.enter()

    def enter(self) -> Puppet:
        """The next puppet that connects."""
        peer, _ = self._socket.accept()
        with peer:
            peer.settimeout(None)
            puppet = Puppet(self, peer.makefile("rw"))
        self.puppets.append(puppet)
        return puppet

    def serverid(self) -> int:
        """The only view's."""
        return until(self.user.views, "a view")[0]

    def probe(self) -> dict[str, Any]:
        """What the only view's supervisor says of itself; `pid` is the present one's."""
        with Session(self.serverid()) as session:
            return dict(session.call("probe"))

    def views(self) -> dict[int, dict[str, Any]]:
        """The only supervisor's views, by id."""
        with Session(self.serverid()) as session:
            return {row["view"]: row for row in session.call("views")}

    def supervisor(self, keeper: subprocess.Popen[bytes] | None = None) -> int:
        """Its process id, found without asking it."""
        keeper = keeper or self.keepers[0]
        return until(lambda: supervisor_of(keeper.pid), "a supervisor")

    def kill_supervisor(self, keeper: subprocess.Popen[bytes] | None = None) -> int:
        """kill -9, and wait until it is gone; its process id."""
        pid = self.supervisor(keeper)
        os.kill(pid, signal.SIGKILL)
        until(lambda: state_of(pid) == "", "the end of a killed supervisor")
        return pid

    def log(self) -> str:
        """What all supervisors wrote."""
        return "".join(p.read_text() for p in self.user.runtime_dir.glob("*.log"))

    def close(self) -> None:
        for puppet in self.puppets:
            puppet.close()
        self._socket.close()
        for keeper in self.keepers:
            below = descendants(keeper.pid) if keeper.returncode is None else []
            if keeper.poll() is None:
                try:
                    keeper.wait(LIMIT)
                except subprocess.TimeoutExpired:
                    keeper.kill()
                    keeper.wait()
                    for pid in below:
                        os.kill(pid, signal.SIGKILL)
                    raise
        until(lambda: not self.user.views(), "the end of the views")


def supervisor_of(keeper: int) -> int:
    """The keeper's child of that name; 0: there is none just now."""
    for pid in descendants(keeper):
        try:
            with open(f"/proc/{pid}/comm") as comm, open(f"/proc/{pid}/status") as status:
                lines = status.read()
                alive = "State:\tZ" not in lines and "State:\tX" not in lines
                if comm.read().startswith("viewosd:") and f"PPid:\t{keeper}\n" in lines and alive:
                    return pid
        except (FileNotFoundError, ProcessLookupError):
            pass
    return 0


def staged(user: Any, place: Path) -> Iterator[Stage]:
    """For a fixture."""
    stage = Stage(user, place)
    try:
        yield stage
    finally:
        stage.close()
