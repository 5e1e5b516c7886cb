"""Programs that could not be brought into their view's namespaces come in with their next one.

The kernel lets a process into a user namespace only while it has one thread. A multi-threaded
program forks children that have one, and these execute programs: at that call they are stopped,
brought in, and make it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ..errors import ViewError
from ..service import Service, hook
from ..syscalls import Exec
from ..tracee import Tracee
from ..verdict import Verdict
from .space import ViewSpace


class Latecomers(Service):
    """The runtime's own service, in a view that has somebody outside of its namespaces.

    Args:
        bring: brings a process in, which is stopped for that; why not, or "".
    """

    name = "latecomers"

    def __init__(self, space: ViewSpace, bring: Callable[[int], Awaitable[str]]) -> None:
        self._space, self._bring = space, bring
        self._tried: set[int] = set()

    @hook(Exec)
    async def execute(self, call: Exec, tracee: Tracee) -> Verdict | None:
        """Not mine; but first come in."""
        tried = tracee.tid in self._tried
        self._tried.discard(tracee.tid)
        if tried or self._space.inhabits(tracee.tid):
            return None
        done = trio.Event()
        pid = tracee.pid

        async def bring() -> None:
            try:
                await self._bring(pid)
            except ViewError:
                pass  # a debugger holds it, say: it goes on as it is
            finally:
                done.set()

        # Once, whatever comes of it: the call that is asked again must not be brought again.
        self._tried.add(tracee.tid)
        trio.lowlevel.spawn_system_task(bring)
        await done.wait()
        self._tried.discard(tracee.tid)
        return None
