"""The journal, and what a successor makes of it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from helpers.rig import Rig, serve, syscall, until
from viewosd.runtime.journal import SLOT, SLOTS, WINDOW, Journal
from viewosd.runtime.listener import Listener
from viewosd.runtime.pump import Pump
from viewosd.syscalls.process import getpgid
from viewosd.verdict import Return


@pytest.fixture
def memfd() -> Iterator[int]:
    fd = os.memfd_create("journal", os.MFD_CLOEXEC)
    yield fd
    os.close(fd)


def receive(journal: Journal, slot: int, listener: int, cookie: int) -> None:
    """What RECV does."""
    journal.prepare(slot, listener)
    window = journal.window(slot)
    window[:8] = struct.pack("=Q", cookie)
    window.release()


def left(journal: Journal, suspicious: bool = False) -> list[tuple[int, int, bool, int]]:
    return list(journal.left_behind(suspicious))


def test_a_window_is_large_enough_to_be_handed_over_uncopied(memfd: int) -> None:
    journal = Journal(memfd)
    for slot in (1, SLOTS - 1):
        window = journal.window(slot)
        assert len(window) == WINDOW > 1024
        window.release()
    journal.close()


def test_a_successor_finds_what_was_not_answered(memfd: int) -> None:
    first = Journal(memfd)
    slots = [first.take() for _ in range(4)]
    for n, slot in enumerate(slots):
        receive(first, slot, listener=5, cookie=100 + n)
    first.begin(slots[1])
    first.release(slots[2])
    first.close()
    second = Journal(memfd)
    assert left(second, suspicious=True) == [
        (slots[0], 5, False, 0),
        (slots[1], 5, True, 0),
        (slots[3], 5, False, 0),
    ]
    # What is in hand is not given out again, and a second death is counted.
    taken = {second.take() for _ in range(SLOTS - 1 - 3)}
    assert not taken & {slots[0], slots[1], slots[3]}
    assert second.take() == 0
    second.close()
    third = Journal(memfd)
    assert [attempts for *_, attempts in left(third)] == [1, 1, 1]
    third.close()


def test_a_call_whose_hook_waited_is_not_what_hung_its_supervisor(memfd: int) -> None:
    first = Journal(memfd)
    slots = [first.take(), first.take()]
    for slot in slots:
        receive(first, slot, 1, 7)
    first.wait(slots[0])
    left(first, suspicious=True)
    assert [attempts for *_, attempts in left(first)] == [0, 1]
    first.wait(slots[1])
    left(first, suspicious=True)
    assert [attempts for *_, attempts in left(first)] == [1, 2]
    first.close()


def test_a_slot_that_is_used_again_says_nothing_of_its_last_call(memfd: int) -> None:
    journal = Journal(memfd)
    slot = journal.take()
    receive(journal, slot, 1, 7)
    journal.begin(slot)
    left(journal, suspicious=True)
    journal.release(slot)
    assert journal.take() == slot
    receive(journal, slot, 2, 8)
    assert left(journal) == [(slot, 2, False, 0)]
    journal.close()


def test_listener_keys_are_never_used_twice(memfd: int) -> None:
    first = Journal(memfd)
    keys = [first.next_key() for _ in range(3)]
    first.close()
    second = Journal(memfd)
    keys += [second.next_key() for _ in range(3)]
    second.close()
    assert keys == sorted(set(keys))
    assert 0 not in keys


def test_the_heartbeat_goes_on_where_it_was(memfd: int) -> None:
    for _ in range(3):
        journal = Journal(memfd)
        journal.beat()
        journal.close()
    assert struct.unpack("=Q", os.pread(memfd, 8, 0)) == (3,)


def test_few_pages_are_ever_touched(memfd: int) -> None:
    journal = Journal(memfd)
    for _ in range(1000):
        slot = journal.take()
        receive(journal, slot, 1, 7)
        journal.release(slot)
    journal.close()
    assert os.fstat(memfd).st_blocks * 512 <= 4 * 4096


class SlotsComeAndGo(RuleBasedStateMachine):
    """No slot is ever in two hands, and none is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.fd = os.memfd_create("journal", os.MFD_CLOEXEC)
        self.journal = Journal(self.fd)
        self.held: dict[int, int] = {}

    @rule(cookie=st.integers(1, 2**64 - 1))
    def receive(self, cookie: int) -> None:
        slot = self.journal.take()
        assert slot
        assert slot not in self.held
        receive(self.journal, slot, 1, cookie)
        self.held[slot] = cookie

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def answer(self, data: Any) -> None:
        slot = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[slot]
        self.journal.release(slot)

    @rule()
    def die(self) -> None:
        self.journal.close()
        self.journal = Journal(self.fd)

    @rule()
    def what_is_left_is_what_is_held(self) -> None:
        assert {slot for slot, *_ in left(self.journal)} == set(self.held)

    def teardown(self) -> None:
        self.journal.close()
        os.close(self.fd)


TestSlotsComeAndGo = SlotsComeAndGo.TestCase
TestSlotsComeAndGo.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)


# -- succession, with real calls


async def in_two_lives(mark: dict[str, Any], attempts: int = 0) -> Any:
    """What a call returns whose supervisor dies while its hook waits; the successor says 8."""
    waits = trio.Event()

    async def hang(call: Any, tracee: Any) -> Any:
        waits.set()
        await trio.sleep_forever()

    rig = Rig([serve(getpgid, hang, **mark)])
    copy = -1
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(rig.pump.run)
            tracee = rig.call(lambda: syscall("getpgid", 0))
            await waits.wait()
            (listener,) = rig.pump.listeners.values()
            copy = os.dup(listener.fd)
            key = listener.key
            nursery.cancel_scope.cancel()
        rig.pump.drop(listener)
        rig.pump._window.release()
        rig.journal.close()

        async def answer(call: Any, tracee: Any) -> Return:
            await trio.sleep(0.001)
            return Return(8)

        rig.view.remove("test")
        second = Rig([serve(getpgid, answer, **mark)])
        second.pump._window.release()
        second.journal.close()
        os.close(second._journal_fd)
        second._journal_fd = rig._journal_fd
        second.journal = Journal(rig._journal_fd)
        second.pump._epoll.close()
        second.pump = Pump(second.journal)
        second.tell()
        successor = Listener(copy, key)
        second.pump.add(successor)
        found = left(second.journal)
        async with trio.open_nursery() as nursery:
            await nursery.start(second.pump.run)
            for slot, owner, begun, _ in found:
                assert owner == key
                second.pump.adopt(slot, successor, begun, attempts)
            result = await tracee.result()
            await until(lambda: len(second.journal._free) == SLOTS - 2)
            nursery.cancel_scope.cancel()
        tracee.close()
        rig.tracees.clear()
        rig._journal_fd = -1
        rig.pump._epoll.close()
        second.close()
        return result
    finally:
        if rig._journal_fd >= 0:
            os.close(rig._journal_fd)


async def test_a_call_whose_supervisor_died_is_asked_again() -> None:
    assert await in_two_lives({}) == 8


async def test_a_call_that_may_not_be_done_twice_gets_the_errno_that_its_hook_chose(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await in_two_lives({"idempotent": False, "otherwise": 77}) == -77
    assert "may not be done twice" in caplog.text


async def test_a_call_that_ended_two_supervisors_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await in_two_lives({}, attempts=1) == -14
    assert "it fails" in caplog.text


def test_a_slot_holds_what_the_kernel_writes() -> None:
    assert SLOT >= 80 + 12


def test_a_descriptor_that_was_given_and_not_told_is_known_to_the_successor(memfd: int) -> None:
    first = Journal(memfd)
    slot, other = first.take(), first.take()
    for one in (slot, other):
        receive(first, one, listener=5, cookie=100 + one)
    first.add(slot, 0)
    first.add(other, 7)
    first.add(other, None)
    first.close()
    second = Journal(memfd)
    assert (second.added(slot), second.added(other)) == (0, None)
    second.prepare(slot, 5)
    assert second.added(slot) is None
    second.close()
