"""Directories for programs that must find them inside as they are natively."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import User
from helpers import grounds
from helpers.grounds import Ground
from helpers.programs import program as program


@pytest.fixture
def ground(user: User, scratch: Path) -> Iterator[Ground]:
    """Whoever runs the tests, and as root an ordinary user as well."""
    yield from grounds.ground(user, scratch)


@pytest.fixture
def ground_in_memory(user: User, scratch: Path) -> Iterator[Ground]:
    """The same, with trees of thousands of files that are made and removed fast."""
    yield from grounds.ground(user, scratch, Path("/dev/shm"))


@pytest.fixture
def my_ground(me: User, scratch: Path) -> Iterator[Ground]:
    """Whoever runs the tests."""
    yield from grounds.ground(me, scratch)


@pytest.fixture
def nobodys_ground(nobody: User, scratch: Path) -> Iterator[Ground]:
    """An ordinary user."""
    yield from grounds.ground(nobody, scratch)
