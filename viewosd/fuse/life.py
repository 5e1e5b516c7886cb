"""What a mount needs to go on in another process when the one that served it was killed."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..abi import fuse as abi
from .inhand import InHand

_ONCE: Final = frozenset({
    abi.FUSE_MKNOD, abi.FUSE_MKDIR, abi.FUSE_SYMLINK, abi.FUSE_LINK, abi.FUSE_UNLINK,
    abi.FUSE_RMDIR, abi.FUSE_RENAME, abi.FUSE_RENAME2, abi.FUSE_CREATE, abi.FUSE_TMPFILE,
    abi.FUSE_SETXATTR, abi.FUSE_REMOVEXATTR, abi.FUSE_FALLOCATE, abi.FUSE_IOCTL,
})  # fmt: skip
"""Made twice, these would do harm, or say that what they have just done could not be done."""
FLAGS: Final = -1
"""Where `Life.kept` has what was agreed on; numbers of handles are above 0."""


@dataclass
class Life:
    """One mount's.

    Attributes:
        kept: what was agreed on with the kernel (at `FLAGS`), and the open handles, by number.
        inhand: where the headers of requests are read to; one for all mounts of a process.
        blamed: requests that are not to be asked of the tree again: a server hung or ended by
            itself over them, or was killed twice while they were in hand.
        resumed: this is not the mount's first server.
        lost: what a dead server had in hand.
    """

    kept: MutableMapping[int, Any] = field(default_factory=dict)
    inhand: InHand = field(default_factory=InHand)
    blamed: frozenset[int] = frozenset()
    resumed: bool = False
    lost: Sequence[int] = ()

    def may_ask(self, opcode: int, unique: int) -> bool:
        """May a request that was taken by a dead server be asked of the tree again?"""
        return opcode not in _ONCE and unique not in self.blamed


def open_handles(kept: Mapping[int, Any]) -> list[Any]:
    """The handles in `Life.kept`, as their tree has described them."""
    found = [value[1] for number, value in kept.items() if number != FLAGS]
    return [described for described in found if described is not None]
