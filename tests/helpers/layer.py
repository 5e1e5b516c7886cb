"""A copy-on-write layer over a directory, made by hand: the format without the kernel's overlayfs."""

from __future__ import annotations

import os
from pathlib import Path

from viewos_viewfs.layers import Change, Layer, Walk


def write(path: Path, text: str = "", mode: int = 0o644) -> None:
    """A file, and the directories that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


class Tree:
    """A target, and a layer over it.

    Attributes:
        target, layer: their paths; ``upper`` is the layer's.
    """

    def __init__(self, directory: Path) -> None:
        self.target, self.layer = directory / "target", directory / "layer"
        self.target.mkdir()
        Layer(str(self.layer)).make(str(self.target))
        self.upper = self.layer / "upper"

    def whiteout(self, path: str) -> None:
        """The view has deleted this."""
        os.mknod(self.upper / path, 0o020000, 0)

    def opaque(self, path: str) -> None:
        """The view has made this directory anew."""
        (self.upper / path).mkdir(exist_ok=True)
        prefix = "trusted" if os.geteuid() == 0 else "user"
        os.setxattr(self.upper / path, f"{prefix}.overlay.opaque", b"y")

    def changes(self) -> list[Change]:
        """What the layer changes."""
        upper = os.open(self.upper, os.O_RDONLY)
        target = os.open(self.target, os.O_RDONLY)
        try:
            return list(Walk(upper, target).changes())
        finally:
            os.close(upper)
            os.close(target)

    def told(self) -> dict[str, str]:
        """Path to kind."""
        return {change.path: change.kind.value for change in self.changes()}

    def as_layer(self) -> Layer:
        return Layer(str(self.layer))
