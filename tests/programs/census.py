"""Everything that programs can find out about a tree, as JSON: ``census.py DIRECTORY [WITHOUT]...``

A path has: kind, permissions, owner, group, size, device, target, digest of the content, whether it
has holes, extended attributes, modification time, and the first path that is the same file. What is
WITHOUT, a path counted from DIRECTORY, is left out with what is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from typing import Any


def entry(path: bytes) -> dict[str, Any]:
    """What there is to know of a file beside its names."""
    st = os.lstat(path)
    found: dict[str, Any] = {
        "kind": stat.filemode(st.st_mode)[0],
        "mode": oct(stat.S_IMODE(st.st_mode)),
        "owner": [st.st_uid, st.st_gid],
        "mtime": st.st_mtime_ns,
        "xattrs": {
            name: os.getxattr(path, name, follow_symlinks=False).hex()
            for name in sorted(os.listxattr(path, follow_symlinks=False))
        },
    }
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as file:
            found["content"] = hashlib.file_digest(file, "sha256").hexdigest()
        found["size"] = st.st_size
        found["sparse"] = st.st_blocks * 1024 < st.st_size
    elif stat.S_ISLNK(st.st_mode):
        found["content"] = os.fsdecode(os.readlink(path))
    elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
        found["content"] = f"{os.major(st.st_rdev)}:{os.minor(st.st_rdev)}"
    return found


def census(directory: str, without: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """All of a tree by path; "" is the directory itself."""
    top = os.fsencode(directory)
    left_out = {os.path.join(top, os.fsencode(path)) for path in without}
    paths = [top]
    for at, directories, files in os.walk(top):
        inside = [os.path.join(at, name) for name in files + directories]
        paths += [path for path in inside if path not in left_out]
        directories[:] = [name for name in directories if os.path.join(at, name) not in left_out]
    found, first = {}, {}
    for path in sorted(paths, key=lambda path: path.split(b"/")):
        shown = "" if path == top else os.fsdecode(os.path.relpath(path, top))
        found[shown] = entry(path)
        st = os.lstat(path)
        if not stat.S_ISDIR(st.st_mode) and st.st_nlink > 1:
            found[shown]["same as"] = first.setdefault((st.st_dev, st.st_ino), shown)
    return found


if __name__ == "__main__":
    json.dump(census(sys.argv[1], tuple(sys.argv[2:])), sys.stdout)
