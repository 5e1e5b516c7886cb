"""Threads of a tracee, or of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def in_threads(count: int, function: Callable[[int], Any], stack: int = 0) -> list[Any]:
    """What each of ``count`` threads returns; ``stack``: the bytes of each stack."""
    results: list[Any] = [None] * count
    if stack:
        threading.stack_size(stack)

    def one(n: int) -> None:
        results[n] = function(n)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
