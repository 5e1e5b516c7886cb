"""Numbers of files and devices below an overlay whose layer lies on another file system."""

from __future__ import annotations

import pytest

from helpers.grounds import Ground, good

LOOK = """
import os
os.makedirs("new/below")
for name in ("new/file", "old/written"):
    open(name, "a").write("x")
device = os.stat(".").st_dev
for place, _, _ in os.walk("."):
    for entry in os.scandir(place):
        found = os.lstat(entry.path)
        if (entry.inode(), device) != (found.st_ino, found.st_dev):
            print(entry.path, entry.inode(), device, found)
"""


@pytest.mark.parametrize("kind", ["cow", "mincow"])
def test_all_files_are_of_one_file_system_and_have_one_number(
    ground_in_memory: Ground, kind: str
) -> None:
    ground = ground_in_memory
    make = "mkdir -p old/deep && touch old/written old/read old/deep/file"
    good(ground.native("sh", "-c", make))
    assert ground.inside(kind, ground.python, "-Ic", LOOK) == ""
    listed = "tar --one-file-system -cf - old | tar -t | sort"
    whole = good(ground.native("sh", "-c", listed))
    assert "old/deep/file" in whole
    assert ground.inside(kind, "sh", "-c", listed) == whole
