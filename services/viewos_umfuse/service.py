"""The service: who serves what was asked for."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from typing import Any, Final

from viewosd import Service
from viewosd.abi.mount import MOUNT_ATTR_RDONLY, MS_RDONLY
from viewosd.space import Mounted, MountRequest

from . import options
from .options import Wish
from .programs import ARCHIVE, PACKAGES, PROGRAMS, Program

log = logging.getLogger(__name__)

_HERE: Final = __package__
_SIZES: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class UmFuse(Service):
    """File systems in user space: FUSE programs as they are, and trees of our own"""

    name = "umfuse"
    mounts = (*PROGRAMS, "umfusearchive", "umfuseram", "umfuseramfile", "umfusereal", "umfuse")

    async def mount(self, request: MountRequest) -> int | None:
        """See docs/umfuse.md for the types, their options and errors."""
        wish = options.parse(request.options, readonly=bool(request.flags & MS_RDONLY))
        if request.type in ("umfuseram", "umfuseramfile"):
            return await _ram(request, wish)
        if request.type == "umfusereal":
            return await _real(request, wish)
        if request.type == "umfusearchive" and not wish.writable and _has_library():
            return await _archive(request, wish)
        return await _hosted(request, wish)

    async def umounted(self, mounted: Mounted) -> None:
        """Umount has waited until the program has written back what it had."""
        space = self.view_space()
        if mounted.keep is not None and space is not None:
            await space.ended(mounted.keep)


# Programs


def _program(request: MountRequest, wish: Wish) -> Program:
    if wish.prog and request.type != "umfuse":
        raise options.invalid(f"{request.type} has its program; prog= goes with umfuse")
    if request.type == "umfuse":
        if not wish.prog:
            raise options.invalid("which program? prog=NAME")
        return Program(wish.prog, "", image=False, everybody=False)
    return ARCHIVE if request.type == "umfusearchive" else PROGRAMS[request.type]


async def _hosted(request: MountRequest, wish: Wish) -> int:
    program = _program(request, wish)
    if request.target == b"/":
        raise OSError(errno.EBUSY, "umfuse: a program can't mount over the root directory")
    if request.type != "umfuse":
        # A descriptor of the path is not asked of who serves it: that may take long.
        here = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        os.close(os.open(f"/proc/self/fd/{request.target_fd}", here))
    source, is_image = await request.space.aside(_source, request, wish, program)
    if wish.writable and not program.writes and program.image:
        raise OSError(errno.EROFS, f"umfuse: {program.name} can only read")
    lock = 0
    if is_image:
        lock = fcntl.LOCK_EX if wish.writable else fcntl.LOCK_SH
    owner = os.geteuid(), os.getegid()
    words = options.command(program, wish, os.fsdecode(source), os.fsdecode(request.target), owner)
    what = f"{request.type} on {os.fsdecode(request.target)}"
    if wish.showcall:
        log.info("%s: %s", what, options.shown(words))
    reads = source if source.startswith(b"/") and not wish.nosource else None
    try:
        tree, where = await request.space.host(
            words, request.target, reads, lock=lock, marks=program.marks, what=what
        )
    except OSError as error:
        if error.errno == errno.ENOPKG:
            name = os.path.basename(program.name)
            package = program.package or PACKAGES.get(name, "")
            hint = f"; it is in Debian's package {package}" if package else ""
            raise OSError(errno.ENOPKG, f"umfuse: there is no program {name}{hint}") from None
        raise
    request.keep = dict(where)
    if program.image and not wish.writable:
        await request.space.change(tree, set=MOUNT_ATTR_RDONLY)
    return tree


def _source(request: MountRequest, wish: Wish, program: Program) -> tuple[bytes, bool]:
    """The source as the program is told it, and whether it is an image file."""
    if wish.nosource or (request.type == "umfusessh"):
        return request.source, False
    try:
        fd = _opened(request)
    except OSError:
        if program.image:
            raise
        return request.source, False  # what a program's source is, the program knows
    try:
        kind = os.fstat(fd).st_mode
        if program.image and stat.S_ISDIR(kind):
            raise OSError(errno.EISDIR, f"umfuse: {_shown(request)} is a directory, no image")
        if program.image and not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
            raise OSError(errno.EINVAL, f"umfuse: {_shown(request)} is no image")
        return os.readlink(f"/proc/self/fd/{fd}").encode(errors="surrogateescape"), program.image
    finally:
        os.close(fd)


def _opened(request: MountRequest) -> int:
    """The source, O_PATH."""
    try:
        return request.open(request.source, os.O_PATH)
    except OSError as error:
        why = f"umfuse: {_shown(request)}: {os.strerror(error.errno or 0)}"
        raise OSError(error.errno, why) from None


def _shown(request: MountRequest) -> str:
    return os.fsdecode(request.source)


# Trees


async def _ram(request: MountRequest, wish: Wish) -> int:
    given = _take(wish, {"size": _size, "mode": _mode})
    file = request.type == "umfuseramfile"
    if file and not request.created and stat.S_ISDIR(os.fstat(request.target_fd).st_mode):
        raise OSError(errno.EISDIR, "umfuse: umfuseramfile is mounted on a file")
    mode = given.get("mode", 0o644 if file else 0o755)
    return await request.space.serve(
        f"{_HERE}.ramfile:RamFile" if file else f"{_HERE}.ram:Ram",
        given,
        type=request.type,
        source=request.source or b"none",
        root_mode=(stat.S_IFREG if file else stat.S_IFDIR) | mode,
    )


async def _real(request: MountRequest, wish: Wish) -> int:
    _take(wish, {})
    fd = await request.space.aside(_opened, request)
    try:
        mode = (await request.space.aside(os.fstat, fd)).st_mode
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise OSError(errno.ENOTDIR, f"umfuse: {_shown(request)} is no directory")
        tree = await request.space.clone(fd)
    finally:
        os.close(fd)
    try:
        return await request.space.serve(
            f"{_HERE}.real:Real",
            {},
            [tree],
            type=request.type,
            source=request.source,
            root_mode=mode,
            apart=True,
        )
    finally:
        os.close(tree)


async def _archive(request: MountRequest, wish: Wish) -> int:
    given = _take(wish, {"password": str, "recursive": bool})
    fd = await request.space.aside(_opened, request)
    try:
        if not stat.S_ISREG((await request.space.aside(os.fstat, fd)).st_mode):
            raise OSError(errno.EINVAL, f"umfuse: {_shown(request)} is no archive")
        name = os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))
        return await request.space.serve(
            f"{_HERE}.archive:Archive",
            {"name": name, **given},
            [fd],
            type=request.type,
            source=request.source,
            apart=True,
            # Who has the archive has all that is in it, whoever packed it; others do not.
            unchecked=not wish.human and os.geteuid() != 0,
        )
    finally:
        os.close(fd)


def _has_library() -> bool:
    from importlib.util import find_spec

    return find_spec("ratarmountcore") is not None


def _take(wish: Wish, known: dict[str, Any]) -> dict[str, Any]:
    """The options of a tree, converted."""
    given: dict[str, Any] = {}
    for option in wish.rest:
        name, _, value = option.partition("=")
        if name not in known:
            raise options.invalid(f"no such option: {option}")
        try:
            given[name] = known[name](value) if known[name] is not bool else True
        except ValueError:
            raise options.invalid(f"{option}: that is no {name}") from None
    return given


def _size(text: str) -> int:
    unit = _SIZES.get(text[-1:].lower(), 0)
    number = int(text[:-1] if unit else text) * (unit or 1)
    if number <= 0:
        raise ValueError(text)
    return number


def _mode(text: str) -> int:
    mode = int(text, 8)
    if mode & ~0o7777 or mode < 0:
        raise ValueError(text)
    return mode
