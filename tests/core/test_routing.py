"""Routing tables, views and statistics: no process, no kernel."""

from __future__ import annotations

import posixpath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewosd.abi.arch import SUPPORTED, Arch
from viewosd.abi.sysno import SYSNO
from viewosd.core.paths import plain
from viewosd.core.routing import applies, build_routes
from viewosd.core.stats import RETURNED, Stats
from viewosd.service import Bits, HookSpec, Service, Under, hook
from viewosd.syscalls.base import members
from viewosd.syscalls.ioctl import ioctl
from viewosd.syscalls.numbers import number_of
from viewosd.syscalls.paths import Open, creat, openat
from viewosd.syscalls.process import getpgid, getppid
from viewosd.syscalls.socketcall import SOCKETCALL
from viewosd.syscalls.sockets import Socket, accept, connect
from viewosd.verdict import Return


class Both(Service):
    name = "both"

    @hook(getppid)
    @hook(getpgid, pid=(1, -1))
    def number(self, call: Any, tracee: Any) -> Return:
        return Return(1)


class Later(Service):
    name = "later"

    @hook(getppid)
    async def number(self, call: Any, tracee: Any) -> Return:
        return Return(2)


def routes(*services: Service) -> Any:
    return build_routes(services, SUPPORTED, Stats())


def route(table: Any, call: Any, arch: Arch = SUPPORTED[0]) -> Any:
    return table[arch].get(number_of(call, arch))


def test_a_call_that_nobody_hooks_has_no_route() -> None:
    assert route(routes(), getppid) is None
    assert all(not table for table in routes().values())


def test_a_method_may_carry_several_marks() -> None:
    table = routes(Both())
    assert route(table, getppid).handlers[0].plain
    assert not route(table, getpgid).handlers[0].plain


def test_hooks_are_asked_in_the_order_of_their_services() -> None:
    for services in ((Both(), Later()), (Later(), Both())):
        names = [h.service for h in route(routes(*services), getppid).handlers]
        assert names == list(services)


def test_only_one_plain_hook_alone_is_answered_the_short_way() -> None:
    assert route(routes(Both()), getppid).inline
    assert not route(routes(Later()), getppid).inline
    assert not route(routes(Both(), Later()), getppid).inline
    assert not route(routes(Both()), getpgid).inline


def test_a_hook_that_may_not_run_twice_is_not_answered_the_short_way() -> None:
    """The short way does not note in the journal that it began."""

    class Once(Service):
        name = "once"

        @hook(getppid, idempotent=False)
        def number(self, call: Any, tracee: Any) -> Return:
            return Return(1)

    assert not route(routes(Once()), getppid).inline


@given(st.integers(0, 2**64 - 1))
def test_a_condition_looks_at_the_bits_that_the_kernel_looks_at(value: int) -> None:
    handler = route(routes(Both()), getpgid).handlers[0]
    wanted = value & 0xFFFF_FFFF in (1, 0xFFFF_FFFF)
    assert handler.accepts((value, 0, 0, 0, 0, 0)) is wanted


def test_a_family_is_routed_in_all_its_members_on_every_architecture() -> None:
    class All(Service):
        name = "all"

        @hook(Open)
        def any(self, call: Any, tracee: Any) -> Return:
            return Return(1)

    table = routes(All())
    for arch in SUPPORTED:
        for name, call in members(Open).items():
            if name in SYSNO[arch]:
                assert table[arch][SYSNO[arch][name]].call is call


def test_what_an_i386_program_asks_by_socketcall_has_a_route() -> None:
    """Also those that have no number of their own there."""

    class Net(Service):
        name = "net"

        @hook(accept)
        @hook(connect)
        def any(self, call: Any, tracee: Any) -> Return:
            return Return(1)

    inside = routes(Net()).socketcall
    assert {SOCKETCALL[n] for n in inside} == {accept, connect}


def test_a_condition_on_what_a_call_implies_decides_when_the_table_is_made() -> None:
    for name, call in members(Open).items():
        if name == "creat":
            spec = HookSpec(Open, {"mode": 5})
            assert applies(spec, call) or "mode" not in call.registers
    spec = HookSpec(Socket, {})
    assert all(applies(spec, call) for call in members(Socket).values())


def test_a_path_prefix_is_kept_as_it_is_meant() -> None:
    class Paths(Service):
        name = "paths"

        @hook(openat, path=Under(b"/a//b/./c/"))
        def any(self, call: Any, tracee: Any) -> Return:
            return Return(1)

    (handler,) = route(routes(Paths()), openat).handlers
    assert handler.under == (("path", b"/a/b/c"),)


def test_a_hook_on_an_ioctl_request_routes_the_call() -> None:
    class Blocks(Service):
        name = "blocks"

        @hook(ioctl, request=(0x1277, 0x8008_1272))
        def any(self, call: Any, tracee: Any) -> Return:
            return Return(1)

    (handler,) = route(routes(Blocks()), ioctl).handlers
    assert handler.accepts((3, 0x1277, 0, 0, 0, 0))
    assert handler.accepts((3, 0xDEAD_0000_8008_1272, 0, 0, 0, 0))
    assert not handler.accepts((3, 0x1278, 0, 0, 0, 0))


def test_a_hook_on_some_bits_of_a_register_routes_the_calls_that_have_one() -> None:
    class Creating(Service):
        name = "creating"

        @hook(openat, flags=Bits(0o100 | 0o2000))
        def any(self, call: Any, tracee: Any) -> Return:
            return Return(1)

    table = routes(Creating())
    found = route(table, openat)
    assert found.inline is None
    (handler,) = found.handlers
    assert handler.accepts((3, 0, 0o102, 0, 0, 0))
    assert handler.accepts((3, 0, 0o2001, 0, 0, 0))
    assert not handler.accepts((3, 0, 0o1, 0, 0, 0))
    assert applies(HookSpec(Open, {"flags": Bits(0o100)}), creat)
    assert not applies(HookSpec(Open, {"flags": Bits(0o2000000)}), creat)


def test_statistics_survive_a_change_of_services() -> None:
    stats = Stats()
    first = build_routes((Both(),), SUPPORTED, stats)
    route(first, getppid).stats.counts[RETURNED] += 3
    second = build_routes((Later(), Both()), SUPPORTED, stats)
    assert route(second, getppid).stats.counts[RETURNED] == 3


pieces = st.lists(st.sampled_from([b"a", b"b", b".", b"..", b"", b"...", b".a"]))


@given(pieces)
def test_a_plain_path_is_what_posix_normalisation_says(names: list[bytes]) -> None:
    path = b"/" + b"/".join(names)
    assert plain(path) == posixpath.normpath(b"/" + path.lstrip(b"/"))


@given(pieces)
def test_a_plain_path_stays_as_it_is(names: list[bytes]) -> None:
    once = plain(b"/" + b"/".join(names))
    assert plain(once) == once


def test_under_needs_an_absolute_prefix() -> None:
    with pytest.raises(TypeError, match="absolute"):
        Under(b"a")


def test_a_mark_names_a_register_of_its_call() -> None:
    with pytest.raises(TypeError, match="getpgid has no register nonsense"):
        hook(getpgid, nonsense=1)
