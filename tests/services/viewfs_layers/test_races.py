"""Who changes the target while a commit runs finds it whole, and leads it nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from helpers.layer import Tree, listing, write
from viewos_viewfs.layers import commit


def interrupted(tree: Tree, at: int, what: Callable[[], None]) -> bool:
    """Commit, and do something just before step ``at``; was there such a step?"""
    left = at

    def step(_: str) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            what()

    try:
        commit(tree.as_layer(), str(tree.target), step=step)
    except OSError as error:
        named = error.filename
    else:
        named = "nothing was in its way"
    assert named, "it says where"
    return left < 0


def test_a_link_put_where_a_directory_was_is_never_followed(tmp_path: Path):
    """At any step."""
    for at in range(1000):
        place = tmp_path / str(at)
        away = place / "away"
        (away / "e").mkdir(parents=True)
        write(away / "e/f", "precious")
        tree = Tree(place)
        for path in ("d/e/f", "file"):
            write(tree.target / path, path)
        tree.later()
        write(tree.upper / "d/e/f", "view")
        write(tree.upper / "d/e/new", "view")
        tree.whiteout("file")

        def swap(tree: Tree = tree, away: Path = away) -> None:
            os.rename(tree.target / "d", tree.target / "was")
            (tree.target / "d").symlink_to(away)

        if not interrupted(tree, at, swap):
            break
        assert listing(away) == {"e": "drwxr-xr-x", "e/f": "precious"}, f"step {at}"
    assert at > 10


def test_a_file_that_is_written_outside_meanwhile_is_not_overwritten(tmp_path: Path):
    """As long as it had not its turn."""
    kept = 0
    for at in range(1000):
        (tmp_path / str(at)).mkdir()
        tree = Tree(tmp_path / str(at))
        write(tree.target / "a", "a")
        write(tree.target / "z", "z")
        tree.later()
        write(tree.upper / "a", "view")
        write(tree.upper / "z", "view")

        def outside(tree: Tree = tree) -> None:
            if (tree.target / "z").read_text() == "z":
                (tree.target / "z").write_text("outside, later")

        if not interrupted(tree, at, outside):
            break
        now = (tree.target / "z").read_text()
        assert now in ("view", "outside, later")
        kept += now != "view"
        assert not [name for name in os.listdir(tree.target) if name.startswith(".viewos-")]
    assert kept > 3
