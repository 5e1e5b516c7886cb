"""A directory tree in memory."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Final

from viewosd.filetree import ROOT
from viewosd.memorytree import MemoryTree

SIZE: Final = 1 << 30
"""Bytes that its files may have together unless ``size=`` says otherwise."""


class Ram(MemoryTree):
    """It is empty, and belongs to whoever mounts it."""

    def __init__(
        self, descriptors: Sequence[int] = (), size: int = SIZE, mode: int = 0o755
    ) -> None:
        super().__init__(descriptors, size, mode)
        root = self.nodes[ROOT].attr
        root.uid, root.gid = os.geteuid(), os.getegid()
        root.atime_ns = root.mtime_ns = root.ctime_ns = time.time_ns()
