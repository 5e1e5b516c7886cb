"""A layer on disk, and where layers that have a name are kept.

    LAYER/upper/         the changes, in the format of `entry`
    LAYER/work/          overlayfs's own
    LAYER/mounts/NAME/   the same for a file system that is mounted below the target: `Part`
    LAYER/meta.json      {"target", "owner", "created", "format"}: what it lies over, since when;
                         "on": names of layers that were between the two
    LAYER/origins.json   what commits know of the target: see `origins`; each part has its own

A layer is named by its directory, or as ``@NAME``: a directory of that name in
``$XDG_DATA_HOME/viewos/layers`` (``~/.local/share``).
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote

from .unsafe import birth

FORMAT: Final = 1


class LayerError(Exception):
    """It can't be done with this layer; one line."""


class Layer:
    """One layer.

    Attributes:
        path: its directory, absolute.
        name: as users write it.
    """

    def __init__(self, text: str) -> None:
        self.name = text
        self.path = place_of(text)

    @property
    def upper(self) -> str:
        return f"{self.path}/upper"

    def meta(self) -> dict[str, Any]:
        """What was written down when it was made; {} where nothing was.

        Raises:
            LayerError: it is no layer, or of a format that is not known here.
        """
        try:
            if not stat.S_ISDIR(os.lstat(self.upper).st_mode):
                raise NotADirectoryError
        except (FileNotFoundError, NotADirectoryError):
            raise LayerError(
                f"{self.name} is no layer: there is no directory upper in it"
            ) from None
        meta = read_json(f"{self.path}/meta.json")
        if meta.get("format", FORMAT) != FORMAT:
            raise LayerError(f"{self.name}: a layer of format {meta['format']}, of a later version")
        return meta

    def target(self) -> str:
        """What it lies over.

        Raises:
            LayerError: nobody has written it down.
        """
        target = self.meta().get("target")
        if not isinstance(target, str):
            raise LayerError(f"{self.name} does not say what it lies over; name TARGET")
        return target

    def created_ns(self) -> int:
        """When it was made, as far as is known: 0 if it is not."""
        created = self.meta().get("created", 0)
        return int(created * 10**9) if isinstance(created, int | float) else 0

    def parts(self) -> list[Part]:
        """Its parts, that of the target itself first.

        Raises:
            LayerError: it is no layer.
        """
        self.meta()
        mounts = f"{self.path}/mounts"
        names = sorted(os.listdir(mounts)) if os.path.isdir(mounts) else []
        below = [
            Part(f"{mounts}/{name}", unquote(name, errors="surrogateescape")) for name in names
        ]
        return [Part(self.path, ""), *(part for part in below if os.path.isdir(part.upper))]

    @contextmanager
    def held(self, *, alone: bool) -> Iterator[None]:
        """While it lasts nobody commits or discards the layer; ``alone``: nor has it mounted.

        Whoever has it mounted holds a shared flock(2) on LAYER; whoever commits it holds one of
        its own on LAYER/upper, so that two do not at once.

        Raises:
            LayerError: somebody has it.
        """
        fds = []
        try:
            for path, exclusive in ((self.path, alone), (self.upper, True)):
                fds.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                how = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
                try:
                    fcntl.flock(fds[-1], how | fcntl.LOCK_NB)
                except BlockingIOError:
                    by = "a view has it mounted" if path == self.path else "it is being committed"
                    raise LayerError(f"{self.name} is in use: {by}") from None
            yield
        finally:
            for fd in fds:
                os.close(fd)

    def mounted(self) -> bool:
        """Does a view have it mounted just now?"""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


class Part:
    """The changes of one file system: of the target's, or of one that is mounted below it.

    Attributes:
        path: the directory with ``upper`` in it.
        below: where, counted from the target; "" for the target's own.
    """

    def __init__(self, path: str, below: str) -> None:
        self.path, self.below = path, below

    @property
    def upper(self) -> str:
        return f"{self.path}/upper"

    def open_upper(self) -> int:
        """A descriptor of the changes. Raises OSError."""
        return os.open(self.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def open_target(self, target: str) -> int:
        """A descriptor of what they lie over, if the layer lies over ``target``.

        Raises:
            LayerError: what was mounted there is not.
            OSError: it is not there.
        """
        path = f"{target.rstrip('/')}/{self.below}" if self.below else target
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        if self.below and not birth(fd, "").mount_point:
            os.close(fd)
            raise LayerError(f"{path} was a mount point when the layer was made, and is none now")
        return fd

    def relative(self, path: str) -> str | None:
        """A path counted from the target as one counted from here; None: it is not here."""
        if not self.below or path == self.below:
            return "" if self.below else path
        return path[len(self.below) + 1 :] if path.startswith(f"{self.below}/") else None


def by_part(parts: list[Part], paths: Iterable[str] | None) -> list[tuple[Part, list[str] | None]]:
    """The parts that some paths (counted from the target) are in, with the paths in each.

    None are all paths of all parts. A path above a mount is all of the mount too.
    """
    if paths is None:
        return [(part, None) for part in parts]
    found: dict[int, list[str]] = {}
    for path in paths:
        inside = [i for i, part in enumerate(parts) if part.relative(path) is not None]
        deepest = max(inside, key=lambda i: len(parts[i].below))
        found.setdefault(deepest, []).append(parts[deepest].relative(path) or "")
        for i, part in enumerate(parts):
            if i != deepest and (not path or part.below.startswith(f"{path}/")) and part.below:
                found.setdefault(i, []).append("")
    return [(parts[i], found[i]) for i in sorted(found)]


def hold(path: str) -> int:
    """Say that a view has the layer at ``path`` mounted, until the descriptor is closed.

    Raises:
        BlockingIOError: it is being discarded, or committed by somebody who thought it was free.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        raise
    return fd


def place_of(text: str) -> str:
    """The directory of LAYER: as it is written, or of ``@NAME``.

    Raises:
        LayerError: it is no name.
    """
    if not text.startswith("@"):
        if not text:
            raise LayerError("an empty name is no layer")
        return os.path.abspath(text)
    name = text[1:]
    if not name or "/" in name or name in (".", "..") or ":" in name:
        raise LayerError(f"{text}: a layer's name is one word, without slash and colon")
    return f"{directory()}/{name}"


def directory() -> str:
    """Where layers that have a name are kept."""
    data = os.environ.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):
        home = os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
        data = f"{home}/.local/share"
    return f"{data}/viewos/layers"


def named() -> list[Layer]:
    """Every layer that has a name."""
    try:
        names = sorted(os.listdir(directory()))
    except FileNotFoundError:
        return []
    return [Layer(f"@{n}") for n in names if os.path.isdir(f"{directory()}/{n}/upper")]


def read_json(path: str) -> dict[str, Any]:
    """A file of ours; {} where it is missing.

    Raises:
        LayerError: it holds something else.
    """
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise LayerError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise LayerError(f"{path} holds no object")
    return found


def write_json(path: str, what: dict[str, Any]) -> None:
    """Replace a file of ours at once, and durably."""
    temporary = f"{path}.new"
    with open(temporary, "w") as file:
        json.dump(what, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make what was renamed in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
