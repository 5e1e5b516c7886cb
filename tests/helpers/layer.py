"""A copy-on-write layer over a directory, made by hand: the format without the kernel's overlayfs."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

from viewos_viewfs.layers import Change, Layer, Walk
from viewos_viewfs.layers.store import FORMAT

_COARSE = 5
"""CLOCK_REALTIME_COARSE, which file times are taken from: include/uapi/linux/time.h."""


def write(path: Path, text: str = "", mode: int = 0o644) -> None:
    """A file, and the directories that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def listing(directory: Path) -> dict[str, str]:
    """Every path with its content, or its kind."""
    found = {}
    for path in sorted(directory.rglob("*")):
        st = path.lstat()
        if stat.S_ISLNK(st.st_mode):
            found[str(path.relative_to(directory))] = f"-> {path.readlink()}"
        elif stat.S_ISREG(st.st_mode):
            found[str(path.relative_to(directory))] = path.read_text()
        else:
            found[str(path.relative_to(directory))] = stat.filemode(st.st_mode)
    return found


class Tree:
    """A target, and a layer over it.

    Attributes:
        target, layer: their paths; ``upper`` is the layer's.
    """

    def __init__(self, directory: Path) -> None:
        self.target, self.layer = directory / "target", directory / "layer"
        self.target.mkdir()
        self.upper = self.layer / "upper"
        self.part(self.layer, self.target)
        meta = {"target": str(self.target), "owner": os.geteuid(), "created": time.time()}
        (self.layer / "meta.json").write_text(json.dumps(meta | {"format": FORMAT}))

    def part(self, directory: Path, target: Path) -> Path:
        """The directories of a layer, or of its part for a mount below; its ``upper``."""
        for name in ("upper", "work"):
            (directory / name).mkdir(parents=True)
        (directory / "upper").chmod(target.stat().st_mode & 0o7777)
        return directory / "upper"

    def later(self) -> None:
        """Wait until what is made now is younger than what was made before."""
        before = time.clock_gettime_ns(_COARSE)
        while time.clock_gettime_ns(_COARSE) == before:
            time.sleep(0.001)

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
