"""Modes, times, extended attributes, space."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from .base import optional, refused, writing


@writing
def modes_are_changed(root: Path) -> None:
    (root / "f").touch()
    with optional(errno.EPERM):
        (root / "f").chmod(0o4751)
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o4751


@writing
def times_are_set_and_kept(root: Path) -> None:
    (root / "f").touch()
    with optional(errno.EPERM):
        os.utime(root / "f", ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))
    status = (root / "f").stat()
    assert abs(status.st_mtime_ns - 1_600_000_000_987_654_321) <= 2_000_000_000
    assert abs(status.st_atime_ns - 1_500_000_000_123_456_789) <= 86_400_000_000_000


@writing
def changes_are_seen_in_the_times(root: Path) -> None:
    (root / "f").touch()
    os.utime(root / "f", ns=(0, 0))
    os.utime(root, ns=(0, 0))
    with open(root / "f", "ab", 0) as file:
        file.write(b"x")
    assert (root / "f").stat().st_mtime_ns > 0, "writing does not set mtime"
    (root / "g").touch()
    assert root.stat().st_mtime_ns > 0, "a new name does not set the directory's mtime"


@writing
def extended_attributes_are_kept(root: Path) -> None:
    (root / "f").touch()
    with optional():
        os.setxattr(root / "f", "user.a", b"value")
    assert os.getxattr(root / "f", "user.a") == b"value"
    assert "user.a" in os.listxattr(root / "f")
    with refused(errno.EEXIST):
        os.setxattr(root / "f", "user.a", b"", os.XATTR_CREATE)
    with refused(errno.ENODATA):
        os.setxattr(root / "f", "user.b", b"", os.XATTR_REPLACE)
    os.removexattr(root / "f", "user.a")
    with refused(errno.ENODATA):
        os.getxattr(root / "f", "user.a")


@writing
def holes_are_found(root: Path) -> None:
    with open(root / "f", "w+b", 0) as file:
        os.ftruncate(file.fileno(), 1 << 20)
        os.pwrite(file.fileno(), b"x" * 4096, 1 << 19)
        with optional(errno.EINVAL):
            start = os.lseek(file.fileno(), 0, os.SEEK_DATA)
        assert start in (0, 1 << 19), f"data from {start} on"
        assert os.lseek(file.fileno(), 1 << 19, os.SEEK_HOLE) > 1 << 19
        with refused(errno.ENXIO):
            os.lseek(file.fileno(), 1 << 20, os.SEEK_DATA)


@writing
def space_is_allocated(root: Path) -> None:
    with open(root / "f", "wb", 0) as file:
        with optional():
            os.posix_fallocate(file.fileno(), 0, 10_000)
        assert os.fstat(file.fileno()).st_size == 10_000
