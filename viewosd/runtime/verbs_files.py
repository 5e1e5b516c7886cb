"""The verbs "mount", "umount", "why", "mounts", "fsalias": the file tree of a view, as its owner.

Paths are absolute, of the view. What mount(8) would make flags of stands among the options:
``bind``, ``remount``, ``ro``. Outside of the view nobody may mount in it; here its owner may.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

from ..errors import ViewError
from ..space import Mounted
from .verbs import HANDLERS, Ask, Refusal, View


class Mounts(Protocol):
    """Who mounts in a view: `viewosd.runtime.mounting.Mounting`."""

    async def request(self, type: str, options: bytes, source: bytes, target: bytes) -> None: ...
    async def umount(self, target: bytes, flags: int) -> None: ...
    def listing(self) -> list[tuple[Mounted, str]]: ...
    def lost(self) -> dict[int, str]: ...
    def alias(self, name: str, type: str) -> None: ...
    def why(self, target: bytes) -> str: ...


class Spaces(Protocol):
    """Which view has a file tree."""

    def mounting(self, view: Any) -> Mounts | None: ...


class Supervisor(Protocol):
    """What these verbs need of the supervisor."""

    @property
    def spaces(self) -> Spaces: ...


async def mount(
    sv: Supervisor,
    ask: Ask,
    view: int | None,
    type: str,
    options: bytes,
    source: bytes,
    target: bytes,
) -> Any:
    """Mount; nil."""
    _plain(type.encode(), options, source, target)
    try:
        await _mounts(sv, ask.view).request(type, options, source, target)
    except (OSError, ViewError) as error:
        what = f"mount {type}".strip()
        raise _refusal(f"can't {what} on {os.fsdecode(target)}", error) from error


async def umount(sv: Supervisor, ask: Ask, view: int | None, target: bytes, flags: int) -> Any:
    """Unmount; nil. ``flags`` are umount2(2)'s."""
    _plain(target)
    try:
        await _mounts(sv, ask.view).umount(target, flags)
    except OSError as error:
        raise _refusal(f"can't unmount {os.fsdecode(target)}", error) from error


async def why(sv: Supervisor, ask: Ask, view: int | None, target: bytes) -> Any:
    """Why a mount(2) there has failed, for whoever asked for it: a line, once."""
    found = sv.spaces.mounting(ask.view)
    return "" if found is None else found.why(target)


async def mounts(sv: Supervisor, ask: Ask, view: int | None) -> Any:
    """The mounts of services, oldest first."""
    found = sv.spaces.mounting(ask.view)
    lost = {} if found is None else found.lost()
    return [
        {
            "id": mounted.id,
            "type": mounted.type,
            "source": mounted.source,
            "target": mounted.target,
            "options": [[os.fsencode(n), os.fsencode(v)] for n, v in mounted.options],
            "service": service,
            "permanent": mounted.permanent,
            "lost": lost.get(mounted.id, ""),
        }
        for mounted, service in (found.listing() if found is not None else ())
    ]


async def fsalias(sv: Supervisor, ask: Ask, view: int | None, alias: str, type: str) -> Any:
    """Let a name stand for a mount type, "" for none; nil."""
    try:
        _mounts(sv, ask.view).alias(alias, type)
    except OSError as error:
        raise _refusal(f"no alias {alias}", error) from error


def _mounts(sv: Supervisor, view: View) -> Mounts:
    found = sv.spaces.mounting(view)
    if found is None:
        raise Refusal("refused", "no file service is loaded in this view (viewos add viewfs)")
    return found


def _plain(*texts: bytes) -> None:
    if any(b"\0" in text for text in texts):
        raise Refusal("refused", "a path or an option can't hold a NUL")
    if not texts[-1].startswith(b"/"):
        raise Refusal("refused", "the mountpoint must be an absolute path of the view")


def _refusal(what: str, error: Exception) -> Refusal:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    text = f"{what}: {reason or error}"
    return Refusal("refused", text.encode(errors="backslashreplace").decode())


HANDLERS["mount"] = mount
HANDLERS["umount"] = umount
HANDLERS["why"] = why
HANDLERS["mounts"] = mounts
HANDLERS["fsalias"] = fsalias
