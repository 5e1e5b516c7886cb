"""A few of other people's suites in an empty view; `scripts/outside` runs them all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.outside import Missing, Outside, Suite
from helpers.suites import suite

PARTS = (
    "python:test_posix", "python:test_pty", "python:test_select", "python:test_mmap",
    "stress:sigpipe", "stress:dentry", "stress:clone", "stress:vfork", "shell:sqlite",
    "shell:postgres",
)  # fmt: skip


def _outside(user, options: list[str]) -> Outside:
    return Outside(user.viewos_run, options, user.prefix, user.uid)


@pytest.fixture
def empty(user) -> Iterator[Outside]:
    with _outside(user, []) as outside:
        yield outside


@pytest.mark.parametrize("part", PARTS)
def test_verdicts_are_those_of_outside(empty: Outside, part: str) -> None:
    try:
        assert empty.differences(suite(*part.split(":"), empty.build)) == []
    except Missing as missing:
        pytest.skip(str(missing))


def test_a_view_that_breaks_things_is_told(me, tmp_path: Path) -> None:
    def read(ran) -> dict[str, str]:
        return dict(line.split() for line in ran.output.splitlines() if " " in line)

    made = Suite(["sh", "-c", "echo name $(uname -n); echo same here"], read)
    with _outside(me, ["--hostname", "elsewhere"]) as outside:
        (line,) = outside.differences(made, tries=2)
    assert line.startswith("name: natively ")
    assert line.endswith("; inside elsewhere")
