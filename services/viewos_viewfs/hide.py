"""Hiding: covers over every place at which a file is seen, and how they come and go."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Final

import trio

from viewosd.abi.mount import MNT_DETACH, UMOUNT_NOFOLLOW
from viewosd.space import MountRequest, Space

from . import places
from .hidden import Hidden, Names, Place
from .made import UNDO_S
from .options import invalid
from .reaching import mount_of

COVER: Final = "viewos_viewfs.cover:Cover"
_HERE: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Covers:
    """The covers of one view. All directories that are hidden share one, all else another: a
    thousand hidden names are a thousand mounts of two file systems.
    """

    def __init__(self) -> None:
        self._trees: dict[bool, int] = {}

    async def copy(self, space: Space, is_directory: bool) -> int:
        """A cover, attached nowhere."""
        if is_directory not in self._trees:
            mode = stat.S_IFDIR | 0o777 if is_directory else stat.S_IFLNK | 0o777
            tree = self._trees[is_directory] = await space.serve(
                COVER,
                {"root_mode": mode},
                type="viewfs",
                source=b"hidden",
                root_mode=mode,
                # Checked by the kernel, which asks for attributes before all it does then.
            )
            with suppress(OSError):  # the first question; the runtime may have asked it
                os.fstat(tree)
        return await space.clone(self._trees[is_directory], recursive=False)

    def close(self) -> None:
        """Those that are attached stay."""
        for fd in self._trees.values():
            os.close(fd)
        self._trees.clear()


def look(request: MountRequest) -> Hidden:
    """Where the mountpoint's file is seen.

    Raises:
        OSError: EINVAL, the root can't be hidden.
    """
    if request.target == b"/":
        raise invalid("the root can't be hidden")
    space, found = request.space, os.fstat(request.target_fd)
    paths = [request.target]
    mounts = places.parse(space.mountinfo())
    for path in places.other_names(mounts, mount_of(request.target_fd), request.target):
        if path not in paths and path != b"/" and _is_there(space, path, found):
            paths.append(path)
    return Hidden([_place(space, path) for path in paths], stat.S_ISDIR(found.st_mode))


async def cover_others(space: Space, covers: Covers, hidden: Hidden) -> None:
    """Put covers over all places but the first, which is the runtime's to cover. All or none."""
    done: list[bytes] = []
    try:
        for place in hidden.places[1:]:
            tree = await covers.copy(space, hidden.is_directory)
            await attach(space, tree, place.path)
            done.append(place.path)
    except BaseException:
        with trio.move_on_after(UNDO_S, shield=True):
            await uncover(space, done)
        raise


async def attach(space: Space, tree: int, path: bytes) -> None:
    """Attach a tree at a path of the view, on top of what is there; ``tree`` is closed."""
    try:
        target = await space.aside(space.open, path, _HERE)
        try:
            await space.attach(tree, target)
        finally:
            os.close(target)
    finally:
        os.close(tree)


async def uncover(space: Space, paths: list[bytes]) -> None:
    """Take away what was mounted last at some paths, where something still is."""
    for path in paths:
        try:
            await space.umount(path, MNT_DETACH | UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise


def tops(space: Space) -> dict[bytes, bool]:
    """Mountpoints of the view, each with whether a cover lies on top."""
    found = {}
    for line in space.mountinfo().splitlines():
        mount, source = places.parse(line)[0], line.partition(b" - ")[2].split(b" ")[1]
        found[mount.point] = mount.type == "fuse.viewfs" and source == b"hidden"
    return found


async def settle(space: Space, hidden: Hidden) -> None:
    """Take away what was made in the place of a hidden file, where anything was."""
    covered = tops(space)
    await uncover(space, [p.path for p in hidden.places if not covered.get(p.path, True)])


async def look_again(space: Space, names: Names) -> None:
    """Something was mounted, or unmounted: the parents of hidden files may be other directories."""
    for hidden in names.all:
        hidden.also = []
        for place in hidden.places:
            with suppress(OSError):
                now = await space.aside(_place, space, place.path)
                if now.parent != place.parent:
                    hidden.also.append((now.parent, now.name))
    names.refresh()


def _is_there(space: Space, path: bytes, wanted: os.stat_result) -> bool:
    try:
        fd = space.open(path, _HERE)
    except OSError:
        return False
    try:
        return os.path.samestat(os.fstat(fd), wanted)
    finally:
        os.close(fd)


def _place(space: Space, path: bytes) -> Place:
    head, name = os.path.split(path)
    fd = space.open(head, _HERE | os.O_DIRECTORY)
    try:
        parent = os.fstat(fd)
    finally:
        os.close(fd)
    return Place(path, (parent.st_dev, parent.st_ino), name)
