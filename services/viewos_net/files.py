"""``/etc/resolv.conf`` and ``/etc/hosts`` of a view, where a stack asks for other ones.

A private file is bound over the system's. It is on the disk only while it is made: a mount holds it
then, and nothing is left when that goes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import Final

from viewosd.space import Space

RESOLV_CONF: Final = b"/etc/resolv.conf"
HOSTS: Final = b"/etc/hosts"


async def cover(space: Space, path: bytes, text: str, place: str) -> bytes:
    """Bind a file with other text over one of the view, which must be there.

    Args:
        place: a directory that the view sees, and its owner may write in.

    Returns:
        The path that was covered, symbolic links resolved: for `uncover`.

    Raises:
        OSError: ENOENT, there is no such file.
    """
    target = space.open(path, os.O_PATH)
    try:
        where = os.readlink(f"/proc/self/fd/{target}".encode())
        name = _written(place, text)
        try:
            source = space.open(os.fsencode(name), os.O_PATH)
            try:
                tree = await space.clone(source)
            finally:
                os.close(source)
            try:
                await space.attach(tree, target)
            finally:
                os.close(tree)
        finally:
            os.unlink(name)
    finally:
        os.close(target)
    return where


def _written(place: str, text: str) -> str:
    number, name = tempfile.mkstemp(prefix=".net-", dir=place)
    with open(number, "w", errors="surrogateescape") as file:
        file.write(text)
        os.fchmod(number, 0o644)
    return name


def text_of(space: Space, path: bytes) -> list[str]:
    """The lines of a file of the view. Raises OSError."""
    with open(space.open(path, os.O_RDONLY), errors="surrogateescape") as file:
        return file.read().splitlines()


def resolv_conf(servers: Sequence[str], before: Iterable[str]) -> str:
    """A resolv.conf with other name servers, and the options and domains of the one before."""
    kept = [line for line in before if line.split()[:1] != ["nameserver"]]
    return "\n".join([*kept, *(f"nameserver {server}" for server in servers)]) + "\n"


def hosts(names: Sequence[tuple[str, str]], before: Iterable[str]) -> str:
    """A hosts file in which these names come first: address and name."""
    return "\n".join([*(f"{address}\t{name}" for address, name in names), *before]) + "\n"
