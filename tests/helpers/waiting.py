"""Wait for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

LIMIT = 60.0
"""Seconds until a test gives up; nothing that works comes near it, even on a loaded machine."""

T = TypeVar("T")


def until(condition: Callable[[], T], what: str = "the condition") -> T:
    """What the condition returns when it is true at last."""
    end = time.monotonic() + LIMIT
    while not (value := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)
    return value
