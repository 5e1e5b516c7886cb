"""The directory of a layer: found or made, locked while a view has it, removed if nobody named it.

    LAYER/upper, LAYER/work           changes of the target itself
    LAYER/mounts/NAME/upper, …/work   of a file system that is mounted below it; NAME: `escaped`
    LAYER/meta.json                   what it lies over (layers/store.py)
    LAYER/lock                        flock(2): one view at a time

Everything is opened in the view: overlayfs takes directories of its own mount namespace only.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import quote_from_bytes

import trio

from .options import invalid

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
UNNAMED: Final = b"view-"
"""How the names of layers begin that end with their view."""


class Opener(Protocol):
    """What opens paths of the view: `viewosd.space.Space` does."""

    def open(self, path: bytes, flags: int) -> int: ...


class LayerDir:
    """One layer that a view holds.

    Attributes:
        fd: of the directory, in the view.
        unnamed: it goes with its last mount.
        path: where it is, in the view.
    """

    _held: ClassVar[dict[tuple[int, int], LayerDir]] = {}
    """By device and inode. A branch shares what its parent view holds."""

    def __init__(self, fd: int, unnamed: bool) -> None:
        self.fd, self.unnamed, self.users = fd, unnamed, 1
        self._lock = -1
        self.path = os.readlink(b"/proc/self/fd/%d" % fd)
        found = os.fstat(fd)
        self._key = (found.st_dev, found.st_ino)

    @classmethod
    def take(
        cls, fd: int, target: bytes, like: os.stat_result, *, unnamed: bool = False
    ) -> LayerDir:
        """Lock a directory, and make it a layer over ``target`` if it is empty. Owns ``fd``.

        Raises:
            OSError: EBUSY, a view has it; EINVAL, it lies over something else; ENOTEMPTY, it is no
                layer and holds files.
        """
        layer = cls(fd, unnamed)
        try:
            if layer._key in cls._held:
                raise busy(layer.path)
            layer._take_locks()
            layer._prepare(target, like)
        except BaseException:
            layer._close()
            raise
        cls._held[layer._key] = layer
        return layer

    @classmethod
    def again(cls, fd: int, *, unnamed: bool) -> LayerDir:
        """One that is mounted already, in a successor or a branch. Owns ``fd``. Raises OSError."""
        layer = cls(fd, unnamed)
        if (held := cls._held.get(layer._key)) is not None:
            held.users += 1
            layer._close()
            return held
        try:
            layer._take_locks()
        except OSError:
            layer._close()
            raise
        cls._held[layer._key] = layer
        return layer

    async def release(self) -> None:
        """Whoever took it needs it no more. An unnamed one is removed after its last user."""
        self.users -= 1
        if self.users:
            return
        if self.unnamed:
            await _empty(self.fd)
            parent = os.open(b"..", _DIRECTORY, dir_fd=self.fd)
            try:
                os.rmdir(os.path.basename(self.path), dir_fd=parent)
            except OSError:
                pass  # moved away; it is empty
            finally:
                os.close(parent)
        self.forget()

    def forget(self) -> None:
        """Let go of it as it is."""
        self._held.pop(self._key, None)
        self._close()

    def part(self, below: bytes, like: os.stat_result) -> tuple[int, int]:
        """Descriptors of ``upper`` and ``work`` for the target, or a mount ``below`` it.

        Raises:
            OSError: they can't be made.
        """
        at = os.dup(self.fd)
        try:
            for name in (b"mounts", escaped(below)) if below else ():
                at, old = _made(at, name, 0o700), at
                os.close(old)
            upper, work = _made_like(at, b"upper", like), _made(at, b"work", 0o700)
        finally:
            os.close(at)
        return upper, work

    def lies_on(self, names: Sequence[str]) -> None:
        """Write down that layers of these names lie between it and the target.

        A commit leaves it as it is then, for it goes on hiding what they have: layers/commit.py.

        Raises:
            OSError: it can't be written.
        """
        meta = _meta(self.fd)
        on = sorted({*meta.get("on", ()), *names})
        if on != meta.get("on", []):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(b"meta.json.new", flags, 0o600, dir_fd=self.fd)
            with open(fd, "w") as file:
                json.dump(meta | {"on": on}, file)
            os.rename(b"meta.json.new", b"meta.json", src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def _take_locks(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._lock = os.open(b"lock", flags, 0o600, dir_fd=self.fd)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # For commit and discard, which want to know whether a view has it: layers/store.py.
            fcntl.flock(self.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy(self.path) from None

    def _prepare(self, target: bytes, like: os.stat_result) -> None:
        from .layers import store  # it brings commit and all that

        names = set(os.listdir(self.fd))
        shown = os.fsdecode(self.path)
        if "upper" not in names and names - {"lock", "work", "meta.json"}:
            raise OSError(errno.ENOTEMPTY, f"viewfs: {shown} is no layer, and holds other files")
        over = _meta(self.fd).get("target", os.fsdecode(target))
        if over != os.fsdecode(target):
            raise invalid(f"the layer {shown} lies over {over}")
        for fd in self.part(b"", like):
            os.close(fd)
        if "meta.json" not in names:
            meta = {"target": os.fsdecode(target), "owner": os.geteuid(), "created": time.time()}
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(b"meta.json", flags, 0o600, dir_fd=self.fd)
            with open(fd, "w") as file:
                json.dump(meta | {"format": store.FORMAT}, file)

    def _close(self) -> None:
        for fd in (self._lock, self.fd):
            if fd >= 0:
                os.close(fd)


def busy(path: bytes) -> OSError:
    """EBUSY: one view at a time."""
    return OSError(errno.EBUSY, f"viewfs: the layer {os.fsdecode(path)} is in use")


def escaped(below: bytes) -> str:
    """The path of a mount below the target as one name: ``home%2Fuser``."""
    return quote_from_bytes(below, safe="")


def kept(space: Opener, name: str) -> int:
    """A descriptor of a kept layer's directory, made if need be.

    Raises:
        OSError: it can't be.
    """
    return _directories(space, _place() + b"/" + os.fsencode(name))


def fresh(space: Opener, key: str) -> int:
    """A descriptor of a new directory for a layer that nobody named."""
    name = UNNAMED + f"{key}-{secrets.token_hex(4)}".encode()
    return _directories(space, _place() + b"/" + name)


async def remove_leftovers(key: str) -> None:
    """A supervisor that was killed may have left layers that nothing was mounted with yet.

    Outside: the view has ended.

    Args:
        key: of the view; branches, which share it, go on with what they hold.

    Raises:
        OSError: there are none, or they can't be removed.
    """
    place = os.open(_place(), _DIRECTORY)
    try:
        for name in os.listdir(place):
            if name.startswith(f"{os.fsdecode(UNNAMED)}{key}-"):
                fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
                layer = LayerDir(fd, unnamed=True)
                if layer._key in LayerDir._held:
                    os.close(fd)
                else:
                    await layer.release()
    finally:
        os.close(place)


def _place() -> bytes:
    from .layers import store

    return os.fsencode(store.directory())


def _directories(space: Opener, path: bytes) -> int:
    """A directory of the view, made with all above it where they are missing."""
    try:
        return space.open(path, _DIRECTORY)
    except FileNotFoundError:
        head, name = os.path.split(path)
        if not name:
            raise
    at = _directories(space, head)
    try:
        return _made(at, name, 0o700)
    finally:
        os.close(at)


def _made(at: int, name: bytes | str, mode: int) -> int:
    try:
        os.mkdir(name, mode, dir_fd=at)
    except FileExistsError:
        pass
    return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at)


def _made_like(at: int, name: bytes, like: os.stat_result) -> int:
    """The root of the changes: its owner and permissions are what the view sees."""
    try:
        os.mkdir(name, 0o700, dir_fd=at)
    except FileExistsError:
        return _made(at, name, 0o700)
    fd = _made(at, name, 0o700)
    if os.geteuid() == 0:
        os.fchown(fd, like.st_uid, like.st_gid)
    os.fchmod(fd, stat.S_IMODE(like.st_mode))
    return fd


def _meta(directory: int) -> dict[str, Any]:
    try:
        fd = os.open(b"meta.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return {}
    with open(fd, "rb") as file:
        try:
            found = json.load(file)
        except ValueError:
            raise invalid("the layer's meta.json can't be read") from None
    return found if isinstance(found, dict) else {}


async def _empty(directory: int) -> None:
    """Remove all that is in a directory, whatever its permissions; others' calls are served
    meanwhile."""
    os.fchmod(directory, 0o700)
    for name in os.listdir(directory):
        try:
            os.unlink(name, dir_fd=directory)
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.EPERM):
                continue
            try:
                os.chmod(name, 0o700, dir_fd=directory)
                inner = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            except OSError:
                continue  # somebody took it away
            try:
                await _empty(inner)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=directory)
        await trio.lowlevel.checkpoint()
