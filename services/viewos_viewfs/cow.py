"""The modes that overlay: cow, mincow, merge.

The target, and every file system mounted below it, gets an overlay of its own, for overlayfs does
not see what is mounted in the tree below it, and inode numbers of several file systems would
collide in one. What shows the machine (proc, sysfs …) and what others serve (fuse) is seen as it
is; so is what can't be overlaid, read-only, and the log says why.
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import stat
from collections.abc import Container, Sequence
from typing import Final

import trio

from viewosd.abi.mount import MOUNT_ATTR_RDONLY
from viewosd.space import MountRequest, Space

from . import overlay, places, plain
from .choose import Engine, Facts, choose
from .layerdir import LayerDir, fresh, kept
from .made import UNDO_S, Made
from .options import LAYERED, OVERLAID, Wish
from .reaching import excepted, listening, mount_of, seen

log = logging.getLogger(__name__)

_HERE: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SOCKET: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NONE: Final = (b"", b"none")
TREE: Final = "viewos_viewfs.tree:Overlay"

Parts = tuple[int, int] | None
"""Descriptors of where changes go, and of the work directory; None with merge."""


async def make(
    request: MountRequest,
    wish: Wish,
    through: Sequence[bytes] = (),
    hidden: Container[bytes] = (),
    key: str = "",
) -> Made:
    """Everything that ``cow``, ``mincow`` or ``merge`` shows at the mountpoint.

    Args:
        through: paths that are seen as they are.
        hidden: paths that are hidden, by mounts of ours.
        key: of this view, in the name of a layer that nobody named.

    Raises:
        OSError: ENOENT, ENOTDIR: source or target; ELOOP: the layer contains the target; what
            `LayerDir.take` and `choose` say; in words.
    """
    assert wish.mode in OVERLAID
    like = await request.space.aside(os.fstat, request.target_fd)
    if not stat.S_ISDIR(like.st_mode):
        raise NotADirectoryError(
            errno.ENOTDIR, f"viewfs: {os.fsdecode(request.target)} is no directory"
        )
    made = Made()
    try:
        if wish.mode in LAYERED:
            made.layer, made.lower_layers = await request.space.aside(
                _layers, request, wish, like, key
            )
            tops = made.lower_layers
        else:
            tops = made.lower_layers = [await request.space.aside(_directory, request)]
        maker = _Maker(request, wish, made.layer)
        made.tree = await maker.overlay(request.target_fd, b"", tops)
        made.below = await maker.submounts(hidden)
        made.below += await maker.through([*through, *listening()])
        made.below += await excepted(request.space, request.target_fd, wish.excepts)
        made.below += await maker.mask()
        made.devices = maker.virtual
    except BaseException:
        with trio.move_on_after(UNDO_S, shield=True):
            await made.undo()
        raise
    return made


class _Maker:
    """Makes the overlays of one request, the target's and those of what is mounted below it."""

    def __init__(self, request: MountRequest, wish: Wish, layer: LayerDir | None) -> None:
        self._space: Space = request.space
        self._target, self._target_fd = request.target, request.target_fd
        self._source = request.source or b"none"
        self._wish, self._layer = wish, layer
        self._mounts = places.parse(request.space.mountinfo())
        self._can = True  # the kernel's overlayfs, as far as is known
        self.virtual: list[int] = []
        self._served = False  # the mountpoint's own file system, by our server

    async def overlay(self, target: int, below: bytes, tops: Sequence[int] = ()) -> int:
        """An overlay of one file system.

        Args:
            target: a descriptor of what lies lowest; ``below``: where, counted from the mountpoint.
            tops: directories between it and the changes.
        """
        like = os.fstat(target)
        parts = self._layer.part(below, like) if self._layer is not None else None
        try:
            facts = self._facts(like, parts, len(tops) + 1)
            if choose(facts) is Engine.KERNEL and parts is not None:
                upper, work = parts
                try:
                    return await overlay.make(
                        self._space,
                        [*tops, target],
                        upper,
                        work,
                        user=overlay.xattrs(upper) == "user",
                        source=self._source,
                    )
                except OSError as error:
                    if error.errno not in overlay.CAN_NOT:
                        raise
                    log.info("overlayfs can't (%s): served instead", error.strerror)
                    self._can = bool(below) and self._can
                    choose(dataclasses.replace(facts, overlay=False))
            self._served = self._served or not below
            return await self._serve(target, tops, parts)
        finally:
            for fd in parts or ():
                os.close(fd)

    def _facts(self, like: os.stat_result, parts: Parts, lowers: int) -> Facts:
        kind = "none"
        if parts is not None:
            id = mount_of(parts[0])
            kind = next((m.type for m in self._mounts if m.id == id), "unknown")
        return Facts(
            mode=self._wish.mode,
            vstat=self._wish.vstat,
            owner_mapped=_is_mapped(like),
            overlay=self._can,
            layer_fs=kind,
            xattrs=parts is None or overlay.xattrs(parts[0]) is not None,
            lowers=lowers,
        )

    async def _serve(self, target: int, tops: Sequence[int], parts: Parts) -> int:
        """The same by our own server: from what the mountpoint is now, which stays below."""
        from .tree import kernel_checks  # what overlayfs does is started without it

        plain_tree = os.open(b".", _HERE, dir_fd=target)
        try:
            upper, work = ((), ()) if parts is None else (parts[:1], parts[1:])
            uppers = [*upper, *tops]
            uid, gid = os.geteuid(), os.getegid()
            vstat = self._wish.vstat
            arguments: dict[str, object] = {
                "mode": self._wish.mode,
                "uppers": len(uppers),
                "lowers": 1,
                "vstat": vstat,
            }
            if uid:
                arguments |= {"uids": [[uid, 1]], "gids": [[gid, 1]]}
            tree = await self._space.serve(
                TREE,
                arguments,
                [*uppers, plain_tree, *work],
                type="viewfs",
                source=self._source,
                root_mode=stat.S_IFDIR | stat.S_IMODE(os.fstat(target).st_mode),
                apart=True,
                unchecked=not kernel_checks(uid, vstat),
            )
            if uid and vstat:
                self.virtual.append(os.fstat(tree).st_dev)
            return tree
        finally:
            os.close(plain_tree)

    async def submounts(self, hidden: Container[bytes]) -> list[tuple[bytes, int]]:
        """What lies below the mountpoint, each as it is to be seen."""
        found: list[tuple[bytes, int]] = []
        whole: list[bytes] = []
        for path, mount in places.below(self._mounts, self._target):
            if mount.pseudo and any(places.relative(path, above) for above in whole):
                continue
            if self._served and mount.point in hidden:
                continue  # our server looks there, and is told that nothing is
            fd = seen(self._space, mount)
            if fd < 0:
                continue
            try:
                tree, with_all_below = await self._submount(fd, path, mount)
                found.append((path, tree))
                if with_all_below:
                    whole.append(path)
            finally:
                os.close(fd)
        return found

    async def _submount(self, fd: int, path: bytes, mount: places.Mount) -> tuple[int, bool]:
        """One of them, and whether it came with all that is mounted in it."""
        merges = self._wish.mode == "merge"
        if not (mount.pseudo or merges) and stat.S_ISDIR(os.fstat(fd).st_mode):
            try:
                return await self.overlay(fd, path), False
            except OSError as error:
                shown = os.fsdecode(mount.point)
                log.warning("%s is read-only in the view: %s", shown, error.strerror)
        with_all_below = False
        try:
            tree = await self._space.clone(fd, recursive=False)
        except OSError as error:
            # In an ordinary user's view what lies under a mount is not to be seen without it:
            # fs/namespace.c:has_locked_children().
            if error.errno != errno.EINVAL:
                raise
            tree, with_all_below = await self._space.clone(fd), True
        if not (mount.pseudo or merges):
            await self._space.change(tree, set=MOUNT_ATTR_RDONLY, recursive=False)
        return tree, with_all_below

    async def through(self, paths: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """Sockets that somebody listens at, and directories of such, as they are: a copy would lead
        nowhere.
        """
        found: list[tuple[bytes, int]] = []
        for path in paths:
            below = places.relative(path, self._target)
            try:
                fd = self._space.open(path, _SOCKET) if below else -1
            except OSError:
                continue
            if below and fd >= 0:
                try:
                    if stat.S_IFMT(os.fstat(fd).st_mode) in (stat.S_IFSOCK, stat.S_IFDIR):
                        found.append((below, await self._space.clone(fd, recursive=False)))
                finally:
                    os.close(fd)
        return found

    async def mask(self) -> list[tuple[bytes, int]]:
        """An empty directory where the layer itself would be seen, for it would eat itself."""
        if self._layer is None:
            return []
        path = places.relative(self._layer.path, self._target)
        if not path:
            return []
        like = os.fstat(self._layer.fd)
        return [(path, await plain.empty(self._space, like, MOUNT_ATTR_RDONLY))]


def _is_mapped(like: os.stat_result) -> bool:
    """Can overlayfs copy up what belongs to whom this belongs to?

    A directory of the user's and another group's is left to it where our server can't be had: at
    least what is new, and what has the user's own group, can be changed.
    """
    if os.geteuid() in (0, like.st_uid):
        ours = os.geteuid() == 0 or os.getegid() == like.st_gid
        return ours or not os.access("/dev/fuse", os.R_OK | os.W_OK)
    return False


def _layers(
    request: MountRequest, wish: Wish, like: os.stat_result, key: str
) -> tuple[LayerDir, list[int]]:
    """The layer that takes the changes, and directories of changes of those below it."""
    unnamed = False
    if wish.layers:
        first = _named(request, wish.layers[0])
    elif request.source in _NONE:
        first, unnamed = fresh(request.space, key), True
    else:
        first = _directory(request)
    _refuse_loop(first, request)
    layer = LayerDir.take(first, request.target, like, unnamed=unnamed)
    below: list[int] = []
    try:
        for text in wish.layers[1:]:
            fd = _named(request, text, must=True)
            try:
                below.append(os.open(b"upper", _READ | os.O_NOFOLLOW, dir_fd=fd))
            except OSError:
                raise OSError(errno.EINVAL, f"viewfs: {text} is no layer") from None
            finally:
                os.close(fd)
        layer.lies_on(wish.layers[1:])
    except BaseException:
        for fd in below:
            os.close(fd)
        layer.forget()
        raise
    return layer, below


def _named(request: MountRequest, text: str, *, must: bool = False) -> int:
    if not text.startswith("/"):
        return kept(request.space, text)
    path = os.fsencode(text)
    try:
        return request.open(path, _READ)
    except FileNotFoundError:
        if must:
            raise
    head, name = os.path.split(path.rstrip(b"/"))
    parent = request.open(head, _HERE)
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
        return os.open(name, _READ | os.O_NOFOLLOW, dir_fd=parent)
    finally:
        os.close(parent)


def _directory(request: MountRequest) -> int:
    """The source, which must be a directory."""
    shown = os.fsdecode(request.source)
    try:
        return request.open(request.source, _READ)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, f"viewfs: there is no {shown}") from None
    except NotADirectoryError:
        raise NotADirectoryError(errno.ENOTDIR, f"viewfs: {shown} is no directory") from None


def _refuse_loop(layer: int, request: MountRequest) -> None:
    """Raises OSError: ELOOP, the target lies in the layer."""
    path = os.readlink(b"/proc/self/fd/%d" % layer)
    if places.relative(request.target, path) is not None:
        os.close(layer)
        raise OSError(errno.ELOOP, f"viewfs: the layer {os.fsdecode(path)} contains the target")
