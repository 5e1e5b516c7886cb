"""A small tree with a layer over it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import remove
from helpers.overlays import Native, Served
from viewos_viewfs.tree import Overlay


class Place:
    """Directories ``lower``, ``upper``, ``work`` of a test, and what is served of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("lower", "upper", "work"):
            (root / name).mkdir()
            (root / name).chmod(0o755)
        self.lower, self.upper, self.work = root / "lower", root / "upper", root / "work"
        self.below = Native(os.fsencode(self.lower))
        self.served: list[Served] = []

    def give_layer(self, uid: int) -> None:
        """The layer is somebody's; the tree below stays what it is."""
        for path in (self.upper, self.work):
            os.chown(path, uid, uid)

    def overlay(self, mode: str = "cow", **options: object) -> Overlay:
        fds = [os.open(path, os.O_PATH) for path in (self.upper, self.lower)]
        return Overlay(fds, mode=mode, **options)

    def serve(self, mode: str = "cow", **options: object) -> Served:
        self.served.append(Served(self.overlay(mode, **options)))
        return self.served[-1]

    def end(self) -> None:
        while self.served:
            self.served.pop().tree.destroy()


@pytest.fixture
def place(scratch: Path) -> Iterator[Place]:
    root = Path(tempfile.mkdtemp(prefix="overlay-", dir=scratch))
    root.chmod(0o755)
    made = Place(root)
    yield made
    made.end()
    remove(root)
