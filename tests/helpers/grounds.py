"""A directory as each kind of view shows it, for programs that must find it as it is natively."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import User
from helpers.files import remove

PROGRAMS = Path(__file__).resolve().parent.parent / "programs"
BIN = Path(sys.executable).parent

# A node of our own where only root may open the machine's, in a namespace of the test's own.
FUSE = """
mount -t tmpfs none "$1" && mknod "$1/fuse" c 10 229 && chmod 666 "$1/fuse" &&
mount --bind "$1/fuse" /dev/fuse && shift && exec "$@"
"""

KINDS: dict[str, list[str]] = {
    "hide": ["--hide", "{work}/.hidden"],
    "move": ["--move", "{source}", "{work}"],
    "tmpfs": ["--tmpfs", "{work}"],
    "cow": ["--cow", "{work}"],
    "vstat": ["--mount", "viewfs,cow,vstat", "none", "{work}"],
    "mincow": ["--mount", "viewfs,mincow", "none", "{work}"],
    "foreign": ["--cow", "{work}"],
    "merge": ["--mount", "viewfs,merge", "{source}", "{work}"],
    "real": ["-p", "umfuse", "--mount", "umfusereal", "{source}", "{work}"],
    "ram": ["-p", "umfuse", "--mount", "umfuseram", "none", "{work}"],
}
"""Options of viewos-run. The kernel's overlayfs does cow, our own tree servers vstat, mincow, merge,
foreign (an ordinary user's cow over what belongs to root), real (a directory passed through) and
ram (a tree in memory).
"""
FOR_USERS = ("foreign",)


class Ground:
    """Somebody's directory ``work``, where programs run natively and in views.

    Attributes:
        place: holds everything of this test; ``work``: where programs work; ``source``: what
            ``move``, ``merge`` and ``real`` show there.
    """

    def __init__(self, user: User, place: Path, trees: Path) -> None:
        self.user, self.place = user, place
        self.work, self.source = trees / "work", trees / "source"
        self.data = self.own(place / "data")
        self.environment = user.environment | {
            "XDG_DATA_HOME": str(self.data),
            "HOME": str(self.data),
            "PATH": f"{BIN}:{user.environment['PATH']}",
        }
        self.device = place / "device"
        self.device.mkdir()
        self.python = user.python[0]

    def own(self, path: Path) -> Path:
        """A new directory of theirs."""
        path.mkdir()
        if os.geteuid() == 0:
            os.chown(path, self.user.uid, self.user.uid)
        return path

    def fresh(self) -> None:
        """Begin anew, with empty directories."""
        for path in (self.work, self.source):
            remove(path)
            self.own(path)
        (self.work / ".hidden").touch()

    def command(self, *words: str | Path) -> list[str]:
        """viewos-run with these words, where the user can open /dev/fuse."""
        private: list[str] = []
        if os.geteuid() == 0:
            private = ["unshare", "-m", "--propagation", "private", "sh", "-c", FUSE, "sh"]
            private.append(str(self.device))
        return [*private, *self.user.prefix, *self.user.viewos_run, "--no-rc", *map(str, words)]

    def options(self, kind: str) -> list[str]:
        names = {"work": self.work, "source": self.source}
        return [word.format_map(names) for word in KINDS[kind]]

    def native(self, *argv: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a program as the user, outside of any view, in ``work``."""
        return self._run([*self.user.prefix, *map(str, argv)], **more)

    def run(self, *words: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """viewos-run with these words, in ``work``."""
        return self._run(self.command(*words), **more)

    def inside(self, kind: str, *argv: str | Path, **more: Any) -> str:
        """Run a program in a view of a kind to its good end; what it printed."""
        return good(self.run(*self.options(kind), "--", *argv, **more))

    def start(self, *words: str | Path, **more: Any) -> subprocess.Popen[Any]:
        """Start viewos-run; the process is the keeper."""
        given = {"env": self.environment, "cwd": self.place} | more
        return subprocess.Popen(self.command(*words), **given)

    def _run(self, argv: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
        given = {"cwd": self.work, "env": self.environment, "timeout": 110} | more
        return subprocess.run(argv, capture_output=True, text=True, errors="replace", **given)

    def results(self, kind: str, script: str, *words: str) -> dict[str, Any]:
        """What a program of tests/programs finds: ``SCRIPT prepare`` makes the tree, ``SCRIPT
        check`` looks at it and prints JSON. Kind "native" is without a view.
        """
        self.fresh()
        argv = [self.python, "-I", str(PROGRAMS / script)]
        where = self.source if kind in ("move", "real") else self.work
        prepare = [*argv, "prepare", *words]
        if kind not in ("tmpfs", "ram"):
            good(self.native(*prepare, cwd=where))
        if kind == "foreign":
            self.give_to_root()
        check = [*argv, "check", *words]
        if kind == "native":
            out = good(self.native(*check))
        elif kind in ("tmpfs", "ram"):
            out = self.inside(kind, "sh", "-ec", '"$@" prepare; exec "$@" check', "sh", *argv)
        else:
            out = self.inside(kind, *check)
        found: dict[str, Any] = json.loads(out)
        return found

    def give_to_root(self) -> None:
        """What lies in ``work`` is not the user's any more."""
        for path in (self.work, *self.work.rglob("*")):
            os.lchown(path, 0, 0)


def good(done: subprocess.CompletedProcess[str]) -> str:
    """The output of a program that succeeded and had nothing to complain of."""
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-3000:] or done.stdout[-3000:]
    return done.stdout


def ground(user: User, scratch: Path, trees: Path | None = None) -> Iterator[Ground]:
    """A ground for a test. When it ends, nothing of it is mounted outside.

    Args:
        trees: where the trees lie that programs work in, instead of beside the layers.
    """
    if os.geteuid() and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs /dev/fuse")
    if user.python != [sys.executable]:
        pytest.skip("another user can't execute the commands where they lie")
    place = Path(tempfile.mkdtemp(prefix="files-", dir=scratch))
    elsewhere = Path(tempfile.mkdtemp(prefix="viewos-files-", dir=trees)) if trees else place
    for path in {place, elsewhere}:
        path.chmod(0o755)
    try:
        made = Ground(user, place, elsewhere)
        made.fresh()
        yield made
        assert str(place) not in Path("/proc/self/mountinfo").read_text()
    finally:
        remove(elsewhere)
        remove(place)


def flat(found: object, name: str = "") -> dict[str, Any]:
    """Results by name: ``{"a": [1, {"b": 2}]}`` is ``{"a 0": 1, "a 1 b": 2}``."""
    pairs = found.items() if isinstance(found, dict) else enumerate(found)  # type: ignore[arg-type]
    flattened: dict[str, Any] = {}
    for key, value in pairs:
        path = f"{name} {key}".strip()
        if isinstance(value, dict | list):
            flattened |= flat(value, path)
        else:
            flattened[path] = value
    return flattened


def differences(native: object, inside: object) -> dict[str, str]:
    """What differs, by name: "natively -> inside"."""
    one, other = flat(native), flat(inside)
    return {
        name: f"{one.get(name)} -> {other.get(name)}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    }
