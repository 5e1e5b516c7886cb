"""``/sys`` of a view that lives in a network namespace of its own.

A sysfs shows the network interfaces of the namespace that it was mounted from: sysfs(5). So a new
one is laid over ``/sys``, with what was mounted in the old one in its place.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Final

from viewosd.abi.mount import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID
from viewosd.space import Space

SYS: Final = b"/sys"
_ATTRIBUTES: Final = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID


async def renew(space: Space) -> None:
    """Mount it. Nobody may run in the view yet.

    Raises:
        OSError: EPERM, an ordinary user may not where a part of the old one is hidden; or there is
            no sysfs.
    """
    points = _mounted_in_sys(space.mountinfo())
    with ExitStack() as held:
        tree = await space.create("sysfs", attributes=_ATTRIBUTES)
        held.callback(os.close, tree)
        target = space.open(SYS, os.O_PATH | os.O_DIRECTORY)
        held.callback(os.close, target)
        below = []
        for point in points:
            old = space.open(point, os.O_PATH)
            held.callback(os.close, old)
            below.append((point[len(SYS) + 1 :], await space.clone(old)))
            held.callback(os.close, below[-1][1])
        await space.attach(tree, target, below)


def _mounted_in_sys(table: bytes) -> list[bytes]:
    """What is mounted directly in /sys: the rest comes along with it. proc_pid_mountinfo(5)."""
    points = sorted(
        line.split(b" ")[4].decode("unicode_escape").encode("latin-1")
        for line in table.splitlines()
    )
    found: list[bytes] = []
    for point in dict.fromkeys(points):
        inside = point.startswith(SYS + b"/")
        if inside and not any(point.startswith(above + b"/") for above in found):
            found.append(point)
    return found
