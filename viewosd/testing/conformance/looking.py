"""What a tree shows, whoever filled it: nothing is changed."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from .base import reading, refused


@reading
def the_root_has_attributes(root: Path) -> None:
    status = root.stat()
    assert stat.S_ISDIR(status.st_mode), f"the root's mode is {status.st_mode:o}"
    assert status.st_nlink > 0, "the root has no links"


@reading
def what_is_listed_is_there(root: Path) -> None:
    for entry in os.scandir(root):
        status = entry.stat(follow_symlinks=False)
        assert status.st_ino == entry.inode(), f"{entry.name}: stat and readdir differ in its inode"
        assert entry.is_dir(follow_symlinks=False) == stat.S_ISDIR(status.st_mode), entry.name


@reading
def files_are_as_long_as_they_say(root: Path) -> None:
    for entry in os.scandir(root):
        if entry.is_file(follow_symlinks=False) and (size := entry.stat().st_size):
            with open(entry.path, "rb", 0) as file:
                length = len(file.read() or b"")
                assert length == size, f"{entry.name} has {length} bytes, and says {size}"
                assert os.pread(file.fileno(), 1, size) == b"", f"{entry.name} goes on at its end"


@reading
def what_is_missing_is_enoent(root: Path) -> None:
    with refused(errno.ENOENT):
        (root / "no such name").stat()
    with refused(errno.ENOENT, errno.ENAMETOOLONG):
        (root / ("x" * 255)).stat()
    with refused(errno.ENAMETOOLONG):
        (root / ("x" * 256)).stat()


@reading
def sizes_of_the_file_system_make_sense(root: Path) -> None:
    told = os.statvfs(root)
    assert told.f_bfree <= told.f_blocks, "more is free than there is"
    assert told.f_bavail <= told.f_bfree, "more is available than is free"
