"""A commit that dies at any step loses nothing, and is finished by running it again."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from helpers.layer import Tree, listing, write
from viewos_viewfs.layers import Change, Refused, commit


def rich(directory: Path) -> Tree:
    """A layer with every kind of change; the same each time."""
    tree = Tree(directory)
    for path in ("mod", "gone", "d/gone", "d/e/gone", "typed/a", "file", "chmod", "md/x", "dir/x"):
        write(tree.target / path, path)
    for name in ("one", "two"):
        (tree.target / f"linked-{name}").hardlink_to(tree.target / "chmod")
    os.utime(tree.target, ns=(1, 1))
    tree.later()
    write(tree.upper / "mod", "new")
    write(tree.upper / "chmod", "chmod", 0o600)
    write(tree.upper / "new/deep/f", "x")
    (tree.upper / "new/link").hardlink_to(tree.upper / "mod")
    tree.whiteout("gone")
    tree.whiteout("linked-one")
    tree.opaque("d")
    write(tree.upper / "d/f", "f")
    write(tree.upper / "typed", "was a directory")
    write(tree.upper / "file/in", "was a file")
    (tree.upper / "symlink").symlink_to("/etc/passwd")
    (tree.upper / "md").mkdir(0o700)
    write(tree.upper / "closed/f")
    (tree.upper / "closed").chmod(0o555)
    tree.whiteout("dir")
    return tree


def attributes(directory: Path) -> dict[str, tuple[int, int]]:
    """Permissions, and how many names."""
    paths = {str(p.relative_to(directory)): p.lstat() for p in directory.rglob("*")}
    return {
        path: (st.st_mode, 0 if os.path.isdir(directory / path) else st.st_nlink)
        for path, st in paths.items()
    }


def shown_by_the_view(tree: Tree) -> dict[str, str]:
    """What the view shows: the target, with the layer's changes made in mind."""
    found = listing(tree.target)
    for change in tree.changes():
        found.pop(change.path, None)
        if change.new is not None:
            found[change.path] = _content(tree, change)
    return {
        path: "directory" if text.startswith("dr") else text
        for path, text in found.items()
        if ".viewos-" not in path
    }


def _content(tree: Tree, change: Change) -> str:
    path = tree.upper / change.path
    if change.entry.word == "symlink":
        return f"-> {path.readlink()}"
    return path.read_text() if change.entry.word == "file" else "drwxr-xr-x"


def commit_until(tree: Tree, last: int, mounted: bool) -> bool:
    """Commit in a child that is killed at step ``last``; was it?"""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            left = last

            def step(what: str) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            commit(tree.as_layer(), str(tree.target), mounted=mounted, step=step)
            status = 0
        except Refused as refused:
            print(refused.reasons, file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), f"step {last}: exit status {code}"
    return code != 0


@pytest.mark.parametrize("mounted", [False, True], ids=["at rest", "mounted"])
def test_a_commit_that_is_killed_at_any_step_can_be_run_again(tmp_path: Path, mounted: bool):
    (tmp_path / "whole").mkdir()
    whole = rich(tmp_path / "whole")
    seen = shown_by_the_view(whole)
    assert not commit_until(whole, 10_000, mounted)
    wanted, kept = listing(whole.target), attributes(whole.target)
    step, killed = 0, True
    while killed:
        (tmp_path / f"k{step}").mkdir()
        tree = rich(tmp_path / f"k{step}")
        killed = commit_until(tree, step, mounted)
        now = shown_by_the_view(tree)
        assert now == seen, f"after step {step} the view shows otherwise"
        assert not commit_until(tree, 10_000, mounted)
        assert listing(tree.target) == wanted, f"after step {step}"
        assert attributes(tree.target) == kept, f"after step {step}"
        assert tree.told() == {}
        assert mounted or os.listdir(tree.upper) == []
        step += 1
    assert step > 50


def test_a_commit_killed_again_and_again_ends_the_same(tmp_path: Path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "often").mkdir()
    whole, often = rich(tmp_path / "whole"), rich(tmp_path / "often")
    assert not commit_until(whole, 10_000, False)
    steps = 1
    while commit_until(often, steps, False):
        steps += 1
    assert listing(often.target) == listing(whole.target)
    assert attributes(often.target) == attributes(whole.target)
