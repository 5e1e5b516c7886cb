"""What stands in the way of a commit, found before anything is changed."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from .changes import Change, Kind
from .unsafe import birth, open_beneath

_CLOSED_TO_USERS: Final = ("trusted.", "security.")


def problems(
    changes: Sequence[Change], closed: Sequence[str], target: int
) -> Iterator[tuple[str, str]]:
    """Path and reason of everything that this process may not or can't do there.

    Args:
        closed: directories of the target that can't be read.
    """
    root = os.geteuid() == 0
    groups = {os.getegid(), *os.getgroups()}
    made = {change.path for change in changes if change.makes_directory}
    cache: dict[str, str] = {}
    for change in changes:
        parent = change.path.rpartition("/")[0]
        touches = change.path and (change.kind is not Kind.METADATA or not change.entry.is_dir)
        if touches and parent not in made:
            if parent not in cache:
                cache[parent] = _closed(target, parent)
            if cache[parent]:
                yield change.path, cache[parent]
            elif reason := _kept(target, parent, change, root):
                yield change.path, reason
        if change.path in closed and (change.new is None or not change.new.is_dir):
            yield change.path, "it can't be read, and so not emptied"
        if change.new is not None and (reason := _needs_root(change, root, groups)):
            yield change.path, reason
    yield from _space(changes, target)


def _closed(target: int, parent: str) -> str:
    """Why names in a directory of the target can't be changed, or ""."""
    try:
        fd = open_beneath(target, parent, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return "its directory can't be read"
    try:
        if not os.access(f"/proc/self/fd/{fd}", os.W_OK | os.X_OK, effective_ids=True):
            if os.fstatvfs(fd).f_flag & os.ST_RDONLY:
                return "its file system is read-only"
            return "its directory can't be written"
        return "its directory is immutable (chattr)" if birth(fd, "").fixed else ""
    finally:
        os.close(fd)


def _kept(target: int, parent: str, change: Change, root: bool) -> str:
    """Why one name of a directory that is ours to write can't be taken away."""
    if change.old is None:
        return ""
    fd = open_beneath(target, parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        name = change.path.rpartition("/")[2]
        if birth(fd, name).fixed:
            return "it is immutable (chattr)"
        above = os.fstat(fd)
        sticky = above.st_mode & stat.S_ISVTX and not root
        if sticky and os.geteuid() not in (above.st_uid, change.old.st.st_uid):
            return "its directory is sticky, and both are somebody else's"
    finally:
        os.close(fd)
    return ""


def _needs_root(change: Change, root: bool, groups: set[int]) -> str:
    new, old = change.new, change.old
    if root or new is None:
        return ""
    if new.type in (stat.S_IFCHR, stat.S_IFBLK):
        return "only root can make a device"
    if new.uid != os.geteuid() or new.gid not in groups:
        return f"only root can give it to {new.uid}:{new.gid}"
    if change.kind is Kind.METADATA and new.is_dir and old and old.st.st_uid != os.geteuid():
        return "only its owner can change its permissions"
    for detail in change.details:
        if detail.partition(" ")[2].startswith(_CLOSED_TO_USERS):
            return f"only root can make it {detail}"
    return ""


def _space(changes: Sequence[Change], target: int) -> Iterator[tuple[str, str]]:
    """Is there room? A file is written before the one that it replaces is freed.

    All of the target is one file system: mount points in it are refused by the walk.
    """
    have = os.fstatvfs(target)
    used = peak = inodes = 0
    seen: dict[tuple[int, int], int] = defaultdict(int)
    for change in changes:
        new, old = change.new, change.old
        if new is not None and not new.is_dir and not seen[new.inode]:
            seen[new.inode] += 1
            used += new.st.st_blocks * 512
            inodes += 1
            peak = max(peak, used)
        if old is not None and not old.is_dir and old.st.st_nlink == 1:
            used -= old.st.st_blocks * 512
            inodes -= 1
    free = (have.f_bavail if os.geteuid() else have.f_bfree) * have.f_frsize
    if peak > free:
        yield "", f"needs {peak >> 10} KiB on its file system, which has {free >> 10}"
    if have.f_files and inodes > have.f_ffree:
        yield "", f"needs {inodes} files more on its file system, which has room for {have.f_ffree}"
