"""viewos diff, commit and discard in and beside real views, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import User, remove
from helpers.layer import listing, write
from helpers.waiting import until

BIN = Path(sys.executable).parent


class Desk:
    """A user's directory with a tree ``t`` in it."""

    def __init__(self, user: User, place: Path) -> None:
        self.user, self.place, self.tree = user, place, place / "t"
        for path in ("keep", "mod", "gone", "d/f", "was/f", "file"):
            write(self.tree / path, f"{path}\n")
        (place / "home").mkdir()
        if os.geteuid() == 0:
            for path in (place, *place.rglob("*")):
                os.chown(path, user.uid, user.uid)
        self.environment = user.environment | {
            "HOME": str(place / "home"), "PATH": f"{BIN}:{user.environment['PATH']}",
        }  # fmt: skip
        self.environment.pop("XDG_DATA_HOME", None)

    def run(self, *words: str, status: int = 0) -> str:
        """What a command of the user's prints; it says nothing else."""
        done = subprocess.run(
            [*self.user.prefix, *words], cwd=self.place, env=self.environment,
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (status, ""), done
        return done.stdout

    def inside(self, script: str, *options: str, status: int = 0) -> list[str]:
        """The lines that a script prints in a view with ``--cow t``, or other options."""
        words = ["viewos-run", "--no-rc", *(options or ("--cow", "t")), "--", "sh", "-ec", script]
        return self.run(*words, status=status).splitlines()


@pytest.fixture
def desk(user: User, scratch: Path) -> Iterator[Desk]:
    if user.python != [sys.executable]:
        pytest.skip("another user can't execute the commands where they lie")
    place = Path(tempfile.mkdtemp(prefix="layers-", dir=scratch))
    place.chmod(0o755)
    yield Desk(user, place)
    remove(place)


CHANGE = """
echo more >> t/mod; rm t/gone; rm -r t/d; mkdir t/d; echo n > t/d/n; ln t/mod t/linked
rm -r t/was; echo f > t/was; rm t/file; mkdir -p t/file/deep; ln -s /etc/passwd t/link
mv t/keep t/moved; chmod 700 t/d
"""
NOW = {
    "moved": "keep\n", "mod": "mod\nmore\n", "linked": "mod\nmore\n", "d": "drwx------",
    "d/n": "n\n", "was": "f\n", "file": "drwxr-xr-x", "file/deep": "drwxr-xr-x",
    "link": "-> /etc/passwd",
}  # fmt: skip


def test_a_commit_in_a_view_makes_of_the_tree_what_the_view_shows(desk: Desk):
    script = CHANGE + "viewos diff && exit 3; viewos commit; viewos diff; find t | wc -l"
    *changes, committed, count = desk.inside(script)
    assert committed == f"{len(changes)} changes committed"
    assert int(count) == len(NOW) + 1
    assert listing(desk.tree) == NOW
    assert (desk.tree / "mod").stat().st_ino == (desk.tree / "linked").stat().st_ino
    kept = desk.place / "home/.local/share/viewos/layers"
    until(lambda: not list(kept.iterdir()))  # the view may end after its program


def test_what_is_not_committed_is_gone_with_the_view(desk: Desk):
    before = listing(desk.tree)
    assert desk.inside(CHANGE + "viewos commit t/mod t/linked; cat t/mod") == [
        "2 changes committed", "mod", "more",
    ]  # fmt: skip
    assert listing(desk.tree) == before | {"mod": "mod\nmore\n", "linked": "mod\nmore\n"}


def test_a_view_sees_what_it_showed_after_a_commit_and_what_it_does_then(desk: Desk):
    script = (
        "mkdir t/new; echo 1 > t/new/a; echo 1 > t/new/b; viewos commit; "
        "rm t/new/a; echo 2 > t/new/b; ls t/new; cat t/new/b; viewos diff || true; viewos commit"
    )
    assert desk.inside(script) == [
        "3 changes committed", "b", "2", f"deleted  {desk.tree}/new/a",
        f"modified {desk.tree}/new/b", "2 changes committed",
    ]  # fmt: skip
    assert listing(desk.tree / "new") == {"b": "2\n"}


def test_a_layer_with_a_name_is_looked_at_and_committed_without_a_view(desk: Desk):
    desk.inside(CHANGE, "--cow", "t=@work")
    lines = desk.run("viewos", "diff", "--layer", "@work", status=1).splitlines()
    rows = json.loads(desk.run("viewos", "diff", "--json", "--layer", "@work", status=1))
    assert [line.split()[1].rstrip("/") for line in lines] == [row["path"] for row in rows]
    assert desk.run("viewos", "commit", "--layer", "@work") == f"{len(rows)} changes committed\n"
    assert listing(desk.tree) == NOW
    assert "@work" in desk.run("viewos", "layers")
    assert desk.run("viewos", "discard", "--layer", "@work") == ""
    assert desk.run("viewos", "layers") == ""


def test_a_layer_in_use_is_left_alone_by_who_is_outside(desk: Desk):
    viewos = f"{BIN}/viewos"
    script = (
        f"echo x > t/mod; {viewos} commit --layer @work; viewos diff; cat t/mod; "
        f"{viewos} discard --layer @work 2>&1 || true"
    )
    assert desk.inside(script, "--cow", "t=@work") == [
        "1 change committed", "x", "viewos discard: @work is in use: a view has it mounted",
    ]  # fmt: skip
    assert (desk.tree / "mod").read_text() == "x\n"


def test_two_layers_of_a_view_are_told_apart_by_their_paths(desk: Desk):
    options = ("--cow", "t/d", "--cow", "t/was")
    script = "echo x > t/d/f; echo y > t/was/f; viewos commit t/was; viewos diff || true"
    assert desk.inside(script, *options) == ["1 change committed", f"modified {desk.tree}/d/f"]
    assert (desk.tree / "was/f").read_text() == "y\n"
    assert (desk.tree / "d/f").read_text() == "d/f\n"


def test_a_patch_of_a_hundred_megabytes_goes_through(desk: Desk):
    script = "yes 'a line of text' | head -c 100000000 > t/big; viewos diff --patch | wc -c"
    (count,) = desk.inside(script)
    assert int(count) > 100_000_000


@pytest.mark.parametrize(
    "options", [["--cow", "t=@work"], ["--mount", "viewfs,cow,vstat,layer=work", "none", "t"]]
)
def test_a_directory_deleted_outside_is_a_conflict_and_one_renamed_inside_is_none(desk, options):
    if "--mount" in options and desk.user.prefix:
        pytest.skip("another user may not open /dev/fuse")
    desk.inside(
        "echo x > t/d/new; mkdir t/own; echo x > t/own/f; mv t/own t/o2; mv t/was t/w", *options
    )
    desk.run("rm", "-r", "t/d")
    done = subprocess.run(
        [*desk.user.prefix, "viewos", "commit", "--layer", "@work"], cwd=desk.place,
        env=desk.environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"viewos commit: {desk.tree}/d: was deleted outside since",
        "viewos commit: nothing was committed; --force overwrites what was changed outside",
    ]
    desk.run("viewos", "commit", "--force", "--layer", "@work")
    assert listing(desk.tree) == {
        "d": "drwxr-xr-x", "d/new": "x\n", "file": "file\n", "gone": "gone\n", "keep": "keep\n",
        "mod": "mod\n", "o2": "drwxr-xr-x", "o2/f": "x\n", "w": "drwxr-xr-x", "w/f": "was/f\n",
    }  # fmt: skip
