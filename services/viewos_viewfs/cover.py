"""A file system that is not there: whatever is asked of it, the answer is ENOENT.

Mounted over a file it makes that file's name one that does not exist, for every call that follows a
path, whatever path that is. What the kernel decides without asking a file system is not answered
here: making, removing and moving the name itself (creating.py), and listing it (listing.py).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, NoReturn

from viewosd.filetree import FileTree


def _missing(*_: Any) -> NoReturn:
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


_anything: Any = _missing


class Cover(FileTree):
    """What lies over a hidden file."""

    entry_s = attr_s = 0.0

    def __init__(self, descriptors: Sequence[int]) -> None:
        pass

    lookup = getattr = setattr = access = statfs = readlink = _anything
    open = opendir = readdir = create = tmpfile = _anything
    mknod = mkdir = symlink = link = unlink = rmdir = rename = _anything
    getxattr = listxattr = setxattr = removexattr = _anything
