"""What people do with directories, in trees of ours that are served: git, and a build."""

from __future__ import annotations

import shutil

import pytest

from helpers.grounds import Ground

WORK = """
git init -q -b main origin && cd origin
mkdir -p src/deep && printf 'int twice(int x) { return 2 * x; }\\n' > src/deep/twice.c
printf 'int twice(int); int main(void) { return twice(21) - 42; }\\n' > src/main.c
printf 'prog: src/main.o src/deep/twice.o\\n\\t$(CC) -o $@ $^\\n' > Makefile
for n in $(seq 200); do echo "$n" > "src/deep/$n"; done
git add . && git commit -q -m first
git mv src/deep moved && git commit -q -m moved && git revert --no-edit HEAD > revert.log
cd .. && git clone -q --no-hardlinks origin clone && cd clone
make -s && ./prog && touch src/main.c && make -s && ./prog
git gc -q && git fsck --strict && git status --porcelain && ls src/deep | wc -l
"""


@pytest.mark.skipif(not all(map(shutil.which, ("git", "make", "gcc"))), reason="needs git, gcc")
@pytest.mark.parametrize("kind", ["real", "ram"])
def test_git_clones_and_programs_are_built(ground: Ground, kind: str):
    who = {f"GIT_{one}_{what}": "x@example.org" for one in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")}  # fmt: skip
    out = ground.inside(kind, "sh", "-ec", WORK, env=ground.environment | who)
    assert out.splitlines() == ["?? prog", "?? src/deep/twice.o", "?? src/main.o", "202"]
    assert (kind == "real") is (ground.source / "clone" / "prog").exists()
