"""What /proc/pid/mountinfo says. Pure. Source: proc_pid_mountinfo(5), fs/proc_namespace.c."""

from __future__ import annotations

import re
from typing import NamedTuple


class Line(NamedTuple):
    """One mount.

    Attributes:
        id, parent: numbers that are unique at one moment; they are given out again.
        device: "major:minor" of its file system.
        root: what of the file system is mounted.
        point: where, an absolute path.
        type, source: of the file system; "fuse.TYPE".
    """

    id: int
    parent: int
    device: str
    root: bytes
    point: bytes
    type: str
    source: bytes


def parse(text: bytes) -> dict[int, Line]:
    """The mounts by id, in the order of the text; lines that are none are left out."""
    found = {}
    for raw in text.splitlines():
        if (line := _line(raw)) is not None:
            found[line.id] = line
    return found


def find(text: bytes, id: int) -> Line | None:
    """One mount, without a look at the others."""
    match = re.search(rb"(?m)^%d .*$" % id, text)
    return _line(match[0]) if match else None


def _line(raw: bytes) -> Line | None:
    before, dash, after = raw.partition(b" - ")
    head, tail = before.split(b" "), after.split(b" ")
    if not dash or len(head) < 6 or len(tail) < 2 or not (head[0] + head[1]).isdigit():
        return None
    return Line(
        int(head[0]), int(head[1]), head[2].decode(), plain(head[3]), plain(head[4]),
        plain(tail[0]).decode(errors="surrogateescape"), plain(tail[1]),
    )  # fmt: skip


def plain(field: bytes) -> bytes:
    r"""A field with its escapes (``\040``) taken out: fs/proc_namespace.c:mangle()."""
    if b"\\" not in field:
        return field
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8) & 0xFF]), field)


def below(mounts: dict[int, Line], top: int) -> set[int]:
    """The ids of a mount and of all that are mounted on it, however deep."""
    children: dict[int, list[int]] = {}
    for line in mounts.values():
        children.setdefault(line.parent, []).append(line.id)
    found, left = set(), [top]
    while left:
        number = left.pop()
        if number not in found:
            found.add(number)
            left += children.get(number, ())
    return found
