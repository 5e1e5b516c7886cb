"""What programs find and do is the same natively and in every kind of view, but for what is known.

`helpers.known` is the table of differences.
"""

from __future__ import annotations

import pytest

from helpers import known
from helpers.grounds import FOR_USERS, KINDS, Ground, differences

_NATIVE: dict[tuple[int, str], dict] = {}


def natively(ground: Ground, script: str) -> dict:
    """It is looked at once for each user."""
    key = ground.user.uid, script
    if key not in _NATIVE:
        _NATIVE[key] = ground.results("native", script)
    return _NATIVE[key]


def compare(ground: Ground, kind: str, script: str, table: tuple[known.Known, ...]) -> None:
    is_root = ground.user.uid == 0
    if kind in FOR_USERS and is_root:
        pytest.skip("root's files are not foreign to root")
    found = differences(natively(ground, script), ground.results(kind, script))
    lines = known.unexplained(found, known.known(table, kind, is_root))
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_reached_and_used_in_every_way(ground, kind):
    compare(ground, kind, "paths.py", known.PATHS)


# Of an ordinary user's, those where rights are as natively: with vstat he may do what root may.
ERRNO_KINDS = ("hide", "cow", "vstat", "mincow", "merge", "real", "ram")


@pytest.mark.parametrize("kind", ERRNO_KINDS)
def test_bad_arguments_have_the_same_errors_and_good_ones_the_same_effects(ground_in_memory, kind):
    if kind == "vstat" and ground_in_memory.user.uid:
        pytest.skip("with vstat a user may do what root may")
    compare(ground_in_memory, kind, "errnos.py", known.ERRNOS)
