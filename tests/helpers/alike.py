"""Run a program natively and in a view, and compare all that it leaves.

Both runs start in the same, fresh directory, so that paths in what a program prints agree.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from .waiting import until

TIME_LIMIT_S = 300

Entry = tuple[object, ...]
"""What is compared of a file: kind, mode, owner, group, content, extended attributes."""


@dataclass(frozen=True)
class Outcome:
    """What a program leaves. ``status`` as a shell reports it; ``files`` by relative path."""

    status: int
    stdout: bytes
    stderr: bytes
    files: Mapping[str, Entry]


class Alike:
    """One kind of view, and the programs that must not notice it.

    Args:
        runner: runs viewos-run: `conftest.User`.
        options: of viewos-run; they make the kind.
        work: where programs start; emptied before each run.
    """

    def __init__(self, runner: object, options: list[str], work: Path) -> None:
        self.runner, self.options, self.work = runner, options, work

    def check(
        self,
        *argv: str,
        status: int = 0,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        prepare: Callable[[Path], None] = lambda work: None,
        ignore: Iterable[str] = (),
        edit: Callable[[bytes], bytes] = lambda text: text,
    ) -> Outcome:
        """Assert that the program does in the view what it does natively.

        Args:
            status: what it must exit with in both.
            env: its whole environment; None: that of the tests.
            prepare: puts files into the directory before each run.
            ignore: files that differ from run to run: patterns of paths relative to the directory.
            edit: takes out of its output what differs from run to run.

        Returns:
            The outcome inside.
        """
        environment = dict(self.runner.environment if env is None else env)
        runs = []
        for prefix in ([], [*self.runner.viewos_run, *self.options, "--"]):
            self._clear()
            prepare(self.work)
            ended = subprocess.run(
                [*self.runner.prefix, *prefix, *argv],
                input=input,
                env=environment | {"VIEWOS_RUNTIME_DIR": str(self.runner.runtime_dir)},
                cwd=self.work,
                capture_output=True,
                timeout=TIME_LIMIT_S,
            )
            code = ended.returncode if ended.returncode >= 0 else 128 - ended.returncode
            runs.append(
                Outcome(code, edit(ended.stdout), edit(ended.stderr), self._files(list(ignore)))
            )
        native, inside = runs
        assert native.status == status, f"natively already: {native}"
        found = differences(native, inside)
        assert not found, "\n".join(found)
        self.nothing_left()
        return inside

    def nothing_left(self) -> None:
        """The view ends, and its supervisor had nothing to complain of."""
        until(lambda: not self.runner.views(), "the end of the view")
        logs = {p.name: p.read_text() for p in self.runner.runtime_dir.glob("*.log")}
        assert not logs, logs

    def _clear(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        self.work.chmod(0o755)
        os.chown(self.work, self.runner.uid, -1)

    def _files(self, ignore: list[str]) -> dict[str, Entry]:
        found = {}
        for place, folders, names in os.walk(self.work):
            for name in folders + names:
                path = os.path.join(place, name)
                relative = os.path.relpath(path, self.work)
                if not any(fnmatch(relative, pattern) for pattern in ignore):
                    found[relative] = _entry(path)
        return found


def differences(native: Outcome, inside: Outcome) -> list[str]:
    """One line for each thing that differs."""
    found = [
        f"{name}: {getattr(native, name)!r}, inside {getattr(inside, name)!r}"
        for name in ("status", "stdout", "stderr")
        if getattr(native, name) != getattr(inside, name)
    ]
    for path in sorted(native.files.keys() | inside.files.keys()):
        one, other = native.files.get(path), inside.files.get(path)
        if one != other:
            found.append(f"{path}: {one}, inside {other}")
    return found


def _entry(path: str) -> Entry:
    info = os.lstat(path)
    content: object = None
    if stat.S_ISREG(info.st_mode):
        content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    elif stat.S_ISLNK(info.st_mode):
        content = os.readlink(path)
    attributes = {n: os.getxattr(path, n, follow_symlinks=False) for n in _attributes(path)}
    return info.st_mode, info.st_uid, info.st_gid, info.st_nlink, content, attributes


def _attributes(path: str) -> list[str]:
    try:
        return sorted(os.listxattr(path, follow_symlinks=False))
    except OSError:
        return []


def needs(*commands: str) -> None:
    """Skip, and say what for, where a program is not installed."""
    for command in commands:
        if not shutil.which(command):
            pytest.skip(f"{command} is not installed")
