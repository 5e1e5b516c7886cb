"""The mounts of a view as data: where a file can be reached, and what lies below a directory. Pure.

Source: proc(5), /proc/pid/mountinfo; show_mountinfo() in fs/proc_namespace.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PSEUDO: Final = frozenset(
    """
    autofs binder binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl
    hugetlbfs mqueue nsfs proc pstore rpc_pipefs securityfs selinuxfs sysfs tracefs
    """.split()  # noqa: SIM905
)
"""File systems that show the machine: they are never overlaid, but seen as they are."""


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo.

    Attributes:
        id, parent: of the mounts; ``device``: "8:1".
        root: what of the file system is mounted, a path in it.
        point: where, a path of the view.
        type: of the file system: ``ext4``, ``fuse.sshfs``.
    """

    id: int
    parent: int
    device: bytes
    root: bytes
    point: bytes
    type: str

    @property
    def pseudo(self) -> bool:
        """Is it one that is never overlaid? Served file systems are the server's to change."""
        return self.type in PSEUDO or self.type.partition(".")[0] in ("fuse", "fuseblk")


def parse(mountinfo: bytes) -> list[Mount]:
    """The mounts, in the order in which they were made or moved."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(b" - ")
        id, parent, device, root, point, *_ = left.split(b" ")
        kind = right.split(b" ")[0].decode()
        found.append(Mount(int(id), int(parent), device, _plain(root), _plain(point), kind))
    return found


def _plain(field: bytes) -> bytes:
    """Undo mangle(): space, tab, newline, backslash and # as octal."""
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), field)


def relative(path: bytes, directory: bytes) -> bytes | None:
    """``path`` counted from ``directory``, b"" for itself; None: it does not lie there."""
    if path == directory:
        return b""
    prefix = directory.rstrip(b"/") + b"/"
    return path.removeprefix(prefix) if path.startswith(prefix) else None


def joined(directory: bytes, below: bytes) -> bytes:
    """The path of ``below``, counted from ``directory``."""
    return directory.rstrip(b"/") + b"/" + below if below else directory


def other_names(mounts: list[Mount], id: int, path: bytes) -> Iterator[bytes]:
    """Where else the file at ``path`` of mount ``id`` may be seen: the same part of the same file
    system in another mount. Each is to be looked at: something may lie over it.
    """
    own = next((m for m in mounts if m.id == id), None)
    inside = relative(path, own.point) if own else None
    if own is None or inside is None:
        return
    there = joined(own.root, inside)
    for mount in mounts:
        if mount.device == own.device:
            below = relative(there, mount.root)
            if below is not None and (name := joined(mount.point, below)) != path:
                yield name


def below(mounts: list[Mount], directory: bytes) -> list[tuple[bytes, Mount]]:
    """Mounts below a directory: path counted from it, and the mount that was made there last.

    In the order of their paths, so a mount comes after the one that it lies in. Each is to be
    looked at: it may lie under another.
    """
    found: dict[bytes, Mount] = {}
    for mount in mounts:
        if path := relative(mount.point, directory):
            found[path] = mount
    return sorted(found.items(), key=lambda item: item[0].split(b"/"))
