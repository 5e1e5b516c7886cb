"""git works in a copy-on-write view as anywhere, and what it did can be kept or forgotten."""

from __future__ import annotations

import os
import shutil

import pytest

from helpers.counting import (
    ENGINES,
    census,
    census_inside,
    changes,
    committed,
    listed,
    told_by_diff,
    unlike,
)
from helpers.grounds import Ground, good

FILES = int(os.environ.get("VIEWOS_TEST_FILES", "120"))
"""scripts/soak-git does the same with 20,000."""
PATIENCE = {"timeout": 250 + FILES / 10}
pytestmark = [
    pytest.mark.skipif(shutil.which("git") is None, reason="needs git"),
    pytest.mark.timeout(300 + FILES),
]

MAKE = """
import os, sys
count = int(sys.argv[1])
for n in range(count):
    path = f"src/{n % 37:02}/{n % 11}"
    os.makedirs(path, exist_ok=True)
    with open(f"{path}/{n}.txt", "w") as file:
        file.write(f"file {n}\\n" * (n % 50 + 1))
os.symlink("src", "link"); os.chmod(f"{path}/{n}.txt", 0o755)
"""
NEW = """
git init -q -b main .
"$1" -c "$2" "$3"
git add . && git commit -q -m first
git checkout -q -b side
git rm -q -r src/03 && echo side > src/00/0/0.txt && git mv src/01 moved && git commit -q -a -m side
git checkout -q main
"""
WORK = """
git status --porcelain
git checkout -q side
sed -i s/file/FILE/ src/02/*/*.txt && git commit -q -a -m more
git checkout -q -b third main
echo x > new && git add new && git commit -q -m third
git merge -q -m merged side
git stash -q 2>/dev/null || true; git tag done
git gc -q --prune=now
git worktree add -q ../tree side && git worktree remove ../tree
git clean -q -d -x -f
git status --porcelain
"""
CLEAN = "git fsck --full --strict --no-dangling && git status --porcelain && git rev-parse HEAD"


@pytest.fixture
def repository(ground_in_memory: Ground) -> Ground:
    """A repository ``work/git`` with two branches."""
    ground = ground_in_memory
    ground.environment |= {
        "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_AUTHOR_DATE": "@1600000000 +0000",
        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        "GIT_COMMITTER_DATE": "@1600000000 +0000", "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "gc.auto", "GIT_CONFIG_VALUE_0": "0",
    }  # fmt: skip
    (ground.work / ".hidden").unlink()
    ground.own(ground.work / "git")
    script = f"cd git; {NEW}"
    good(ground.native("sh", "-ec", script, "sh", ground.python, MAKE, str(FILES), **PATIENCE))
    return ground


@pytest.mark.parametrize("engine", ENGINES)
def test_what_git_did_in_a_view_is_there_after_the_commit(repository: Ground, engine: str):
    ground, work = repository, repository.work
    before = census(work)
    native = good(ground.native("sh", "-ec", CLEAN, cwd=work / "git", **PATIENCE))
    shown = census_inside(ground, engine, f"cd git; {WORK} {CLEAN} >../head", **PATIENCE)
    assert unlike(before, census(work)) == []
    assert good(ground.native("sh", "-ec", CLEAN, cwd=work / "git", **PATIENCE)) == native

    assert listed(told_by_diff(ground)) == listed(changes(before, shown))
    good(ground.native("viewos", "commit", "--layer", "@kept", **PATIENCE))
    assert unlike(committed(before, shown), census(work)) == []
    head = good(ground.native("sh", "-ec", CLEAN, cwd=work / "git", **PATIENCE))
    assert head == (work / "head").read_text() != native
