"""The kernel's overlayfs, attached nowhere.

Source: Documentation/filesystems/overlayfs.rst; fs/overlayfs/params.c.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final

from viewosd.space import Space

Options = list[tuple[str, str | bytes | int | None]]

CAN_NOT: Final = (errno.ENODEV, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
"""What the kernel says to an overlay that it has not, does not allow here, or can't make of these
file systems; another engine may."""

_TRUSTED: Final = "trusted.overlay.viewos"
_USER: Final = "user.overlay.viewos"


def xattrs(directory: int) -> str | None:
    """Which of overlayfs's attributes can be written in a directory, found out by trying.

    Returns:
        "trusted", "user", or None: neither.
    """
    path = f"/proc/self/fd/{directory}"
    for name in (_TRUSTED, _USER):
        try:
            os.setxattr(path, name, b"y")
            os.removexattr(path, name)
        except OSError:
            continue
        return name.partition(".")[0]
    return None


async def make(
    space: Space, lowers: Sequence[int], upper: int, work: int, *, user: bool, source: bytes
) -> int:
    """An overlay.

    Args:
        lowers: directories, the uppermost first; with ``upper`` and ``work`` of the view.
        user: its attributes are ``user.overlay.*`` (userxattr, Linux 5.11).

    Raises:
        OSError: one of `CAN_NOT`, and others.
    """
    rest: Options = [("upperdir", upper), ("workdir", work)]
    # What is written must be understood by diff and commit, and by every kernel.
    rest += [("userxattr", None)] if user else [("redirect_dir", "off"), ("metacopy", "off")]
    if len({os.fstat(fd).st_dev for fd in (*lowers, upper)}) > 1:
        # Else every file has another st_dev than its directory, for which tar --one-file-system
        # and du -x leave it out, and readdir(3) other numbers than stat(2) (overlayfs.rst, Inode
        # properties). In one file system it is useless, and the kernel's log says so.
        rest.append(("xino", "on"))
    try:
        return await space.create(
            "overlay", [("source", source), *(("lowerdir+", fd) for fd in lowers), *rest]
        )
    except OSError as error:
        # Until Linux 6.8 is the minimum: before, there was no lowerdir+.
        if error.errno != errno.EINVAL or len(lowers) > 1:
            raise
    return await space.create("overlay", [("source", source), ("lowerdir", lowers[0]), *rest])
