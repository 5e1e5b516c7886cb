"""A layer over a directory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.layer import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def later() -> Callable[[], None]:
    """Wait until a file made now is younger than one made before, by the kernel's coarse clock."""

    def wait() -> None:
        before = time.clock_gettime_ns(5)  # CLOCK_REALTIME_COARSE
        while time.clock_gettime_ns(5) == before:
            time.sleep(0.001)

    return wait
