"""Making things in the upper layer: what split() says is real, and what is virtual."""

from __future__ import annotations

import errno
import os
import stat

from .location import Fd, Location
from .virtual import NOTHING, STAT, Virtual


def make(
    directory: Fd, name: bytes, mode: int, perm: int, rdev: int = 0, target: bytes = b""
) -> int:
    """Make something.

    Args:
        mode: its type bits are used.
        perm: permission bits at first, less the umask of the process.
        target: of a symbolic link, be it a real one or kept in a regular file.

    Returns:
        A descriptor to read and write, of a regular file; else -1.
    """
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFREG:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = os.open(name, flags, perm, dir_fd=directory.fd)
        if target:
            os.write(fd, target)
        return fd
    if kind == stat.S_IFDIR:
        os.mkdir(name, perm, dir_fd=directory.fd)
    elif kind == stat.S_IFLNK:
        os.symlink(target, name, dir_fd=directory.fd)
    else:
        os.mknod(name, kind | perm, rdev, dir_fd=directory.fd)
    return -1


def link_target(there: Location, st: os.stat_result) -> bytes:
    """Where a symbolic link points, be it a real one or kept in a regular file."""
    if stat.S_ISLNK(st.st_mode):
        return there.readlink()
    fd = there.open(os.O_RDONLY)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def set_owner(there: Location, uid: int, gid: int) -> None:
    """-1: leave it."""
    if uid != -1 or gid != -1:
        there.chown(uid, gid)


def set_mode(there: Location, mode: int) -> None:
    if not stat.S_ISLNK(mode):
        there.chmod(mode)


def set_virtual(there: Location, virtual: Virtual, before: Virtual, *, must: bool) -> Virtual:
    """Write down what is virtual, in place of what was.

    Args:
        must: it is asked for; else it only keeps the truth of what an ordinary user copied, and
            is left out where there are no xattrs.

    Returns:
        What is virtual then.
    """
    if virtual == before:
        return virtual
    try:
        if text := virtual.text():
            there.setxattr(STAT, text)
        else:
            there.removexattr(STAT)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return NOTHING
        if must or error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
            raise
        return NOTHING
    return virtual
