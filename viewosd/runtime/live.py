"""One notification in hand, from RECV to its answer."""

from __future__ import annotations

from struct import Struct
from typing import Any

from ..core.routing import Route
from ..errors import MustWait
from ..syscalls.base import Syscall
from .listener import Listener
from .tracee import ThreadTracee

NOTIF = Struct("=QIIiIQ6Q").unpack_from  # struct seccomp_notif, seccomp_data flattened
"""(cookie, tid, flags, nr, arch, instruction pointer, six registers)"""


class Live:
    """A received call, and what the supervisor needs to answer it or let it go.

    ``ended`` says why its hook was cancelled: "vanished", "superseded", "restarted" (and there is
    nothing left to answer), or "signal"; None while it runs, and when its deadline ended it.
    ``wanted``: what must be done aside before the next hook is asked.
    ``result_at``: where the program wants 32 bits of result, and 0 returned; 0: it is returned.
    """

    __slots__ = (
        "call",
        "cookie",
        "ended",
        "listener",
        "next",
        "nr",
        "result_at",
        "route",
        "scope",
        "slot",
        "started_ns",
        "tid",
        "tracee",
        "wanted",
    )

    def __init__(
        self, listener: Listener, cookie: int, tid: int, nr: int, route: Route, call: Syscall
    ) -> None:
        self.listener, self.cookie, self.tid, self.nr = listener, cookie, tid, nr
        self.route, self.call = route, call
        self.tracee = ThreadTracee(listener, cookie, tid, call.arch)
        self.slot = 0
        self.result_at = 0
        self.next = 0
        self.started_ns = 0
        self.scope: Any = None  # trio.CancelScope once a hook waits
        self.ended: str | None = None
        self.wanted: MustWait | None = None

    def __str__(self) -> str:
        return f"cookie {self.cookie:#x}, tid {self.tid}, {self.call!r}"
