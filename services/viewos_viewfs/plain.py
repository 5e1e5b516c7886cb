"""The modes that one mount does: move (bind), ro, tmpfs."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Final

from viewosd.abi.mount import MOUNT_ATTR_RDONLY
from viewosd.space import MountRequest, Space

_NONE: Final = (b"", b"none")


async def move(request: MountRequest) -> int:
    """The mountpoint shows the source, with all that is mounted in it. A file replaces a file.

    Raises:
        OSError: ENOENT, there is no source; ENOTDIR, one is a directory and the other is none.
    """
    aside = request.space.aside
    source = await aside(_source, request)
    try:
        target = request.target_fd
        if await aside(_is_directory, source) != await aside(_is_directory, target):
            shown = os.fsdecode(request.target)
            raise OSError(
                errno.ENOTDIR, f"viewfs: a directory and a file can't replace each other: {shown}"
            )
        return await request.space.clone(source)
    finally:
        os.close(source)


async def read_only(request: MountRequest) -> int:
    """The source, or without one the mountpoint itself, and nobody can write there."""
    if request.source in _NONE:
        tree = await request.space.clone(request.target_fd)
    else:
        tree = await move(request)
    try:
        await request.space.change(tree, set=MOUNT_ATTR_RDONLY, recursive=True)
    except BaseException:
        os.close(tree)
        raise
    return tree


async def tmpfs(request: MountRequest) -> int:
    """An empty directory in memory, with the owner and the permissions of the mountpoint."""
    like = await request.space.aside(os.fstat, request.target_fd)
    if not stat.S_ISDIR(like.st_mode):
        raise OSError(errno.ENOTDIR, f"viewfs: {os.fsdecode(request.target)} is no directory")
    return await empty(request.space, like)


async def empty(space: Space, like: os.stat_result, attributes: int = 0) -> int:
    """An empty tmpfs with the permissions of a directory, and its owner if the view knows it."""
    options: list[tuple[str, str | bytes | int | None]] = [
        ("source", "viewfs"),
        ("mode", f"{stat.S_IMODE(like.st_mode):o}"),
    ]
    owner = [("uid", str(like.st_uid)), ("gid", str(like.st_gid))]
    try:
        return await space.create("tmpfs", [*options, *owner], attributes)
    except OSError as error:
        # In an ordinary user's view the user alone has a number: user_namespaces(7).
        if error.errno != errno.EINVAL:
            raise
    return await space.create("tmpfs", options, attributes)


def _source(request: MountRequest) -> int:
    if request.source in _NONE:
        raise OSError(errno.ENOENT, "viewfs: no source was named")
    try:
        return request.open(request.source, os.O_PATH)
    except FileNotFoundError:
        shown = os.fsdecode(request.source)
        raise OSError(errno.ENOENT, f"viewfs: there is no {shown} to show") from None


def _is_directory(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def make_points(tree: int, below: Sequence[tuple[bytes, int]]) -> None:
    """Make the mountpoints for what is to be attached in an empty tree."""
    for path, fd in below:
        *heads, name = path.split(b"/")
        at = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
        try:
            for head in heads:
                os.makedirs(b"/proc/self/fd/%d/%s" % (at, head), exist_ok=True)
                at, old = os.open(head, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at), at
                os.close(old)
            if _is_directory(fd):
                os.makedirs(b"/proc/self/fd/%d/%s" % (at, name), exist_ok=True)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_CLOEXEC, 0o644, dir_fd=at))
        finally:
            os.close(at)
