"""Descriptors of what mounts show: which mount a descriptor is of, what shows through."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import partial
from typing import Final

from viewosd.space import Space

from .places import Mount

_ACCEPTS: Final = b"00010000"  # __SO_ACCEPTCON, net/unix/af_unix.c:unix_seq_show()
_HERE: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def mount_of(fd: int) -> int:
    """The id of the mount that a descriptor is of: proc(5), /proc/pid/fdinfo."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        for line in file:
            if line.startswith(b"mnt_id:"):
                return int(line[7:])
    return -1


def seen(space: Space, mount: Mount) -> int:
    """A descriptor of a mount of the view; -1: another lies over it."""
    try:
        fd = space.open(mount.point, _HERE)
    except OSError:
        return -1
    if mount_of(fd) == mount.id:
        return fd
    os.close(fd)
    return -1


def listening() -> list[bytes]:
    """Paths of unix(7) sockets that somebody listens at: /proc/net/unix.

    Their inode is what connect(2) looks for, so through an overlay they are not found.
    """
    found = []
    with open("/proc/net/unix", "rb") as file:
        for line in file:
            fields = line.rstrip(b"\n").split(None, 7)
            if len(fields) == 8 and fields[3] == _ACCEPTS and fields[7].startswith(b"/"):
                found.append(fields[7])
    return sorted(set(found))


async def excepted(space: Space, target: int, paths: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """What is at some paths below a mountpoint now, to be seen there later as well.

    Raises:
        OSError: ENOENT, there is nothing to show.
    """
    found: list[tuple[bytes, int]] = []
    try:
        for path in paths:
            try:
                fd = await space.aside(partial(os.open, path, _HERE, dir_fd=target))
            except FileNotFoundError:
                shown = os.fsdecode(path)
                raise OSError(errno.ENOENT, f"viewfs: except=/{shown}: it is not there") from None
            try:
                found.append((path, await space.clone(fd)))
            finally:
                os.close(fd)
    except BaseException:
        for _, tree in found:
            os.close(tree)
        raise
    return found
