"""As much of a listing as fits into an answer. Pure, but for `look`, which may wait."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterable

from ..filetree import Dirent
from . import codec


def names(entries: Iterable[Dirent], size: int) -> bytes:
    """FUSE_READDIR's answer, at most ``size`` bytes. Empty: the listing has ended."""
    out: list[bytes] = []
    left = size
    for entry in entries:
        raw = codec.dirent(entry)
        if len(raw) > left:
            _must_have(out)
            break
        left -= len(raw)
        out.append(raw)
    return b"".join(out)


async def names_and_attributes(
    entries: Iterable[Dirent], size: int, look: Callable[[bytes], Awaitable[bytes]]
) -> bytes:
    """FUSE_READDIRPLUS's answer.

    Args:
        look: a name to its ``struct fuse_entry_out``. It is asked for what is sent only: the
            kernel will forget each of these. A name that can't be looked up comes alone.
    """
    out: list[bytes] = []
    left = size
    for entry in entries:
        raw = codec.dirent(entry)
        length = len(codec.NO_ENTRY) + len(raw)
        if length > left:
            _must_have(out)
            break
        left -= length
        found = codec.NO_ENTRY
        if entry.name not in (b".", b".."):
            try:
                found = await look(entry.name)
            except OSError:
                pass
        out.append(found + raw)
    return b"".join(out)


def _must_have(out: list[bytes]) -> None:
    """An answer without entries would say that there are none left."""
    if not out:
        raise OSError(errno.EINVAL, "not one entry fits")
