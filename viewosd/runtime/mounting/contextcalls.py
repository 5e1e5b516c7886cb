"""fsopen(2), fsconfig(2), fsmount(2), fspick(2): file systems that are described step by step.

A plain type of an ordinary user is a context of the kernel's, made by the agent; the tracee sets
its parameters itself, and what wants rights is done by the agent on a duplicate. A type of a
service, and an ordinary user's fuse (its descriptor and its ids must be looked at), is a stand-in:
`contexts`. Of those fsmount(2) gives a tree that is made when move_mount(2) says where.
"""

from __future__ import annotations

import errno
import logging
import os
from functools import partial

from ...abi.fcntl import AT_FDCWD
from ...abi.mount import (
    FSCONFIG_CMD_CREATE,
    FSCONFIG_CMD_CREATE_EXCL,
    FSCONFIG_CMD_RECONFIGURE,
    FSCONFIG_SET_BINARY,
    FSCONFIG_SET_FD,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_PATH,
    FSCONFIG_SET_PATH_EMPTY,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    FSPICK_CLOEXEC,
    FSPICK_EMPTY_PATH,
    FSPICK_NO_AUTOMOUNT,
    FSPICK_SYMLINK_NOFOLLOW,
    MOUNT_ATTR_RDONLY,
)
from ...service import hook
from ...syscalls.mounts import fsconfig, fsmount, fsopen, fspick
from ...tracee import Tracee
from ...verdict import CONTINUE, InjectFd, Return, Verdict
from .base import Body, Calls, opened, path_text
from .contexts import Context, Tree
from .plain import is_fuse, needs_device

log = logging.getLogger("viewosd")

_COMMANDS = (FSCONFIG_CMD_CREATE, FSCONFIG_CMD_CREATE_EXCL, FSCONFIG_CMD_RECONFIGURE)
_KEY = 256  # fs/fsopen.c: strndup_user(_key, 256)


class ContextCalls(Calls):
    """The hooks."""

    @hook(fsopen, deadline_s=None)
    async def on_fsopen(self, call: fsopen, tracee: Tracee) -> Verdict:
        return await self.works.once(call, tracee, partial(self._fsopen, call, tracee))

    def _fsopen(self, call: fsopen, tracee: Tracee) -> Verdict | Body:
        if not self.may(tracee):
            return self.theirs(_string(tracee, call.fs_name, 4096), tracee)
        if call.flags & ~FSOPEN_CLOEXEC:
            return CONTINUE
        type = os.fsdecode(_string(tracee, call.fs_name, 4096))
        service = self.mounter.offering(type)
        cloexec = bool(call.flags & FSOPEN_CLOEXEC)
        if service is not None or (self.space.ordinary and is_fuse(type)):
            return InjectFd(self.contexts.make(type, service), cloexec)
        if not self.space.ordinary:
            return CONTINUE
        if needs_device(type):
            self.mounter.hint(type)
            raise _error(errno.EPERM)

        async def make() -> Verdict:
            context = await self.space.fsopen(os.fsencode(type))
            if type == "overlay":
                await self.space.fsconfig(context, FSCONFIG_SET_FLAG, b"userxattr")
            return InjectFd(context, cloexec)

        return make

    @hook(fsconfig, deadline_s=None)
    async def on_fsconfig(self, call: fsconfig, tracee: Tracee) -> Verdict:
        return await self.works.once(call, tracee, partial(self._fsconfig, call, tracee))

    def _fsconfig(self, call: fsconfig, tracee: Tracee) -> Verdict | Body:
        command = call.cmd in _COMMANDS
        theirs = command and self.space.ordinary  # the kernel's own context
        if call.fd < 0 or not (theirs or self.contexts) or not self.may(tracee):
            return CONTINUE
        with tracee.fd(call.fd) as fd:
            context = self.contexts.find(fd)
            if context is None:
                if not theirs or call.key or call.value or call.aux:
                    return CONTINUE
                return partial(self._command, os.dup(fd), int(call.cmd))
        if not command:
            self._set(context, call, tracee)
            return Return(0)
        if call.key or call.value or call.aux:
            raise _error(errno.EINVAL)
        if call.cmd == FSCONFIG_CMD_RECONFIGURE or context.created:
            raise _error(errno.EBUSY)
        return partial(self._create, context)

    async def _command(self, fd: int, cmd: int) -> Verdict:
        """A command on a context of the kernel's; the descriptor is ours to close."""
        try:
            await self.space.fsconfig(fd, cmd)
        finally:
            os.close(fd)
        return Return(0)

    def _set(self, context: Context, call: fsconfig, tracee: Tracee) -> None:
        """One parameter of a stand-in, checked as fs/fsopen.c:fsconfig() does."""
        cmd, aux = call.cmd, call.aux
        paths = (FSCONFIG_SET_PATH, FSCONFIG_SET_PATH_EMPTY)
        if cmd not in (FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_SET_FD, *paths):
            raise _error(errno.EINVAL if cmd == FSCONFIG_SET_BINARY else errno.EOPNOTSUPP)
        valued = cmd not in (FSCONFIG_SET_FLAG, FSCONFIG_SET_FD)
        wrong_aux = aux < 0 if cmd == FSCONFIG_SET_FD else cmd not in paths and aux != 0
        if not call.key or bool(call.value) != valued or wrong_aux:
            raise _error(errno.EINVAL)
        if cmd in paths and aux != AT_FDCWD and aux < 0:
            raise _error(errno.EINVAL)
        name = os.fsdecode(_string(tracee, call.key, _KEY))
        if cmd == FSCONFIG_SET_FD or (name == "fd" and context.service is None):
            if context.service is not None or name != "fd":
                raise context.complain(f"{context.type}: {name} takes no descriptor")
            text = "" if cmd == FSCONFIG_SET_FD else _string(tracee, call.value, _KEY).decode()
            if text and not text.isdecimal():
                raise context.complain("fuse: fd is no number")
            with tracee.fd(int(text) if text else aux) as fd:
                if context.device >= 0:
                    os.close(context.device)
                context.device = os.dup(fd)
        elif cmd in paths:
            path = path_text(tracee, call.value, empty=cmd == FSCONFIG_SET_PATH_EMPTY)
            context.set(name, os.fsdecode(tracee.path_of(aux, path) if path else b""))
        else:
            value = os.fsdecode(_string(tracee, call.value, _KEY)) if valued else ""
            context.set(name, value)

    async def _create(self, context: Context) -> Verdict:
        if context.service is None:
            if context.device < 0:
                raise context.complain("fuse: no fd specified")
            given: list[tuple[str, str | bytes | int | None]] = [("fd", context.device)]
            given.append(("source", context.source or b"fuse"))
            options = self.mounter.plain.fuse_options(context.options)
            given += [(name, value or None) for name, value in options]
            try:
                context.tree = await self.space.create(context.type.partition(".")[0], given)
            except OSError as error:
                log.warning("fuse: %s", error.strerror)
                context.tell(str(error.strerror))
                raise
        context.created = True
        return Return(0)

    @hook(fsmount, deadline_s=None)
    async def on_fsmount(self, call: fsmount, tracee: Tracee) -> Verdict:
        return await self.works.once(call, tracee, partial(self._fsmount, call, tracee))

    def _fsmount(self, call: fsmount, tracee: Tracee) -> Verdict | Body:
        if call.flags & ~FSMOUNT_CLOEXEC or not (self.space.ordinary or self.contexts):
            return CONTINUE
        if not self.may(tracee):
            return CONTINUE
        attr, cloexec = int(call.attr_flags), bool(call.flags & FSMOUNT_CLOEXEC)
        with tracee.fd(call.fs_fd) as fd:
            context = self.contexts.find(fd)
            if context is not None:
                return partial(self._stand_in, context, attr, cloexec)
            return (
                partial(self._tree, os.dup(fd), attr, cloexec) if self.space.ordinary else CONTINUE
            )

    async def _tree(self, context: int, attr: int, cloexec: bool) -> Verdict:
        """A tree of a context of the kernel's; the descriptor is ours to close."""
        try:
            tree = await self.space.fsmount(context, 0, attr)
        finally:
            os.close(context)
        return InjectFd(self.trees.add(Tree(tree)), cloexec)

    async def _stand_in(self, context: Context, attr: int, cloexec: bool) -> Verdict:
        if not context.created or context.mounted:
            raise _error(errno.EBUSY)
        shown = await self.space.create("tmpfs", [("source", b"viewos")], MOUNT_ATTR_RDONLY)
        if context.service is None:
            tree, context.tree = Tree(context.tree, shown), -1
            await self.space.change(tree.fd, set=attr)
        else:
            if ("ro", "") in context.options:
                attr |= MOUNT_ATTR_RDONLY
            tree = Tree(-1, shown, context, attr)
        context.mounted = True
        return InjectFd(self.trees.add(tree), cloexec)

    @hook(fspick, deadline_s=None)
    async def on_fspick(self, call: fspick, tracee: Tracee) -> Verdict:
        return await self.works.once(call, tracee, partial(self._fspick, call, tracee))

    def _fspick(self, call: fspick, tracee: Tracee) -> Verdict | Body:
        known = FSPICK_CLOEXEC | FSPICK_SYMLINK_NOFOLLOW | FSPICK_NO_AUTOMOUNT | FSPICK_EMPTY_PATH
        if not self.space.ordinary or call.flags & ~known or not self.may(tracee):
            return CONTINUE
        empty = bool(call.flags & FSPICK_EMPTY_PATH)
        follow = not call.flags & FSPICK_SYMLINK_NOFOLLOW
        path = path_text(tracee, call.path, empty=empty)
        fd = opened(tracee, call.dirfd, path, empty=empty, follow=follow)

        async def pick() -> Verdict:
            try:
                context = await self.space.fspick(fd)
            finally:
                os.close(fd)
            return InjectFd(context, bool(call.flags & FSPICK_CLOEXEC))

        return pick


def _string(tracee: Tracee, address: int, most: int) -> bytes:
    """Raises OSError: EINVAL, it is longer: mm/util.c:strndup_user()."""
    try:
        return tracee.read_str(address, most)
    except OSError as error:
        raise _error(errno.EINVAL if error.errno == errno.ENAMETOOLONG else error.errno) from None


def _error(code: int | None) -> OSError:
    return OSError(code, os.strerror(code or errno.EIO))
