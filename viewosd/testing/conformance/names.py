"""Directories, links, and what files are called."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from .base import optional, refused, writing


@writing
def directories_are_made_and_removed(root: Path) -> None:
    links = root.stat().st_nlink
    (root / "d").mkdir(0o750)
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o750
    assert root.stat().st_nlink in (links, links + 1)
    with refused(errno.EEXIST):
        (root / "d").mkdir()
    (root / "d" / "f").touch()
    with refused(errno.ENOTEMPTY, errno.EEXIST):
        (root / "d").rmdir()
    with refused(errno.EISDIR, errno.EPERM):
        os.unlink(root / "d")
    with refused(errno.ENOTDIR):
        os.rmdir(root / "d" / "f")
    os.unlink(root / "d" / "f")
    (root / "d").rmdir()
    with refused(errno.ENOENT):
        (root / "d").stat()


@writing
def every_name_is_listed_once(root: Path) -> None:
    names = {f"{number:04}-{'n' * (number % 200)}" for number in range(700)}
    for one in names:
        (root / one).touch()
    listed = os.listdir(root)
    assert sorted(listed) == sorted(names), "a listing has other names than were made"
    with os.scandir(root) as entries:
        for number, entry in enumerate(entries):
            if number % 2:
                os.unlink(entry.path)
    assert len(os.listdir(root)) == 350, "a listing that names are taken from loses some"


@writing
def any_byte_is_a_name(root: Path) -> None:
    for one in (b" ", b"\n", b"\xff\xfe", b"a" * 255, "ü".encode(), b"..."):
        path = os.path.join(os.fsencode(root), one)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        assert one in os.listdir(os.fsencode(root)), f"{one!r} is not listed"
        os.unlink(path)


@writing
def renaming_moves_and_replaces(root: Path) -> None:
    (root / "a").write_bytes(b"a")
    (root / "b").write_bytes(b"b")
    number = (root / "a").stat().st_ino
    os.rename(root / "a", root / "b")
    assert os.listdir(root) == ["b"]
    assert (root / "b").read_bytes() == b"a"
    assert (root / "b").stat().st_ino == number, "renaming has made another file"
    (root / "d").mkdir()
    with refused(errno.EISDIR):
        os.rename(root / "b", root / "d")
    os.rename(root / "b", root / "d" / "c")
    with refused(errno.EINVAL):
        os.rename(root / "d", root / "d" / "e")
    (root / "full" / "x").mkdir(parents=True)
    with refused(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(root / "d", root / "full")


@writing
def links_are_the_same_file(root: Path) -> None:
    (root / "a").write_bytes(b"a")
    with optional(errno.EPERM):
        os.link(root / "a", root / "b")
    assert (root / "a").stat().st_ino == (root / "b").stat().st_ino
    assert (root / "a").stat().st_nlink == 2
    (root / "b").write_bytes(b"changed")
    assert (root / "a").read_bytes() == b"changed"
    with refused(errno.EEXIST):
        os.link(root / "a", root / "b")
    os.unlink(root / "a")
    assert (root / "b").stat().st_nlink == 1


@writing
def symbolic_links_are_followed_and_read(root: Path) -> None:
    with optional(errno.EPERM):
        os.symlink("target/of/a link", root / "l")
    assert os.readlink(root / "l") == "target/of/a link"
    assert (root / "l").lstat().st_size == len("target/of/a link")
    (root / "f").write_bytes(b"f")
    os.symlink("f", root / "m")
    assert (root / "m").read_bytes() == b"f"


@writing
def fifos_and_sockets_are_made(root: Path) -> None:
    with optional(errno.EPERM):
        os.mkfifo(root / "p", 0o600)
    assert stat.S_ISFIFO((root / "p").stat().st_mode)
