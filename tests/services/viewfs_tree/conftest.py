"""Layers over a small tree, and whom they belong to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import remove


@pytest.fixture
def place(scratch: Path) -> Iterator[Path]:
    """A directory for one test that every user can enter and write."""
    path = Path(tempfile.mkdtemp(prefix="overlay-", dir=scratch))
    os.chmod(path, 0o777)
    yield path
    remove(path)
