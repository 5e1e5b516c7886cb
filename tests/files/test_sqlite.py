"""SQLite's writers exclude each other in a view, and across its border where files are shared."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from helpers.grounds import FOR_USERS, PROGRAMS, Ground, good

PROGRAM = PROGRAMS / "writers.py"
COUNT = 35
KEPT = COUNT - COUNT // 7  # each seventh is rolled back
TOLD = "[0, 0] ok\n1000 10\n"
KINDS = ("move", "cow", "vstat", "mincow", "foreign", "merge")
SHARED = ("move", "mincow", "merge")
"""Where a file of TARGET, or of SOURCE with move, is changed for real."""


def words(ground: Ground, *argv: object) -> list[str]:
    return [ground.python, "-I", str(PROGRAM), *map(str, argv)]


@pytest.mark.parametrize(
    ("kind", "journal"),
    [*((kind, "wal") for kind in KINDS), ("cow", "delete"), ("vstat", "delete")],
)
def test_two_writers_at_once_lose_nothing(ground_in_memory: Ground, kind: str, journal: str):
    ground = ground_in_memory
    if kind in FOR_USERS and not ground.user.uid:
        pytest.skip("root's files are not foreign to root")
    where = ground.source if kind == "move" else ground.work
    lines = [f"{name} {KEPT}\n" for name in "abcd"]
    said = good(ground.native(*words(ground, journal, COUNT, "a", "b"), cwd=where))
    assert said == TOLD + "".join(lines[:2])
    if kind == "foreign":
        ground.give_to_root()
    before = (where / "bank.db").read_bytes()
    said = ground.inside(kind, *words(ground, journal, COUNT, "c", "d"))
    assert said == TOLD + "".join(lines)
    if kind in SHARED:
        said = good(ground.native(*words(ground, journal, 0), cwd=where))
        assert said == "[]" + TOLD[6:] + "".join(lines)
    else:
        assert (where / "bank.db").read_bytes() == before


def asked_while_held(ground: Ground, kind: str, ask: str) -> str:
    """A program in a view holds the database; what a writer outside gets who does not wait."""
    where = ground.source if kind == "move" else ground.work
    good(ground.native(*words(ground, "delete", 7, "a"), cwd=where))
    view = ground.start(
        *ground.options(kind), "--", *words(ground, "hold"), cwd=ground.work,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with view:
        assert view.stdin is not None
        assert view.stdout is not None
        assert view.stdout.readline() == "held\n"
        return ground.native("sqlite3", "bank.db", ask, cwd=where).stderr


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs sqlite3")
@pytest.mark.parametrize("kind", ["move", "mincow", "cow"])
def test_who_writes_outside_waits_for_who_writes_inside_where_the_file_is_the_same(ground, kind):
    """That locks of mincow end at the view is documented: docs/viewfs.md."""
    held = asked_while_held(ground, kind, "UPDATE account SET money=money")
    assert ("locked" in held) == (kind == "move")
