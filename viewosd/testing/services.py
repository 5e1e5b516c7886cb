"""Services for tests, loaded by file: ``-p PATH/viewosd/testing/services.py:Mirror``.

They are in no entry-point group: nobody shall find `chaos` in a list of what is installed.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from viewosd.service import Answer, HookSpec, Service
from viewosd.testing.mirror import Reflection
from viewosd.tracee import Tracee
from viewosd.verdict import CONTINUE

__all__ = ["Chaos", "Faulty", "Mirror", "Slow"]

PATH = __file__
"""What to put before ``:Mirror``."""

Hooks = list[tuple[HookSpec, Callable[[Any, Tracee], Any]]]
Method = Callable[[Any, Tracee], Answer]


class Mirror(Reflection, Service):
    """The real system again, served by the supervisor."""

    name = "mirror"


class _Around(Reflection, Service):
    """Every hook of the mirror, with something else around it."""

    name = ""

    async def around(self, served: Method, call: Any, tracee: Tracee) -> Answer:
        """Answer ``call``, perhaps by what the mirror says."""
        raise NotImplementedError

    def hooks(self) -> Hooks:
        return [(spec, self._wrapped(method)) for spec, method in super().hooks()]

    def _wrapped(self, served: Method) -> Callable[[Any, Tracee], Awaitable[Answer]]:
        async def answer(call: Any, tracee: Tracee) -> Answer:
            return await self.around(served, call, tracee)

        return answer


class Slow(_Around):
    """The mirror, with each answer late."""

    name = "slow"

    def __init__(self, seconds: float = 0.005) -> None:
        self.seconds = seconds

    async def around(self, served: Method, call: Any, tracee: Tracee) -> Answer:
        await trio.sleep(self.seconds)
        return served(call, tracee)


class Faulty(_Around):
    """The mirror, with a bug: every nth call raises, and its tracee gets EIO."""

    name = "faulty"

    def __init__(self, every: int = 1, call: str = "") -> None:
        self.every, self.call, self._count = every, call, 0

    async def around(self, served: Method, call: Any, tracee: Tracee) -> Answer:
        if not self.call or type(call).__name__ == self.call:
            self._count += 1
            if not self._count % self.every:
                raise RuntimeError("a bug, on purpose")
        return served(call, tracee)


class Chaos(_Around):
    """The mirror, with one of several right answers by chance."""

    name = "chaos"

    def __init__(self, seed: int = 0, seconds: float = 0.004) -> None:
        self.seconds, self._random = seconds, random.Random(seed)

    async def around(self, served: Method, call: Any, tracee: Tracee) -> Answer:
        choice = self._random.choice(("at once", "late", "given up", "not at all", "continue"))
        if choice == "late":
            await trio.sleep(self._random.uniform(0, self.seconds))
        elif choice == "given up":
            with trio.move_on_after(self._random.uniform(0, self.seconds)):
                await trio.sleep_forever()
            return CONTINUE
        elif choice == "not at all":
            return None
        elif choice == "continue":
            return CONTINUE
        return served(call, tracee)
