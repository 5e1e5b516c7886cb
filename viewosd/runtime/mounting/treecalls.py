"""open_tree(2), move_mount(2), mount_setattr(2): trees of mounts, copied, attached and changed.

For an ordinary user the agent does it, on what was opened as the caller. For root it is the
kernel's own business, but for trees that a service is to make (`contexts`) and permanent mounts.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import partial

from ...abi.fcntl import AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW
from ...abi.mount import (
    MOUNT_ATTR_IDMAP,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_BENEATH,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_F_SYMLINKS,
    MOVE_MOUNT_SET_GROUP,
    MOVE_MOUNT_T_EMPTY_PATH,
    MOVE_MOUNT_T_SYMLINKS,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    mount_attr,
)
from ...service import Bits, hook
from ...syscalls.mounts import OpenTree, mount_setattr, move_mount, open_tree_attr
from ...tracee import Tracee
from ...verdict import CONTINUE, InjectFd, Return, Verdict
from . import flags as ms
from . import options as opts
from .base import Body, Calls, opened, path_text
from .callers import Asking, mount_of, path_of
from .contexts import Tree
from .plain import Asked

_WALK = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW
_PAGE = 4096


class TreeCalls(Calls):
    """The hooks."""

    @hook(OpenTree, deadline_s=None, flags=Bits(OPEN_TREE_CLONE))
    async def on_open_tree(self, call: OpenTree, tracee: Tracee) -> Verdict:
        return await self.works.once(call, tracee, partial(self._open_tree, call, tracee))

    def _open_tree(self, call: OpenTree, tracee: Tracee) -> Verdict | Body:
        flags = int(call.flags)
        known = _WALK | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
        if not self.space.ordinary or flags & ~known or not self.may(tracee):
            return CONTINUE
        attr = b""
        if isinstance(call, open_tree_attr):
            attr = _attr(tracee, call.attr, call.usize)
        fd = self._opened(call.dirfd, call.path, flags, tracee)
        return partial(self._clone, fd, flags, attr)

    async def _clone(self, fd: int, flags: int, attr: bytes) -> Verdict:
        """A copy of what a descriptor is, for the tracee; the descriptor is ours to close."""
        try:
            inside = self.trees.find(fd)
            of = inside.fd if inside is not None and inside.fd >= 0 else fd
            served = self._may_block(fd)
            tree = await self.space.open_tree(of, flags & (OPEN_TREE_CLONE | AT_RECURSIVE))
            if attr:
                try:
                    await self.space.mount_setattr(tree, flags & AT_RECURSIVE, attr)
                except OSError:
                    os.close(tree)
                    raise
        finally:
            os.close(fd)
        cloexec = bool(flags & OPEN_TREE_CLOEXEC)
        if not served and stat.S_ISDIR(os.fstat(tree).st_mode):
            copy = os.dup(tree)
            try:
                given = self.trees.add(Tree(tree))
            except PermissionError:
                tree = copy
            else:
                os.close(copy)
                return InjectFd(given, cloexec)
        shown = await self.space.create("tmpfs", [("source", b"viewos")], MOUNT_ATTR_RDONLY)
        return InjectFd(self.trees.add(Tree(tree, shown)), cloexec)

    def _may_block(self, fd: int) -> bool:
        """Is it served by a program, which may be waiting for us?"""
        line = self.records.table().get(mount_of(fd))
        return line is None or line.type.startswith("fuse")

    def _opened(self, dirfd: int, address: int, flags: int, tracee: Tracee) -> int:
        """What an AT_* call names."""
        empty = bool(flags & AT_EMPTY_PATH)
        path = path_text(tracee, address, empty=empty)
        return opened(tracee, dirfd, path, empty=empty, follow=not flags & AT_SYMLINK_NOFOLLOW)

    @hook(move_mount, deadline_s=None)
    async def on_move_mount(self, call: move_mount, tracee: Tracee) -> Verdict:
        return await self.works.once(call, tracee, partial(self._move_mount, call, tracee))

    def _move_mount(self, call: move_mount, tracee: Tracee) -> Verdict | Body:
        if not self.may(tracee):
            return CONTINUE
        flags = int(call.flags)
        empty, follow = bool(flags & MOVE_MOUNT_F_EMPTY_PATH), bool(flags & MOVE_MOUNT_F_SYMLINKS)
        path = path_text(tracee, call.from_path, empty=empty)
        source = opened(tracee, call.from_dirfd, path, empty=empty, follow=follow)
        try:
            tree = self.trees.find(source)
            if tree is None:
                self.mounter.refuse_permanent(mount_of(source))
                tree = Tree(os.dup(source))
                tree.is_the_kernels = not self.space.ordinary
        finally:
            os.close(source)
        empty, follow = bool(flags & MOVE_MOUNT_T_EMPTY_PATH), bool(flags & MOVE_MOUNT_T_SYMLINKS)
        path = path_text(tracee, call.to_path, empty=empty)
        try:
            target = opened(tracee, call.to_dirfd, path, empty=empty, follow=follow)
        except FileNotFoundError:
            if not path:
                raise
            target = -1
        if target >= 0 and tree.is_the_kernels:
            os.close(target)
            tree.close()
            return CONTINUE
        asked = Asked(None, None, tracee.path_of(call.to_dirfd, path) if path else b"", 0, b"")
        tree.flags = flags & (MOVE_MOUNT_BENEATH | MOVE_MOUNT_SET_GROUP)
        return partial(self.for_tracee, self._attach, tree, asked, target, Asking(tracee))

    async def _attach(self, tree: Tree, asked: Asked, target: int, caller: Asking) -> None:
        """Attach a tree; ``target`` is ours to close."""
        try:
            if tree.context is None:
                await self.mounter.attach(tree.fd, asked, caller, target, tree.flags)
            else:
                context = tree.context
                asked.type, asked.source = context.type, context.source
                asked.flags, rest = ms.from_words(context.options)
                asked.flags |= ms.from_attributes(tree.attributes)
                asked.data = opts.join(rest)
                if not asked.target:
                    asked.target = path_of(target)
                await self.mounter.mount(asked, caller, target)
        finally:
            if target >= 0:
                os.close(target)
        self.trees.drop(tree)
        self.look()

    def look(self) -> None:
        """There may be a record from now on."""

    @hook(mount_setattr, deadline_s=None)
    async def on_mount_setattr(self, call: mount_setattr, tracee: Tracee) -> Verdict:
        return await self.works.once(call, tracee, partial(self._mount_setattr, call, tracee))

    def _mount_setattr(self, call: mount_setattr, tracee: Tracee) -> Verdict | Body:
        flags = int(call.flags)
        if not (self.space.ordinary or self.trees) or flags & ~(_WALK | AT_RECURSIVE):
            return CONTINUE
        if not self.may(tracee):
            return CONTINUE
        attr = _attr(tracee, call.attr, call.usize)
        fd = self._opened(call.dirfd, call.path, flags, tracee)
        tree = self.trees.find(fd)
        if tree is not None and tree.context is not None:
            os.close(fd)
            words = mount_attr.unpack(attr[: mount_attr.sizeof])
            tree.attributes = tree.attributes & ~words.attr_clr | words.attr_set
            return Return(0)
        if tree is not None:
            os.close(fd)
            fd = os.dup(tree.fd)
        elif not self.space.ordinary:
            os.close(fd)
            return CONTINUE
        return partial(self._change, fd, flags & AT_RECURSIVE, attr)

    async def _change(self, fd: int, flags: int, attr: bytes) -> Verdict:
        """mount_setattr(2) of what a descriptor is; it is ours to close."""
        try:
            await self.space.mount_setattr(fd, flags, attr)
        finally:
            os.close(fd)
        return Return(0)


def _attr(tracee: Tracee, address: int, size: int) -> bytes:
    """A struct mount_attr of any size: fs/namespace.c:wants_mount_setattr().

    Raises:
        OSError: E2BIG, EINVAL; EPERM, an idmapping, which names a descriptor of the tracee's and is
            not for an ordinary user's mounts.
    """
    if size > _PAGE:
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
    if size < mount_attr.sizeof:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    attr = tracee.read(address, size)
    if mount_attr.unpack(attr[: mount_attr.sizeof]).attr_set & MOUNT_ATTR_IDMAP:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    return attr
