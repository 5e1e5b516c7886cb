"""What a file consists of beside its name: data with its holes, owner, permissions, times."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from typing import Final

from .entry import Entry, xattrs_at

_ACCESS: Final = "system.posix_acl_access"
_CHUNK: Final = 8 << 20


def copy_data(source: int, to: int, size: int, step: Callable[[str], None]) -> None:
    """Copy a file into an empty one; holes stay holes. lseek(2), SEEK_DATA."""
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a hole up to the end
                raise
            break
        at = os.lseek(source, start, os.SEEK_HOLE)
        _copy_range(source, to, start, min(at, size), step)
    step("truncate")
    os.ftruncate(to, size)


def _copy_range(source: int, to: int, at: int, end: int, step: Callable[[str], None]) -> None:
    """Where both are on one file system that can, the blocks are shared: copy_file_range(2)."""
    while at < end:
        step("copy")
        try:
            done = os.copy_file_range(source, to, min(end - at, _CHUNK), at, at)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            done = os.pwrite(to, os.pread(source, min(end - at, _CHUNK), at), at)
        if not done:
            return  # it has become shorter
        at += done


def apply_metadata(
    directory: int, name: str, like: Entry, wanted: Mapping[str, bytes], more: int = 0
) -> None:
    """Give a name owner, permissions, extended attributes and times, in the order that works.

    chown(2) clears set-uid bits and file capabilities, so it comes first; an access control list
    has the permissions in it, so it comes after them.

    Args:
        name: "" is the directory itself.
        more: permission bits that it has beside its own for now; an access control list waits too.
    """
    fd = os.open(name or ".", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    path = f"/proc/self/fd/{fd}"  # this very file, a symbolic link too: proc(5)
    try:
        st = os.fstat(fd)
        if stat.S_IFMT(st.st_mode) != like.type:
            raise OSError(errno.ESTALE, "it was replaced while the commit ran")
        if (st.st_uid, st.st_gid) != (like.uid, like.gid):
            os.chown(path, like.uid, like.gid)
        if like.type != stat.S_IFLNK:
            os.chmod(path, stat.S_IMODE(like.mode) | more)
        has = xattrs_at(path)
        for each in has.keys() - wanted.keys():
            os.removexattr(path, each)
        for each, value in wanted.items():
            if has.get(each) != value and not (more and each == _ACCESS):
                os.setxattr(path, each, value)
        os.utime(path, ns=(like.st.st_atime_ns, like.st.st_mtime_ns))
    finally:
        os.close(fd)
