"""What a mode has made, until it is attached."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .layerdir import LayerDir


UNDO_S: Final = 10.0
"""Seconds that what failed may take to be undone."""


@dataclass
class Made:
    """What is to be attached.

    Attributes:
        tree: at the mountpoint.
        below: in it; paths counted from the mountpoint.
        layer: where the changes go; None with merge.
        lower_layers: kept layers below it.
        devices: st_dev of those whose owners are virtual, for an ordinary user.
    """

    tree: int = -1
    below: list[tuple[bytes, int]] = field(default_factory=list)
    layer: LayerDir | None = None
    lower_layers: list[int] = field(default_factory=list)
    devices: list[int] = field(default_factory=list)

    def close(self) -> None:
        """The trees have been attached, or will not be."""
        for fd in (self.tree, *(fd for _, fd in self.below), *self.lower_layers):
            if fd >= 0:
                os.close(fd)
        self.tree, self.below, self.lower_layers = -1, [], []

    async def undo(self) -> None:
        """It failed."""
        self.close()
        if self.layer is not None:
            await self.layer.release()
