"""A layer on disk, and where layers that have a name are kept.

    LAYER/upper/        the changes, in the format of `entry`
    LAYER/work/         overlayfs's own
    LAYER/meta.json     {"target", "owner", "created", "format"}: what it lies over, since when
    LAYER/origins.json  what commits know of the target: see `origins`

A layer is named by its directory, or as ``@NAME``: a directory of that name in
``$XDG_DATA_HOME/viewos/layers`` (``~/.local/share``). ``A:B`` is A over B: A is written to, B is
what lies below it.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

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

    def open_upper(self) -> int:
        """A descriptor of the changes.

        Raises:
            LayerError, OSError: it is no layer, or not ours to read.
        """
        self.meta()
        return os.open(self.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def make(self, target: str) -> None:
        """Make it if it is not there: empty, for ``target``, as whoever calls this.

        Its root has the target's permissions and owner, for these are what a view sees there.

        Raises:
            OSError: it can't be made there.
        """
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        for part in ("upper", "work"):
            try:
                os.mkdir(f"{self.path}/{part}", 0o700)
            except FileExistsError:
                continue
            if part == "upper":
                like = os.stat(target)
                if os.geteuid() == 0:
                    os.chown(self.upper, like.st_uid, like.st_gid)
                os.chmod(self.upper, stat.S_IMODE(like.st_mode))
        if not os.path.exists(f"{self.path}/meta.json"):
            meta = {"target": target, "owner": os.geteuid(), "created": time.time()}
            write_json(f"{self.path}/meta.json", meta | {"format": FORMAT})

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


def stack_of(text: str) -> list[str]:
    """The layers of ``A:B``, the uppermost first."""
    parts = text.split(":")
    if not all(parts):
        raise LayerError(f"{text}: between colons there is no layer")
    return parts


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
