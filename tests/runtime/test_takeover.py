"""What a dead supervisor wrote down becomes its successor's views and services."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from viewosd.abi.arch import NATIVE, Arch
from viewosd.abi.sysno import SYSNO
from viewosd.core.traps import Term
from viewosd.core.view import View
from viewosd.keeper.link import Link
from viewosd.keeper.plan import Plan
from viewosd.runtime import plugins, takeover
from viewosd.runtime.boot import Booted
from viewosd.runtime.journal import Journal
from viewosd.runtime.live import NOTIF
from viewosd.runtime.supervisor import Supervisor

SERVICE = """
from viewosd import Return, Service, hook
from viewosd.syscalls import getppid
class Counted(Service):
    name = "counted"
    def __init__(self, start: int = 0):
        self.count = start
    @hook(getppid)
    def answer(self, call, tracee):
        self.count += 1
        return Return(self.count)
    def describe(self):
        return self.count
    def restore(self, state):
        if state == 13:
            raise ValueError("unlucky")
        self.count = state
"""


@pytest.fixture
def service(tmp_path) -> str:
    path = tmp_path / "counted.py"
    path.write_text(SERVICE)
    return str(path)


@pytest.fixture
def plan() -> Iterator[Plan]:
    """With what outlives a supervisor; the test is the keeper of a supervisor that is itself."""
    made = Plan([b"true"], [])
    made.keeper, made.serverid, made.viewname = os.getppid(), 4242, "first"
    one, other = Link.pair()
    made.parking = (one.detach(), other.detach())
    made.journal, made.state = os.memfd_create("journal"), os.memfd_create("state")
    yield made
    for fd in (*made.parking, made.journal, made.state):
        os.close(fd)


@contextmanager
def supervisor(plan: Plan) -> Iterator[Supervisor]:
    """One that serves nobody."""
    ours, theirs = Link.pair()
    booted = Booted(plan, theirs, None)
    made = Supervisor(booted)
    try:
        yield made
    finally:
        made.pump._epoll.close()
        made.pump._window.release()
        made.pump.journal.close()
        made.armory.parking.close()
        os.close(booted.signals)
        ours.close()
        theirs.close()


async def successor_of(plan: Plan, made: Supervisor) -> None:
    plan.generation += 1
    made.plan.generation = plan.generation
    await takeover.take_over(made)


def add(made: Supervisor, view: View, text: str, permanent: bool = False) -> None:
    from viewosd.core.view import Loaded

    view.insert(Loaded(plugins.load(text), text, permanent))


async def test_views_services_and_their_order_are_as_they_were(plan, service):
    with supervisor(plan) as dead:
        add(dead, dead.root, f"{service},start=5")
        add(dead, dead.root, "misc,nodename=box", permanent=True)
        dead.root.move("misc", 0)
        branch = View(3, "inner", 12.5, parent=dead.root, root=os.getpid())
        branch.keeper = os.getppid()
        dead.add_view(branch)
        dead.next_view = 7
        dead.root.find("counted").service.count = 99
        dead.save()
    with supervisor(plan) as heir:
        await successor_of(plan, heir)
        assert heir.next_view == 7
        assert [(v.id, v.name, v.root) for v in heir.views.values()] == [
            (0, "first", 0), (3, "inner", os.getpid()),
        ]  # fmt: skip
        root, inner = heir.views.values()
        assert (inner.parent, inner.since, inner.keeper) == (root, 12.5, os.getppid())
        assert [one.name for one in root.services] == ["misc", "counted"]
        assert [one.permanent for one in root.services] == [True, False]
        assert root.find("counted").service.count == 99
        assert inner.services == root.services  # what was shared is shared
        assert SYSNO[NATIVE]["getppid"] in root.routes[int(NATIVE)]


async def test_a_service_that_can_not_be_made_again_is_left_out_and_told(plan, service, caplog):
    with supervisor(plan) as dead:
        add(dead, dead.root, service)
        add(dead, dead.root, "misc,nodename=box")
        dead.root.find("counted").service.count = 13
        dead.save()
    with supervisor(plan) as heir, caplog.at_level(logging.ERROR):
        await successor_of(plan, heir)
        assert [one.name for one in heir.root.services] == ["misc"]
        assert f"service {service} is lost" in caplog.text


async def test_without_anything_written_down_it_begins_with_nothing(plan):
    with supervisor(plan) as heir:
        await successor_of(plan, heir)
        assert list(heir.views) == [0]
        assert heir.root.services == []


async def test_nothing_is_written_down_before_all_is_known(plan, service):
    """A service may say `remember` while it starts again."""
    with supervisor(plan) as dead:
        add(dead, dead.root, f"{service},start=5")
        dead.save()
        before = dead.state.load()
    plan.generation = 1
    with supervisor(plan) as heir:
        heir.save()
        assert heir.state.load() == before


async def test_what_a_re_arm_would_have_added_is_counted_on_and_not_relied_on(plan):
    number = SYSNO[NATIVE]["getppid"]
    wanted = {Arch(NATIVE): {number: (Term(),)}}
    with supervisor(plan) as dead:
        dead.armory.attempted = wanted
        dead.armory.record()
    with supervisor(plan) as heir:
        await successor_of(plan, heir)
        assert number in heir.armory.installed[int(NATIVE)]
        assert not heir.armory.suffices(wanted)
        heir._settled = True
        heir.save()
    with supervisor(plan) as next_one:
        await successor_of(plan, next_one)
        assert not next_one.armory.suffices(wanted)


async def test_a_successor_whose_keeper_is_gone_claims_no_process(plan):
    """Its parent is init by then, and below init is everybody."""
    plan.keeper = 2**22 + 1
    with supervisor(plan) as heir:
        await successor_of(plan, heir)
        assert heir.members.ancestor == 0
        assert os.getppid() not in heir.members.everybody()
        assert heir.members.everybody() == []


async def test_a_call_whose_listener_was_lost_gives_its_slot_back(plan):
    journal = Journal(plan.journal)
    journal.prepare(1, 77)
    window = journal.window(1)
    window[:8] = (0xABC).to_bytes(8, "little")
    assert NOTIF(window)[0] == 0xABC
    window.release()
    journal.close()
    with supervisor(plan) as heir:
        await successor_of(plan, heir)
        assert heir.pump.journal.left_behind(False) == []
