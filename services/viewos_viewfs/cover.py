"""A file system that is not there: whatever is asked of it, the answer is ENOENT.

Mounted over a file it makes that file's name one that does not exist, for every call that follows a
path, whatever path that is. What the kernel decides without asking a file system is not answered
here: making, removing and moving the name itself (creating.py), and listing it (listing.py).

Over all but directories it is a symbolic link that leads nowhere: the kernel asks where it leads
before it asks for the type, so that O_DIRECTORY and names below it get ENOENT too.

The one exception is the first question, which we ask ourselves, for the owner: in an ordinary
user's view the kernel refuses an inode of nobody's by itself (fs/namei.c:inode_permission(),
may_follow_link()).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, NoReturn

from viewosd.filetree import Attr, Context, FileTree


def _missing(*_: Any) -> NoReturn:
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


_anything: Any = _missing


class Cover(FileTree):
    """What lies over a hidden file."""

    entry_s = attr_s = 0.0

    def __init__(self, descriptors: Sequence[int], root_mode: int) -> None:
        self._first: Attr | None = Attr(1, root_mode, uid=os.geteuid(), gid=os.getegid())

    def getattr(self, node: int, handle: Any, context: Context) -> Attr:
        found, self._first = self._first, None
        if found is None:
            _missing()
        return found

    lookup = setattr = access = statfs = readlink = _anything
    open = opendir = readdir = create = tmpfile = _anything
    mknod = mkdir = symlink = link = unlink = rmdir = rename = _anything
    getxattr = listxattr = setxattr = removexattr = _anything
