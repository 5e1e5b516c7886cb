"""What a mount of type viewfs asks for: its options, checked."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MODES: Final = ("move", "bind", "merge", "cow", "mincow", "hide", "ro", "tmpfs")
LAYERED: Final = ("cow", "mincow")
"""Modes whose changes go to a layer."""
OVERLAID: Final = ("merge", *LAYERED)

_FLAGS: Final = ("vstat", "renew")
# The runtime's own: it takes them out, and other runtimes may not.
_IGNORED: Final = ("permanent", "perm", "defaults", "rw", "wok", "debug", "nosource")


@dataclass(frozen=True)
class Wish:
    """One mount, as it was asked for.

    Attributes:
        mode: one of `MODES`; "" with ``renew`` alone.
        excepts: paths below the mountpoint, without a slash in front, where the original shows.
        layers: the layer that takes the changes, then those below it: absolute paths, or names of
            kept layers.
    """

    mode: str = "move"
    vstat: bool = False
    renew: bool = False
    excepts: tuple[bytes, ...] = ()
    layers: tuple[str, ...] = ()


def parse(options: Iterable[tuple[str, str]], *, read_only: bool = False) -> Wish:
    """The wish in a request's options.

    Args:
        read_only: mount(8) makes a flag of ``ro``; that is the mode then, if there is no other.

    Raises:
        OSError: EINVAL, and which option is wrong.
    """
    modes: list[str] = []
    flags: set[str] = set()
    excepts: list[bytes] = []
    layers: tuple[str, ...] = ()
    for name, value in options:
        if name in MODES and not value:
            modes.append(name)
        elif name in _FLAGS and not value:
            flags.add(name)
        elif name == "except":
            excepts.append(_below(value))
        elif name == "layer" and not layers:
            layers = tuple(_layer(part) for part in value.split(":"))
        elif name not in _IGNORED:
            raise invalid(f"no such option: {name}{'=' if value else ''}{value}")
    if len(set(modes)) > 1:
        raise invalid(f"{' and '.join(modes)} exclude each other")
    mode = modes[0] if modes else "ro" if read_only else "move"
    if "vstat" in flags and mode not in OVERLAID:
        raise invalid(f"vstat goes with {', '.join(OVERLAID)}")
    if layers and mode not in LAYERED:
        raise invalid(f"layer= goes with {', '.join(LAYERED)}")
    if excepts and mode == "hide":
        raise invalid("nothing shows through what is hidden: except= does not go with hide")
    if "renew" in flags and not modes:
        mode = ""
    return Wish(mode, "vstat" in flags, "renew" in flags, tuple(excepts), layers)


def invalid(why: str) -> OSError:
    """EINVAL, in words."""
    return OSError(errno.EINVAL, f"viewfs: {why}")


def _below(value: str) -> bytes:
    """The path of ``except=/SUB``, as one that is counted from the mountpoint."""
    path = value.encode(errors="surrogateescape").strip(b"/")
    names = path.split(b"/")
    if not path or any(name in (b"", b".", b"..") for name in names):
        raise invalid(f"except={value}: a path below the mountpoint is wanted")
    return path


def _layer(text: str) -> str:
    """A layer: an absolute path, or the name of a kept one, with or without @."""
    if text.startswith("/"):
        return text
    name = text.removeprefix("@")
    if not name or "/" in name or name.startswith("."):
        raise invalid(f"layer={text}: an absolute path or a name is wanted")
    return name
