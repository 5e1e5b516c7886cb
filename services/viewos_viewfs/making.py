"""What takes the place of a hidden file: made in memory, and mounted over the covers."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable
from typing import Final

import trio

from viewosd.abi.fcntl import AT_REMOVEDIR
from viewosd.space import Space
from viewosd.tracee import Credentials, Tracee

from .hidden import Hidden
from .hide import attach, uncover
from .made import UNDO_S
from .plain import empty

_HERE: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Making:
    """The private files of one view."""

    def __init__(self) -> None:
        self._tmpfs = -1
        self._names = itertools.count()

    def close(self) -> None:
        """What is mounted stays."""
        if self._tmpfs >= 0:
            os.close(self._tmpfs)
            self._tmpfs = -1

    async def make(
        self, space: Space, hidden: Hidden, tracee: Tracee, make: Callable[[bytes, int], None]
    ) -> None:
        """Make something and show it at every place of a hidden file.

        Args:
            make: gets a name and the directory that it is to be made in.
        """
        if self._tmpfs < 0:
            # Its root is not seen: nobody passes it but through what is mounted from it.
            self._tmpfs = await empty(space, os.stat_result((0o40755, *[0] * 9)))
        name = b"%d" % next(self._names)
        make(name, self._tmpfs)
        who = tracee.credentials
        if os.geteuid() == 0:
            os.chown(name, who.fsuid, who.fsgid, dir_fd=self._tmpfs, follow_symlinks=False)
        fd = os.open(name, _HERE, dir_fd=self._tmpfs)
        try:
            await show(space, hidden, fd)
        finally:
            os.close(fd)


async def show(space: Space, hidden: Hidden, fd: int) -> None:
    """Show a file at every place of a hidden one. All or none."""
    done: list[bytes] = []
    try:
        for place in hidden.places:
            await attach(space, await space.clone(fd, recursive=False), place.path)
            done.append(place.path)
    except BaseException:
        with trio.move_on_after(UNDO_S, shield=True):
            await uncover(space, done)
        raise


def refuse_unless_creatable(hidden: Hidden, parent: int, who: Credentials) -> None:
    """Could the program make a name in this directory, where the hidden one is?

    Raises:
        OSError: EACCES, EROFS.
    """
    if os.fstatvfs(parent).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    if who.fsuid == os.geteuid():
        allowed = os.access(f"/proc/self/fd/{parent}", os.W_OK | os.X_OK, effective_ids=True)
    else:
        allowed = _may_write(os.fstat(parent), who.fsuid, {who.fsgid, *who.groups})
    if not allowed:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _may_write(st: os.stat_result, uid: int, groups: set[int]) -> bool:
    """By the permission bits: inode(7)."""
    shift = 6 if uid == st.st_uid else 3 if st.st_gid in groups else 0
    return st.st_mode >> shift & 3 == 3


def refuse_removal(space: Space, hidden: Hidden, flags: int) -> None:
    """May unlink(2) or rmdir(2) take away what was made in a hidden file's place?

    Raises:
        OSError: ENOTDIR, EISDIR, ENOTEMPTY.
    """
    fd = space.open(hidden.target, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        if is_directory != bool(flags & AT_REMOVEDIR):
            code = errno.EISDIR if is_directory else errno.ENOTDIR
        elif is_directory and os.listdir(f"/proc/self/fd/{fd}"):
            code = errno.ENOTEMPTY
        else:
            return
    finally:
        os.close(fd)
    raise OSError(code, os.strerror(code))
