"""A stage with puppets: `helpers.puppets`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.puppets import Stage, staged


@pytest.fixture
def stage(me, tmp_path: Path) -> Iterator[Stage]:
    """Views of whoever runs the tests."""
    yield from staged(me, tmp_path)


@pytest.fixture(params=["me", "nobody"])
def user_stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """Views of whoever runs the tests, and as root of an ordinary user as well."""
    user = request.getfixturevalue(request.param)
    place = tmp_path if request.param == "me" else user.runtime_dir
    if user.prefix and user.python != [sys.executable]:
        pytest.skip("another user can't execute the tests' interpreter where it lies")
    yield from staged(user, place)
