"""Attributes that a file has in the view alone: the xattr `user.viewos.stat`.

Its text is ``mode=0NNNN uid=N gid=N rdev=MAJ:MIN``, only the fields that are virtual. ``mode`` has
type bits if the type is virtual too: symbolic links and devices can't have user xattrs
(fs/xattr.c:xattr_permission()), so one with virtual attributes is kept as a regular file; a link's
target is its contents then.
"""

from __future__ import annotations

import os
import stat
from typing import Final, NamedTuple

STAT: Final = "user.viewos.stat"


class Virtual(NamedTuple):
    """The fields that are virtual; None: as the file itself has it."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    rdev: int | None = None

    @property
    def type(self) -> int:
        """The type bits, if the type is virtual; else 0."""
        return stat.S_IFMT(self.mode or 0)

    def text(self) -> bytes:
        """As the xattr has it; empty if nothing is virtual."""
        fields = []
        if self.mode is not None:
            fields.append(f"mode=0{self.mode:04o}")
        if self.uid is not None:
            fields.append(f"uid={self.uid}")
        if self.gid is not None:
            fields.append(f"gid={self.gid}")
        if self.rdev is not None:
            fields.append(f"rdev={os.major(self.rdev)}:{os.minor(self.rdev)}")
        return " ".join(fields).encode()


NOTHING: Final = Virtual()


def parse(text: bytes) -> Virtual:
    """Read the xattr. What is unknown to us is left out.

    Raises:
        ValueError: a field that is known has no number.
    """
    fields: dict[str, int] = {}
    for word in text.decode("ascii", "replace").split():
        name, _, value = word.partition("=")
        if name == "mode":
            fields["mode"] = int(value, 8) & 0o177777
        elif name in ("uid", "gid"):
            fields[name] = int(value)
            if not 0 <= fields[name] < 0xFFFF_FFFF:
                raise ValueError(f"no id: {word}")
        elif name == "rdev":
            major, _, minor = value.partition(":")
            fields["rdev"] = _device(int(major), int(minor))
    return Virtual(**fields)


def _device(major: int, minor: int) -> int:
    """Of 12 and 20 bits. Source: include/linux/kdev_t.h."""
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise ValueError(f"no device: {major}:{minor}")
    return os.makedev(major, minor)
