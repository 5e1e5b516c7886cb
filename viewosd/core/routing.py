"""Who answers a call: the services of a view in their order, made into one table.

Pure. The table is built anew whenever the list of services changes; looking a call up is two
dictionary accesses, because that is done for every notification.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from ..abi.arch import NATIVE, Arch
from ..service import Bits, HookSpec, Service, Under
from ..syscalls.base import Syscall, members
from ..syscalls.ipccall import IPC
from ..syscalls.numbers import number_of
from ..syscalls.socketcall import SOCKETCALL
from .paths import plain
from .stats import CallStats, Stats
from .traps import fulfils

Test = tuple[int, int, frozenset[int]]


class Handler:
    """One hook, bound to its service, with its conditions ready to be tested."""

    __slots__ = ("bits", "is_async", "method", "plain", "service", "spec", "tests", "under")

    def __init__(
        self, service: Service, spec: HookSpec, method: Callable[..., Any], call: type[Syscall]
    ) -> None:
        self.service, self.spec, self.method = service, spec, method
        self.is_async = inspect.iscoroutinefunction(method)
        self.tests: tuple[Test, ...] = tuple(_tests(spec, call))
        self.bits = tuple(
            (call.registers.index(n), c.mask)
            for n, c in spec.conditions.items()
            if isinstance(c, Bits) and n in call.registers
        )
        self.under = tuple(
            (n, plain(c.prefix)) for n, c in spec.conditions.items() if isinstance(c, Under)
        )
        self.plain = not self.tests and not self.bits and not self.under

    def accepts(self, args: tuple[int, ...]) -> bool:
        """Do the registers fulfil its conditions? (Paths are the runtime's to look at.)"""
        return all(args[index] & mask in values for index, mask, values in self.tests) and all(
            args[index] & mask for index, mask in self.bits
        )


class Route:
    """What happens with one call number: its class, and the hooks to ask, in order."""

    __slots__ = ("call", "direct", "handlers", "inline", "name", "stats", "under")

    def __init__(self, call: type[Syscall], handlers: list[Handler], stats: CallStats) -> None:
        self.call, self.handlers, self.stats = call, handlers, stats
        self.name = call.__name__
        # The common case by far: one plain hook without conditions, called at once. One that may
        # not be run twice takes the long way, where that is noted.
        only = handlers[0] if len(handlers) == 1 else None
        simple = only and only.plain and not only.is_async and only.spec.idempotent
        self.inline = only.method if only and simple else None
        # A native program's registers are the call's own: decode() would do no more than make it.
        self.direct = call.order(NATIVE) is call.registers
        # And the next: one hook on the paths below a prefix, where most paths are not.
        self.under: tuple[int, bytes] | None = None
        if only and len(only.under) == 1 and not only.tests and not only.bits:
            name, prefix = only.under[0]
            if name in call.registers:
                self.under = (call.registers.index(name), prefix)


class Routes(dict[int, dict[int, Route]]):
    """Architecture to call number to route.

    Attributes:
        socketcall, ipc: routes of what is inside i386's calls of that name, by sub-call.
    """

    def __init__(self, arches: Iterable[Arch] = ()) -> None:
        super().__init__({int(arch): {} for arch in arches})
        self.socketcall: dict[int, Route] = {}
        self.ipc: dict[int, Route] = {}
        self.plain: dict[int, tuple[Callable[..., Any], type[Syscall], CallStats]] = {}
        """`Route.inline` of native programs: hook, call, figures, ready for the hot path."""


def build_routes(services: Iterable[Service], arches: Iterable[Arch], stats: Stats) -> Routes:
    """The table for a view's services, in search order."""
    found: dict[type[Syscall], list[Handler]] = {}
    for service in services:
        for spec, method in service.hooks():
            for call in members(spec.call).values():
                if applies(spec, call):
                    found.setdefault(call, []).append(Handler(service, spec, method, call))
    routes = Routes(arches)
    for call, handlers in found.items():
        route = Route(call, handlers, stats.of(call.__name__))
        for arch, table in routes.items():
            if (number := number_of(call, Arch(arch))) is not None:
                table[number] = route
        number = number_of(call, NATIVE)
        if number is not None and route.inline is not None and route.direct:
            routes.plain[number] = route.inline, call, route.stats
        routes.socketcall |= {n: route for n, inner in SOCKETCALL.items() if inner is call}
        routes.ipc |= {n: route for n, inner in IPC.items() if inner is call}
    return routes


def applies(spec: HookSpec, call: type[Syscall]) -> bool:
    """False where a condition is on a register that ``call`` implies, with another value."""
    for name, condition in spec.conditions.items():
        if name not in call.registers and not isinstance(condition, Under):
            implied = getattr(call, name, None)
            if not isinstance(implied, int) or not fulfils(condition, implied):
                return False
    return True


def _tests(spec: HookSpec, call: type[Syscall]) -> Iterable[Test]:
    for name, condition in spec.conditions.items():
        if isinstance(condition, Under | Bits) or name not in call.registers:
            continue
        values = (condition,) if isinstance(condition, int) else condition
        index = call.registers.index(name)
        mask = (1 << call.kinds[index].width) - 1
        yield index, mask, frozenset(v & mask for v in values)
