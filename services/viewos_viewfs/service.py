"""The service: which mode makes what was asked for, and what is remembered of it."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from viewosd import Return, Service, Tracee, Verdict, hook
from viewosd.abi.mount import MS_RDONLY
from viewosd.service import HookSpec, Work
from viewosd.space import Mounted, MountRequest, Space
from viewosd.syscalls.files import Getdents

from . import hidden, hide, plain, unsafe
from .creating import Creating
from .hidden import Hidden, Names
from .listing import list_without
from .made import UNDO_S, Made
from .making import Making
from .options import OVERLAID, Wish, invalid, parse
from .reaching import excepted
from .virtual_hooks import VirtualHooks

if TYPE_CHECKING:  # overlays and layers are imported by who asks for one: hiding starts sooner
    from .layerdir import LayerDir

log = logging.getLogger(__name__)


@dataclass
class Layered:
    """One mount, as far as something must be known of it later.

    Attributes:
        target, source, mode: as asked for.
        tree: what was made, to be mounted once more (``renew``); -1 if that is lost.
        layer: where its changes go.
        hidden: what it hides.
        devices: st_dev of its trees whose owners are virtual.
        request: that made it; None after a succession.
    """

    target: bytes
    source: bytes
    mode: str
    tree: int = -1
    layer: LayerDir | None = None
    hidden: Hidden | None = None
    devices: tuple[int, ...] = ()
    request: MountRequest | None = None


class ViewFs(VirtualHooks, Creating, Service):
    """Hides, moves, protects and overlays parts of the file tree."""

    name = "viewfs"
    mounts = ("viewfs",)

    def __init__(self) -> None:
        self.names, self.making = Names(), Making()
        self.mounted: list[Layered] = []
        self._covers = hide.Covers()
        self.key = secrets.token_hex(4)
        """In the names of layers that nobody named."""
        self._traps = self._traps_owners = self._unsure = False

    async def stop(self) -> None:
        """Let go of everything. Mounts that are left go with the view."""
        self._covers.close()
        self.making.close()
        unsafe.forget_threads()
        while self.mounted:
            await self._forget(self.mounted.pop())
        if "viewos_viewfs.layerdir" in sys.modules:
            from .layerdir import remove_leftovers

            with suppress(OSError):
                await remove_leftovers(self.key)

    # Mounts

    async def mount(self, request: MountRequest) -> int | None:
        """See docs/viewfs.md for the modes and their errors."""
        wish = parse(request.options, read_only=bool(request.flags & MS_RDONLY))
        if wish.renew and not wish.mode:
            return await self._renew(request)
        if wish.mode == "hide":
            return await self._hide(request)
        if wish.vstat and os.geteuid() and not self._traps_owners:
            self._traps_owners = True
            await self.rearm()
        made = await self._make(request, wish)
        record = Layered(request.target, request.source, wish.mode, layer=made.layer)
        record.request = request
        record.devices = tuple(made.devices)
        try:
            # What is below must be attached after it, and hidden names looked for in what is seen.
            here = bool(made.below) or (wish.mode in OVERLAID and bool(self.names.all))
            if here:
                await request.space.attach(made.tree, request.target_fd, made.below)
                await hide.look_again(request.space, self.names)
            record.tree = await request.space.clone(made.tree)
            tree = None if here else os.dup(made.tree)
        except BaseException:
            if record.tree >= 0:
                os.close(record.tree)
            with trio.move_on_after(UNDO_S, shield=True):
                await made.undo()
            raise
        made.close()
        self.mounted.append(record)
        self._know_devices()
        self.remember()
        return tree

    async def _make(self, request: MountRequest, wish: Wish) -> Made:
        if wish.mode in OVERLAID:
            from . import cow

            through = [os.fsencode(path) for path in self.view_places()]
            hidden = {place.path for one in self.names.all for place in one.places}
            return await cow.make(request, wish, through, hidden, key=self.key)
        kinds = {"ro": plain.read_only, "tmpfs": plain.tmpfs}
        made = Made(await kinds.get(wish.mode, plain.move)(request))
        try:
            made.below = await excepted(request.space, request.target_fd, wish.excepts)
            if wish.mode == "tmpfs":
                plain.make_points(made.tree, made.below)
        except BaseException:
            with trio.move_on_after(UNDO_S, shield=True):
                await made.undo()
            raise
        return made

    async def _renew(self, request: MountRequest) -> int:
        for record in reversed(self.mounted):
            is_asked = request.source in (b"", b"none", record.source)
            if record.target == request.target and is_asked and record.tree >= 0:
                return await request.space.clone(record.tree)
        raise invalid(f"nothing of viewfs is mounted on {os.fsdecode(request.target)}")

    async def _hide(self, request: MountRequest) -> int:
        if request.created:
            shown = os.fsdecode(request.target)
            raise FileNotFoundError(errno.ENOENT, f"viewfs: there is no {shown} to hide")
        found = await request.space.aside(hide.look, request)
        if not self._traps:
            # Before anything is mounted, for a name that is hidden must not be listed.
            self._traps = True
            await self.rearm()
        await hide.cover_others(request.space, self._covers, found)
        try:
            tree = await self._covers.copy(request.space, found.is_directory)
        except BaseException:
            with trio.move_on_after(UNDO_S, shield=True):
                await hide.uncover(request.space, [p.path for p in found.places[1:]])
            raise
        self.names.add(found)
        record = Layered(request.target, request.source, "hide", hidden=found, request=request)
        self.mounted.append(record)
        self.remember()
        return tree

    async def umounted(self, mounted: Mounted) -> None:
        """Forget it; a hidden file is seen everywhere again."""
        for record in reversed(self.mounted):
            if record.target == mounted.target:
                self.mounted.remove(record)
                await self._forget(record)
                if record.mode in OVERLAID:
                    with suppress(OSError):
                        await hide.look_again(self.the_space(), self.names)
                if record.devices:
                    self._know_devices()
                    self._traps_owners = bool(self.devices)
                    await self.rearm()
                self.remember()
                return

    def _know_devices(self) -> None:
        self.devices = frozenset(device for one in self.mounted for device in one.devices)

    async def _forget(self, record: Layered) -> None:
        if record.tree >= 0:
            os.close(record.tree)
        if record.hidden is not None:
            self.names.remove(record.hidden)
            with suppress(OSError):  # the view ends, and all of its mounts with it
                paths = [place.path for place in record.hidden.places[1:]]
                await hide.uncover(self.the_space(), paths)
        if record.layer is not None:
            await record.layer.release()

    def the_space(self) -> Space:
        space = self.view_space()
        if space is None:
            raise OSError(errno.EIO, "the view has no mounts")
        return space

    async def ask(self, what: str, arguments: Mapping[str, Any], pid: int) -> Work:
        """``diff``, ``commit`` and ``discard`` of the layers: layers/asking.py."""
        from .layers.asking import work

        layers = [
            (record.layer.path, record.target)
            for record in self.mounted
            if record.layer is not None
        ]
        return work(what, arguments, layers)

    # Hidden names

    @hook(Getdents)
    def list_directory(self, call: Getdents, tracee: Tracee) -> Verdict | None:
        """Nearly always a directory without hidden names: one system call tells."""
        if unsafe.inode_of(tracee.tid, call.fd) in self.names.inodes:
            self.look()
            names = self.names.listed.get((unsafe.device(), unsafe.last_inode()))
            if names is not None:
                return Return(list_without(call, tracee, names))
        return None

    def look(self) -> None:
        """After a succession: what was made of hidden names is what lies over them."""
        if self._unsure and (space := self.view_space()) is not None:
            self._unsure = False
            covered = hide.tops(space)
            for one in self.names.all:
                one.made = not covered.get(one.target, True)
            self.names.refresh()

    def hooks(self) -> list[tuple[HookSpec, Callable[[Any, Tracee], Any]]]:
        """None at all before something is hidden, or owned virtually."""
        return [
            (spec, method)
            for spec, method in super().hooks()
            if (self._traps_owners if hasattr(VirtualHooks, method.__name__) else self._traps)
        ]

    # Successors and branches

    def describe(self) -> Any:
        """What is mounted, in order."""
        told = [
            [
                record.target,
                record.source,
                record.mode,
                record.layer and [record.layer.path, record.layer.unnamed],
                record.hidden and record.hidden.describe(),
                list(record.devices),
            ]
            for record in self.mounted
            if record.request is None or record.request.attached
        ]
        return {
            "key": self.key,
            "mounted": told,
            "traps": self._traps,
            "traps_owners": self._traps_owners,
        }

    def restore(self, state: Any) -> None:
        """The mounts are there; take the layers again, and know the names."""
        self._traps, self._traps_owners = state["traps"], state["traps_owners"]
        self.key, self._unsure = state["key"], True
        for target, source, mode, layer, names, devices in state["mounted"]:
            record = Layered(target, source, mode, devices=tuple(devices))
            if layer is not None:
                record.layer = _again(*layer)
            if names is not None:
                record.hidden = hidden.restored(names)
                self.names.add(record.hidden)
            self.mounted.append(record)
        self._know_devices()


def _again(path: bytes, unnamed: bool) -> LayerDir | None:
    from .layerdir import LayerDir

    flags: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return LayerDir.again(os.open(path, flags), unnamed=unnamed)
    except OSError as error:
        log.warning("the layer %s is lost to us: %s", os.fsdecode(path), error.strerror)
        return None
