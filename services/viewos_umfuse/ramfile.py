"""One file in memory, as a whole file system: its root is the file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Final

from viewosd.abi.stat import S_IFREG
from viewosd.filetree import ROOT, Attr
from viewosd.memorytree import MemoryTree, Node

SIZE: Final = 1 << 30
"""Bytes that it may have unless ``size=`` says otherwise."""


class RamFile(MemoryTree):
    """It is empty, and belongs to whoever mounts it."""

    def __init__(
        self, descriptors: Sequence[int] = (), size: int = SIZE, mode: int = 0o644
    ) -> None:
        super().__init__(descriptors, size)
        now = time.time_ns()
        attr = Attr(
            ROOT, S_IFREG | mode, 1, os.geteuid(), os.getegid(), blocks=0,
            atime_ns=now, mtime_ns=now, ctime_ns=now,
        )  # fmt: skip
        self.nodes = {ROOT: Node(attr)}
