"""Suites of others in views whose files are overlaid; `scripts/outside` runs more of them."""

from __future__ import annotations

import pytest

from helpers.outside import Missing, Outside
from helpers.suites import suite

KINDS = {
    "cow": ["--cow", "{work}", "--ro", "/boot", "--hostname", "box"],
    "merge": ["--mount", "viewfs,merge", "{spare}", "{work}"],
}
PARTS = ("python:test_fileio", "stress:chown")


def check(user, kind: str, part: str) -> None:
    with Outside(user.viewos_run, KINDS[kind], user.prefix, user.uid) as outside:
        try:
            assert outside.differences(suite(*part.split(":"), outside.build)) == []
        except Missing as missing:
            pytest.skip(str(missing))


@pytest.mark.parametrize("part", PARTS)
def test_verdicts_below_cow_are_those_of_outside(user, part: str) -> None:
    check(user, "cow", part)


@pytest.mark.root
@pytest.mark.parametrize("part", PARTS)
def test_verdicts_in_a_merge_are_those_of_outside(me, part: str) -> None:
    check(me, "merge", part)
