"""A stage with puppets: `helpers.puppets`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.puppets import Stage, staged


@pytest.fixture
def stage(me, tmp_path: Path) -> Iterator[Stage]:
    """Views of whoever runs the tests."""
    yield from staged(me, tmp_path)
