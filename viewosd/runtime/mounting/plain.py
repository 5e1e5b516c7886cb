"""Mounts of the kernel's own types, made by the agent with the rights of the view's owner.

What was named is opened as the caller, and mounted by descriptor. A new file system of an ordinary
user is nosuid and nodev; what is bound keeps the attributes that it has: its files are to be had
under their old names too. Errors are the kernel's.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ...abi.mount import MS_NODEV, MS_NOSUID, MS_RDONLY
from . import flags as ms
from . import options as opts
from .callers import Caller, path_of
from .calls import MountCalls, Text

log = logging.getLogger("viewosd")

_OVERLAY_DIRS = ("lowerdir", "upperdir", "workdir")


class Asked:
    """The words of a mount, as mount(2) has them: ``data`` without what is ours."""

    def __init__(
        self, type: str | None, source: bytes | None, target: bytes, flags: int, data: bytes
    ) -> None:
        self.type, self.source, self.target = type, source, target
        self.flags, self.data = flags, data


class Plain:
    """Mounts plain types.

    Args:
        ids: uid and gid of the view's owner where it is an ordinary user's: no others are mapped.
    """

    def __init__(self, space: MountCalls, ids: tuple[int, int] | None) -> None:
        self._space, self._ids = space, ids

    async def mount(self, asked: Asked, source: int, target: int, caller: Caller) -> None:
        """Do it.

        Args:
            source: a descriptor of it where it is bound or moved, else -1.
        """
        type, text = asked.type, _text(asked.source)
        if not ms.is_new(asked.flags):
            if source >= 0:
                text = [b"/proc/self/fd/", source]
            name = os.fsencode(type) if type else None
            await self._space.mount(text, target, name, asked.flags, _text(asked.data or None))
            return
        if not type:
            raise OSError(errno.EINVAL, "a new mount needs a type")
        flags = asked.flags | (MS_NOSUID | MS_NODEV if self._ids else 0)
        if is_fuse(type):
            with self._fuse_data(asked.data, caller) as data:
                await self._space.mount(text, target, os.fsencode(type), flags, data)
        elif type == "overlay":
            await self._overlay(asked, flags, target, caller)
        else:
            try:
                words = _text(asked.data or None)
                await self._space.mount(text, target, os.fsencode(type), flags, words)
            except OSError as error:
                raise await self._explained(asked, error) from None

    @contextmanager
    def _fuse_data(self, data: bytes, caller: Caller) -> Iterator[Text]:
        """The options with the caller's descriptor of /dev/fuse as one of ours."""
        given = self.fuse_options(opts.split(data))
        number = next((value for name, value in given if name == "fd"), "")
        rest = opts.join([one for one in given if one[0] != "fd"])
        if not number.isdecimal():
            raise OSError(errno.EINVAL, "fuse needs fd=, an open /dev/fuse")
        ours = caller.fd(int(number))
        try:
            yield [b"fd=", ours, b"," + rest if rest else b""]
        finally:
            os.close(ours)

    def fuse_options(self, given: opts.Options) -> opts.Options:
        """fuse's options with a user that is mapped: fs/fuse/inode.c:fuse_parse_param()."""
        if self._ids is None:
            return given
        return opts.set_numbers(
            given, {"user_id": str(self._ids[0]), "group_id": str(self._ids[1])}
        )

    async def _overlay(self, asked: Asked, flags: int, target: int, caller: Caller) -> None:
        """overlayfs, its directories opened as the caller.

        By descriptor where the kernel takes them (6.13). Before, by the names that they have in the
        view, which is also what is shown; the owner could change what these mean meanwhile, for
        itself alone.
        """
        given = opts.split(asked.data, raw=True)
        if self._ids and ("userxattr", "") not in given:
            given.append(("userxattr", ""))
        with ExitStack() as held:
            by_fd: list[tuple[str, str | bytes | int | None]] = []
            by_name: opts.Options = []

            def opened(path: str) -> int:
                fd = caller.open(os.fsencode(path), os.O_PATH | os.O_DIRECTORY)
                held.callback(os.close, fd)
                return fd

            for name, value in given:
                if name not in _OVERLAY_DIRS:
                    value = opts.plain(value)
                    by_fd.append((name, value or None))
                    by_name.append((name, value))
                    continue
                try:
                    layers = opts.layers(value) if name == "lowerdir" else [opts.plain(value)]
                except ValueError:
                    raise OSError(errno.EINVAL, "data-only layers are not supported here") from None
                fds = [opened(path) for path in layers]
                key = "lowerdir+" if name == "lowerdir" else name
                by_fd += [(key, fd) for fd in fds]
                texts = [os.fsdecode(path_of(fd)) for fd in fds]
                if name == "lowerdir":
                    texts = [":".join(map(opts.layer_text, texts))]
                by_name.append((name, texts[0]))
            by_fd.append(("source", asked.source or b"overlay"))
            if flags & MS_RDONLY:
                by_fd.append(("ro", None))
            try:
                tree = await self._space.create("overlay", by_fd, ms.attributes(flags))
            except OSError as error:
                log.info("overlay by descriptor: %s", error)
                data = opts.join(by_name)
                await self._space.mount(_text(asked.source), target, b"overlay", flags, [data])
                return
            try:
                await self._space.attach(tree, target)
            finally:
                os.close(tree)

    async def _explained(self, asked: Asked, error: OSError) -> OSError:
        """mount(2) says a number only; fsconfig(2) would have said why: ask it."""
        assert asked.type is not None
        if error.errno != errno.EINVAL:
            return error
        given: list[tuple[str, str | bytes | int | None]] = [
            (name, value or None) for name, value in opts.split(asked.data)
        ]
        if asked.source:
            given.append(("source", asked.source))
        try:
            os.close(await self._space.create(asked.type, given))
        except OSError as why:
            return OSError(error.errno, str(why.strerror or why))
        return error


def is_fuse(type: str) -> bool:
    """Is it served by the caller's own /dev/fuse?"""
    return type in ("fuse", "fuseblk") or type.startswith(("fuse.", "fuseblk."))


def needs_device(type: str) -> bool:
    """Is it a type for block devices, as far as this kernel has it loaded? proc(5)."""
    with open("/proc/filesystems") as file:
        return any(line.split() == [type] for line in file)


def _text(value: bytes | None) -> Text | None:
    return None if value is None else [value]
