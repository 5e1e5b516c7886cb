"""Run test suites of other people's natively and in a view, and tell what came out differently.

A suite says for each of its tests how it ended: a *verdict*. Natively many fail or are skipped, on
every machine others: what counts is that the verdict inside is one that was also seen outside.
Each run is in a fresh directory of the same name.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .files import remove

Verdicts = Mapping[str, str]
"""Name of a test to how it ended."""

MARK = "VIEWOS_OUTSIDE_RUN"
"""Variable of the environment by which the processes of a run are known, wherever they went."""


@dataclass(frozen=True)
class Ran:
    """What a suite's program left. ``status`` as a shell tells it; None: it was late, and killed."""

    status: int | None
    output: str
    work: Path


@dataclass(frozen=True)
class Suite:
    """One program that runs tests.

    Attributes:
        argv: its words; ``{work}`` stands for the directory in which it starts.
        verdicts: reads how its tests ended. What it does not tell is told by the status.
        needs: commands that must be there.
        cwd: where it starts, if not in the fresh directory.
        limit_s: seconds after which it counts as hung.
        user_only: root may not run it.
    """

    argv: Sequence[str]
    verdicts: Callable[[Ran], Verdicts]
    needs: Sequence[str] = ()
    cwd: str | None = None
    limit_s: float = 300.0
    user_only: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


class Missing(Exception):
    """What a suite needs is not installed; the text says what."""


class Outside:
    """Runs suites for one user, natively and in one kind of view.

    Args:
        viewos_run: the words that viewos-run is started with.
        options: of viewos-run. In them ``{work}`` stands for the directory in which suites start,
            ``{spare}`` for another one that is as new.
        prefix: words that make whoever runs it all, natively too; as setpriv(1).
        uid: who that is.

    Attributes:
        counted: how many verdicts the last suite had natively.
        build: a directory for programs that suites compile.
    """

    counted = 0

    def __init__(
        self, viewos_run: Sequence[str], options: Sequence[str], prefix: Sequence[str], uid: int
    ) -> None:
        self.viewos_run, self.options = list(viewos_run), list(options)
        self.prefix, self.uid = list(prefix), uid
        self.place = Path(tempfile.mkdtemp(prefix="viewos-outside-"))
        self.place.chmod(0o755)
        self.build = self.place / "build"
        self.build.mkdir()

    def __enter__(self) -> Outside:
        return self

    def __exit__(self, *_: object) -> None:
        remove(self.place)

    def differences(self, suite: Suite, tries: int = 3) -> list[str]:
        """Run a suite both ways; one that differs is run again, ``tries`` times in all.

        Returns:
            A line for each test whose verdict inside was never seen natively, in any try.

        Raises:
            Missing: it can't be run here.
        """
        for command in suite.needs:
            if not shutil.which(command):
                raise Missing(f"{command} is not installed")
        if suite.user_only and self.uid == 0:
            raise Missing("root may not run it")
        native: dict[str, set[str]] = {}
        inside: list[Verdicts] = []
        for _ in range(tries):
            natively = self.verdicts(suite, None)
            if natively["status"] == "None":
                raise Missing(f"it does not end natively, in {suite.limit_s:.0f} seconds")
            for name, verdict in natively.items():
                native.setdefault(name, set()).add(verdict)
            inside.append(self.verdicts(suite, self.options))
            self.counted = len(native)
            if not _unseen(native, inside):
                return []
        return [
            f"{name}: natively {' or '.join(sorted(native.get(name, {'not run'})))}; inside {got}"
            for name, got in _unseen(native, inside)
        ]

    def verdicts(self, suite: Suite, options: Sequence[str] | None) -> Verdicts:
        """Run a suite natively (None), or in a view with these options of viewos-run."""
        names = ("work", "spare", "views", "layers")
        work, spare, views, layers = (self.place / name for name in names)
        for directory in (work, spare, views, layers):
            remove(directory)
            directory.mkdir(mode=0o700)
            os.chown(directory, self.uid, self.uid or -1)
        places = {"{work}": str(work), "{spare}": str(spare)}
        words = [_put(word, places) for word in suite.argv]
        if options is not None:
            given = [_put(word, places) for word in options]
            words = [*self.viewos_run, "--no-rc", *given, "--", *words]
        mark = f"{os.getpid()}-{time.monotonic_ns()}"
        env = os.environ | {"HOME": str(work), "TMPDIR": str(work), "LC_ALL": "C.UTF-8"}
        env |= {"XDG_DATA_HOME": str(layers), "VIEWOS_RUNTIME_DIR": str(views), MARK: mark}
        env |= dict(suite.env)
        output = self.place / "output"
        with output.open("wb") as file:
            run = subprocess.Popen(
                [*self.prefix, *words], cwd=suite.cwd or work, env=env,
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
            try:
                status: int | None = run.wait(timeout=suite.limit_s)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                _end(mark)
                run.wait()
        status = 128 - status if status is not None and status < 0 else status
        ran = Ran(status, output.read_text(errors="backslashreplace"), work)
        logs = [path.read_text() for path in views.glob("*.log")]
        complained = {"the supervisor's log": "".join(logs)} if logs else {}
        return {"status": str(status), **suite.verdicts(ran), **complained}


def _put(word: str, places: Mapping[str, str]) -> str:
    for name, path in places.items():
        word = word.replace(name, path)
    return word


def _unseen(native: Mapping[str, set[str]], inside: Sequence[Verdicts]) -> list[tuple[str, str]]:
    """Tests that had no verdict inside that was seen natively, with the last that they had."""
    found = []
    for name in sorted({*native, *(name for verdicts in inside for name in verdicts)}):
        seen = native.get(name, {"not run"})
        got = [verdicts.get(name, "not run") for verdicts in inside]
        if not seen & set(got):
            found.append((name, got[-1]))
    return found


def _end(mark: str) -> None:
    """Kill whatever a run has left, until there is nothing."""
    wanted = f"{MARK}={mark}".encode()
    for _ in range(1000):
        left = [pid for pid in _pids() if wanted in _environ(pid)]
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    print(f"processes that can't be ended: {left}", file=sys.stderr)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _environ(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
