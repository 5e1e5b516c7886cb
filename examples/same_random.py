"""Randomness that repeats: viewos-run -p examples/same_random.py,seed=7 -- mktemp

For tests of programs, not for secrets. What reads /dev/urandom is not affected.
"""

import random

from viewosd import Return, Service, Tracee, hook
from viewosd.syscalls import getrandom

LARGEST = 256
"""The kernel may give less than was asked for, but never less than 256 bytes: getrandom(2)."""


class SameRandom(Service):
    """getrandom(2) gives the same bytes in every run."""

    name = "samerandom"

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)

    @hook(getrandom)
    def draw(self, call: getrandom, tracee: Tracee) -> Return:
        count = min(call.len, LARGEST)
        tracee.write(call.buf, self.random.randbytes(count))
        return Return(count)
