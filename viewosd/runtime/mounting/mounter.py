"""What a mount and an umount are in a view, whoever asks: a tracee, a client, viewos-run."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterable
from typing import Any, Final, Protocol

import trio

from ...abi.mount import MNT_EXPIRE, MS_BIND, MS_MOVE, UMOUNT_NOFOLLOW
from ...service import Service
from ...space import Mounted, MountRequest
from . import flags as ms
from . import options as opts
from . import points
from .callers import Caller, mount_of, path_of, to_unmount
from .calls import MountCalls
from .plain import Asked, Plain, needs_device
from .records import Record, Records

log = logging.getLogger("viewosd")


_KIN: Final = {"ext3": "ext2", "ext4": "ext2", "vfat": "fat", "msdos": "fat"}
"""Types of which one name stands for all."""
_SAID: Final = 16
"""How many reasons are kept; most are never asked for."""


class View(Protocol):
    """A view, as far as mounting must know it: its services in search order, and whether only a
    capability lets somebody mount who is inside.
    """

    secure: bool

    @property
    def services(self) -> Iterable[Any]: ...


class Mounter:
    """Mounts and unmounts in one view.

    Args:
        view, space: where.
        records: of this view.
    """

    def __init__(self, view: View, space: MountCalls, records: Records) -> None:
        self.view, self.space, self.records = view, space, records
        self.plain = Plain(space, (os.geteuid(), os.getegid()) if space.ordinary else None)
        self._attaching = trio.Lock()
        self.aliases: dict[str, str] = {}
        """Other names of types; what one stands for may be an alias in turn."""
        self.said: dict[bytes, str] = {}
        """Why mounts failed, by the mountpoint as it was written, where an errno says less."""

    def alias(self, name: str, type: str) -> None:
        """Let a name stand for a type; "" lets it stand for itself again.

        Raises:
            OSError: ELOOP, it would stand for itself by way of others.
        """
        before = self.aliases.pop(name, None)
        if not type:
            return
        if self.real(type) == name:
            if before is not None:
                self.aliases[name] = before
            raise OSError(errno.ELOOP, f"{type} stands for {name}")
        self.aliases[name] = type

    def real(self, type: str) -> str:
        """The type that a name stands for."""
        while type in self.aliases:
            type = self.aliases[type]
        return type

    def offering(self, type: str | None) -> Service | None:
        """The first service, in search order, that has a mount type."""
        type = type and self.real(type)
        for loaded in self.view.services:
            service: Service = loaded.service
            if type in service.mounts:
                return service
        return None

    async def mount(self, asked: Asked, caller: Caller, target: int = -1) -> None:
        """Mount something.

        Args:
            target: a descriptor of the mountpoint where ``asked.target`` does not say it; it stays
                the caller's.

        Raises:
            OSError: what mount(2) fails with.
        """
        try:
            await self._mount(asked, caller, target)
        except OSError as error:
            text = str(error.strerror)
            if text != os.strerror(error.errno or 0):  # else mount(8) says as much
                where = os.fsdecode(asked.target)
                log.warning("mount -t %s on %s: %s", asked.type or "none", where, text)
                self.said[asked.target] = text
                if len(self.said) > _SAID:
                    del self.said[next(iter(self.said))]
            self._hint(asked, error)
            raise

    async def _mount(self, asked: Asked, caller: Caller, given: int) -> None:
        asked.data, permanent = opts.take(asked.data, opts.PERMANENT)
        asked.type = asked.type and self.real(asked.type)
        service = self.offering(asked.type) if ms.is_new(asked.flags) else None
        source, target, point = -1, -1, None
        try:
            if ms.has_source(asked.flags):
                source = await self._source(asked, caller)
            is_file = source >= 0 and not await self._is_directory(source)
            try:
                if given < 0:
                    target = await self.space.aside(caller.open, asked.target, os.O_PATH)
                else:
                    target = os.dup(given)
            except FileNotFoundError:
                if not ms.makes_a_mount(asked.flags):
                    raise
                point = await points.make(
                    asked.target, is_file, caller, self.space, self.records.begin
                )
                target = await self._at(point.path)
                if source >= 0:
                    # Of the tree as it is now: what was root when it was opened may not be so.
                    os.close(source)
                    source = -1
                    source = await self._source(asked, caller)
            record: Record | None
            if service is not None:
                record = await self._serve(service, asked, caller, target, point, permanent)
            else:
                async with self._attaching:
                    await self.plain.mount(asked, source, target, caller)
                    record = await self._noted(asked, path_of(target), point, permanent)
            if record is not None:
                self.records.add(record)
        except BaseException:
            if point is not None:
                with trio.CancelScope(shield=True):
                    await points.remove(point, self.space)
            raise
        finally:
            for fd in (source, target):
                if fd >= 0:
                    os.close(fd)
        if not ms.makes_a_mount(asked.flags):
            await self.records.reconcile()  # moved

    async def attach(
        self, tree: int, asked: Asked, caller: Caller, given: int, flags: int = 0
    ) -> None:
        """Attach a tree that somebody has made, or move one: move_mount(2).

        Args:
            given: a descriptor of the mountpoint; -1: it is missing. Both stay the caller's.
            flags: MOVE_MOUNT_BENEATH and MOVE_MOUNT_SET_GROUP.
        """
        point, target = None, -1
        try:
            if given < 0:
                is_file = not await self._is_directory(tree)
                point = await points.make(
                    asked.target, is_file, caller, self.space, self.records.begin
                )
                target = await self._at(point.path)
            await self.space.move_mount(tree, given if target < 0 else target, flags)
        except BaseException:
            if point is not None:
                with trio.CancelScope(shield=True):
                    await points.remove(point, self.space)
            raise
        finally:
            if target >= 0:
                os.close(target)
        if point is not None:
            request = self._request(asked, point.path, -1, None)
            mounted = Mounted(self.records.next_id(), request, False)
            self.records.add(Record(mounted, "", mount_of(tree), point))
        await self.records.reconcile()

    async def _at(self, path: bytes) -> int:
        """What lies on top at a path of the view."""
        return await self.space.aside(self.space.open, path, os.O_PATH | os.O_NOFOLLOW)

    async def _is_directory(self, fd: int) -> bool:
        return stat.S_ISDIR((await self.space.aside(os.fstat, fd)).st_mode)

    async def _source(self, asked: Asked, caller: Caller) -> int:
        if not asked.source:
            raise OSError(errno.EINVAL, "nothing to bind or to move was named")
        source = await self.space.aside(caller.open, asked.source, os.O_PATH)
        if asked.flags & MS_MOVE and not asked.flags & MS_BIND:
            try:
                self.refuse_permanent(mount_of(source))
            except OSError:
                os.close(source)
                raise
        return source

    async def _noted(
        self, asked: Asked, path: bytes, point: points.Point | None, permanent: bool
    ) -> Record | None:
        """The record of a plain mount that must be known of."""
        if not ms.makes_a_mount(asked.flags) or not (permanent or point):
            return None
        request = self._request(asked, path, -1, None)
        mounted = Mounted(self.records.next_id(), request, permanent)
        return Record(mounted, "", await self._top(path), point)

    async def _top(self, path: bytes) -> int:
        """The mount that lies on top at a path of the view."""
        fd = await self._at(path)
        try:
            return mount_of(fd)
        finally:
            os.close(fd)

    def _request(
        self, asked: Asked, path: bytes, target: int, caller: Caller | None
    ) -> MountRequest:
        def nobody(path: bytes, flags: int) -> int:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

        return MountRequest(
            asked.type or "none",
            asked.source or b"",
            path,
            target,
            asked.flags & ~ms.OF_MOUNTPOINT,
            opts.split(asked.data),
            self.space,
            nobody if caller is None else caller.open,
        )

    async def _serve(
        self,
        service: Service,
        asked: Asked,
        caller: Caller,
        target: int,
        point: points.Point | None,
        permanent: bool,
    ) -> Record:
        """Have a service make it, and attach what it made."""
        path, before = path_of(target), mount_of(target)
        request = self._request(asked, path, target, caller)
        request.created = point is not None
        tree = await service.mount(request)
        mounted = Mounted(self.records.next_id(), request, permanent)
        try:
            async with self._attaching:
                if tree is None:
                    mount = await self._top(path)
                    mount = 0 if mount == before else mount
                else:
                    mount = await self._attach(tree, asked, target, point)
        except BaseException:
            if tree is not None:
                os.close(tree)  # first: who serves it ends with it
            with trio.CancelScope(shield=True):
                await service.umounted(mounted)
            raise
        if tree is not None:
            os.close(tree)
        request.attached = True
        return Record(mounted, service.name, mount, point)

    async def _attach(
        self, tree: int, asked: Asked, target: int, point: points.Point | None
    ) -> int:
        if attributes := ms.attributes(asked.flags):
            await self.space.change(tree, set=attributes)
        if point is not None and not await self._is_directory(tree):
            await self.space.aside(point.become_file)
            there = await self._at(point.path)
            os.dup2(there, target, inheritable=False)
            os.close(there)
        await self.space.attach(tree, target)
        return mount_of(tree)

    def refuse_permanent(self, mount: int) -> None:
        """Raises OSError: EBUSY, a permanent mount would go with this one."""
        if self.records.permanent_below(mount):
            raise OSError(errno.EBUSY, "it is permanent, or something in it is")

    async def umount(self, path: bytes, flags: int, caller: Caller) -> None:
        """Take away what was mounted last at a path.

        Raises:
            OSError: what umount2(2) fails with.
        """
        where, mount = await self._place(path, flags, caller)
        line = self.records.line(mount)
        if line is None or line.point != where:
            if (record := self.records.unattached_at(where)) is None:
                raise OSError(errno.EINVAL, "nothing is mounted there")
            if record.mounted.permanent:
                raise OSError(errno.EBUSY, "it is permanent")
            await self.records.drop([record])
            return
        self.refuse_permanent(mount)
        # There is no umount by descriptor: one would keep it busy. The name was made by the kernel.
        gone = self.records.with_it(mount, flags)
        await self.space.umount(where, flags | UMOUNT_NOFOLLOW)
        await self.records.drop(gone)

    async def _place(self, path: bytes, flags: int, caller: Caller) -> tuple[bytes, int]:
        """Where a path leads in the view, and the mount that lies there."""
        name = os.path.basename(path)
        if flags & MNT_EXPIRE and name not in (b"", b".", b".."):
            # To look at it is to use it, and what has been used has not expired.
            head = os.path.dirname(path) or b"."
            fd = await self.space.aside(caller.open, head, os.O_PATH | os.O_DIRECTORY)
            try:
                where = path_of(fd).rstrip(b"/") + b"/" + name
            finally:
                os.close(fd)
            there = [line.id for line in self.records.table().values() if line.point == where]
            return where, there[-1] if there else 0
        fd = await self.space.aside(to_unmount, caller.open, path, flags)
        try:
            return path_of(fd), mount_of(fd)
        finally:
            os.close(fd)

    def _hint(self, asked: Asked, error: OSError) -> None:
        """A type that root alone may mount may have another for everybody."""
        if error.errno != errno.EPERM or not self.space.ordinary or not asked.type:
            return
        self.hint(asked.type)

    def hint(self, type: str) -> None:
        """Say which of our types serves what a block type would."""
        if not needs_device(type):
            return
        for loaded in self.view.services:
            for name in loaded.service.mounts:
                if name.startswith("um") and name.endswith((type, _KIN.get(type, type))):
                    log.warning("an ordinary user can't mount %s; try mount -t %s", type, name)
                    return
