"""Random operations on data and on names, held against models, natively and in views."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.grounds import FOR_USERS, PROGRAMS, Ground, good

KINDS = ("native", "move", "cow", "vstat", "mincow", "foreign", "real", "ram")


def prepare(ground: Ground, kind: str) -> None:
    """Files that are there before, below the overlays."""
    if kind in FOR_USERS and not ground.user.uid:
        pytest.skip("root's files are not foreign to root")
    where = ground.source if kind in ("move", "real", "ram") else ground.work
    (where / "file").write_bytes(os.urandom(70000))
    for number in range(3):
        own = where / f"own{number}"
        own.mkdir()
        for name in ("x", "y", "z"):
            (own / name).write_text(name * 100)
    (where / "shared" / "d0").mkdir(parents=True)
    for name in ("shared/a", "shared/b", "shared/d0/c"):
        (where / name).touch()
    for path in (where, *where.rglob("*")):
        if os.geteuid() == 0 and kind != "foreign":
            os.chown(path, ground.user.uid, ground.user.uid)
    if kind == "foreign":
        ground.give_to_root()


def links(ground: Ground, kind: str) -> list[str]:
    """In an ordinary user's overlayfs a new link of a file from below is two files to stat(2)."""
    return ["uncounted"] if kind == "cow" and ground.user.uid else []


def run(ground: Ground, kind: str, *argv: str) -> str:
    if kind == "native":
        return good(ground.native(*argv))
    if kind == "ram":
        argv = "sh", "-ec", 'cp -a "$0"/. . && exec "$@"', str(ground.source), *argv
    return ground.inside(kind, *argv)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_what_was_written(ground, kind, program):
    prepare(ground, kind)
    fsx = program("fsx")
    script = 'for seed in 1 2 3; do "$0" file $seed 1200 || exit; done'
    assert run(ground, kind, "sh", "-c", script, fsx) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_what_many_processes_made_of_them(ground, kind):
    prepare(ground, kind)
    storm = [ground.python, "-I", str(PROGRAMS / "namestorm.py"), "7", "250"]
    assert run(ground, kind, *storm, *links(ground, kind)) == ""


def test_the_trees_below_are_untouched(ground, program):
    prepare(ground, "cow")
    before = sorted((p.relative_to(ground.work), p.lstat()) for p in ground.work.rglob("*"))
    content = {p: p.read_bytes() for p in ground.work.rglob("*") if p.is_file()}
    storm = [ground.python, "-I", str(Path(PROGRAMS) / "namestorm.py"), "3", "100"]
    for kind in ("cow",) if ground.user.uid else ("cow", "vstat"):
        ground.inside(kind, *storm, *links(ground, kind))
        ground.inside(kind, program("fsx"), "file", "9", "300")
        after = sorted((p.relative_to(ground.work), p.lstat()) for p in ground.work.rglob("*"))
        assert [(n, i[:7]) for n, i in after] == [(n, i[:7]) for n, i in before]
        assert {p: p.read_bytes() for p in ground.work.rglob("*") if p.is_file()} == content
