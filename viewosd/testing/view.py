"""Run a program natively and in real views, and compare: behaviour tests in three ways.

The command viewos-run is given by the caller: the test kit knows no client by name.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import services

LIMIT_S: Final = 100.0
"""Seconds until a program counts as hung; nothing that works comes near it."""

Services = Sequence[str]

WAYS: Final[Mapping[str, Services | None]] = {
    "natively": None,
    "in an empty view": (),
    "under the mirror": (f"{services.PATH}:Mirror",),
}
"""Way to the services of the view; None: no view at all."""


@dataclass(frozen=True)
class Outcome:
    """What a program did, as far as its parent can tell.

    ``status`` is as a shell tells it: 128 and the number of the signal that killed it.
    """

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def lines(self) -> list[str]:
        """The output, line by line; what is no UTF-8 as surrogates."""
        return self.stdout.decode(errors="surrogateescape").splitlines()


class Runner:
    """Runs programs in one of several ways.

    Args:
        viewos_run: the words that viewos-run is started with.
        env: the environment of everything that is run, natively too; where views are found
            (VIEWOS_RUNTIME_DIR) is part of it.
        prefix: words that make whoever runs all this, natively too; as setpriv(1).
    """

    def __init__(
        self, viewos_run: Sequence[str], env: Mapping[str, str], prefix: Sequence[str] = ()
    ) -> None:
        self.viewos_run, self.prefix = list(viewos_run), list(prefix)
        self.env = dict(env)

    def words(self, argv: Sequence[str | bytes], wanted: Services | None) -> list[str | bytes]:
        """The command line for one way."""
        if wanted is None:
            return [*self.prefix, *argv]
        preload = [word for text in wanted for word in ("-p", text)]
        return [*self.prefix, *self.viewos_run, "--no-rc", *preload, "--", *argv]

    def run(
        self, argv: Sequence[str | bytes], wanted: Services | None = None, **options: Any
    ) -> Outcome:
        """Run a program to its end. ``options`` are those of `subprocess.run`.

        Raises:
            subprocess.TimeoutExpired: it hung; it was killed.
        """
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": self.env, "timeout": LIMIT_S}
        given |= options
        if "input" in given:
            del given["stdin"]
        done = subprocess.run(self.words(argv, wanted), capture_output=True, **given)
        status = done.returncode if done.returncode >= 0 else 128 - done.returncode
        return Outcome(status, done.stdout, done.stderr)

    def compare(
        self,
        argv: Sequence[str | bytes],
        prepare: Callable[[], None] = lambda: None,
        ways: Mapping[str, Services | None] = WAYS,
        **options: Any,
    ) -> Outcome:
        """Run a program in each way, after ``prepare`` each time; they must agree.

        Returns:
            What it did, for a test to look whether that is what it should have done.

        Raises:
            AssertionError: two ways differ, with what differs.
        """
        outcomes: dict[str, Outcome] = {}
        for way, wanted in ways.items():
            prepare()
            outcomes[way] = self.run(argv, wanted, **options)
        (first, expected), *others = outcomes.items()
        for way, outcome in others:
            assert outcome == expected, _difference(argv, first, expected, way, outcome)
        return expected


def _difference(
    argv: Sequence[str | bytes], first: str, expected: Outcome, way: str, outcome: Outcome
) -> str:
    lines = [f"{os.fsdecode(argv[0])} differs {first} (-) and {way} (+)"]
    if expected.status != outcome.status:
        lines.append(f"status: -{expected.status} +{outcome.status}")
    for stream in ("stdout", "stderr"):
        old = getattr(expected, stream).decode(errors="backslashreplace").splitlines()
        new = getattr(outcome, stream).decode(errors="backslashreplace").splitlines()
        if old != new:
            from difflib import unified_diff

            lines += [f"{stream}:", *unified_diff(old, new, lineterm="", n=2)]
    return "\n".join(lines)
