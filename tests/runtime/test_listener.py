"""One listener: what the kernel answers to RECV, SEND, ADDFD and ID_VALID, and what we make of it.

These tests play the supervisor by hand, without a pump.
"""

from __future__ import annotations

import errno
import os
import pickle
import select
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.rig import Rig, Tracee, serve, syscall
from viewosd.errors import Vanished
from viewosd.runtime import listener as module
from viewosd.runtime.journal import WINDOW
from viewosd.runtime.listener import Listener
from viewosd.runtime.live import NOTIF
from viewosd.syscalls.process import getpgid
from viewosd.verdict import CONTINUE


class ByHand:
    """A tracee and its listener; nobody serves it."""

    def __init__(self, closure: Any, killable: bool = True) -> None:
        self.rig = Rig([serve(getpgid, lambda c, t: CONTINUE)], killable)
        self.tracee: Tracee = self.rig.call(closure)
        (self.listener,) = self.rig.pump.listeners.values()
        self.window = memoryview(bytearray(WINDOW))

    def wait(self, events: int = select.POLLIN) -> bool:
        poll = select.poll()
        poll.register(self.listener.fd, events)
        return any(found & events for _, found in poll.poll(60_000))

    def receive(self) -> tuple[int, ...]:
        """Cookie, tid, …"""
        assert self.wait()
        self.window[:80] = bytes(80)
        assert self.listener.receive(self.window)
        return NOTIF(self.window)

    def result(self) -> Any:
        _, self.tracee._status = os.waitpid(self.tracee.pid, 0)
        return pickle.loads(self.tracee.output)


@pytest.fixture
def by_hand() -> Iterator[Any]:
    made: list[ByHand] = []

    def make(*args: Any, **kwargs: Any) -> ByHand:
        made.append(ByHand(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.rig.close()


def call(argument: int = 0) -> int:
    return syscall("getpgid", argument)


def test_a_call_is_received_with_all_its_registers(by_hand: Any) -> None:
    hand = by_hand(lambda: syscall("getpgid", 1, 2, 3, 4, 5, (1 << 63) - 6))
    cookie, tid, flags, _nr, _arch, _, *args = hand.receive()
    assert (tid, flags) == (hand.tracee.pid, 0)
    assert args == [1, 2, 3, 4, 5, (1 << 63) - 6]
    assert hand.listener.alive(cookie)
    hand.listener.give(cookie, 7)
    assert not hand.listener.alive(cookie)
    assert hand.result() == 7


def test_an_answered_cookie_is_dead(by_hand: Any) -> None:
    hand = by_hand(call)
    cookie = hand.receive()[0]
    hand.listener.give(cookie, 1)  # from now on, whether or not the tracee ran already
    for act in (
        lambda: hand.listener.give(cookie, 2),
        lambda: hand.listener.fail(cookie, 5),
        lambda: hand.listener.go_on(cookie),
        lambda: hand.listener.add(cookie, 0, False),
    ):
        with pytest.raises(Vanished):
            act()
    assert hand.result() == 1


@pytest.mark.parametrize("code", [0, -1, -13, 4096, 1 << 31])
def test_an_errno_has_the_right_sign_or_is_refused(by_hand: Any, code: int) -> None:
    """A positive error would be taken for success by the kernel (T10)."""
    hand = by_hand(call)
    cookie = hand.receive()[0]
    with pytest.raises(ValueError, match="no errno"):
        hand.listener.fail(cookie, code)
    assert hand.listener.alive(cookie)
    hand.listener.fail(cookie, 13)
    assert hand.result() == -13


def test_a_window_that_is_not_zero_is_refused_by_the_kernel(by_hand: Any) -> None:
    """T7: so whoever reuses one must clear it."""
    hand = by_hand(call)
    assert hand.wait()
    hand.window[20] = 1
    with pytest.raises(OSError, match="Invalid argument"):
        hand.listener.receive(hand.window)
    hand.listener.give(hand.receive()[0], 7)
    assert hand.result() == 7


def test_a_call_that_was_withdrawn_before_it_was_received_is_nothing(by_hand: Any) -> None:
    """T6: ENOENT between poll and RECV is ordinary. T8: and it does not block."""
    hand = by_hand(call)
    assert hand.wait()
    hand.tracee.kill()
    assert hand.wait(select.POLLHUP)
    assert not hand.listener.receive(hand.window)


def test_the_end_of_a_listener_is_pollhup(by_hand: Any) -> None:
    hand = by_hand(lambda: 3)
    assert hand.result() == 3
    assert hand.wait(select.POLLHUP)


def test_a_signal_takes_back_a_call_only_without_wait_killable_recv(by_hand: Any) -> None:
    def closure() -> int:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        return call()

    soft = by_hand(closure, killable=False)
    cookie = soft.receive()[0]
    soft.tracee.kill(signal.SIGUSR1)
    assert soft.result() == -errno.EINTR
    assert not soft.listener.alive(cookie)

    hard = by_hand(closure)
    cookie = hard.receive()[0]
    hard.tracee.kill(signal.SIGUSR1)
    hard.listener.give(cookie, 7)
    assert hard.result() == 7


def test_a_closed_listener_knows_no_living_cookie(by_hand: Any) -> None:
    """Also when its number is another file's by then."""
    hand = by_hand(call)
    cookie = hand.receive()[0]
    duplicate = os.dup(hand.listener.fd)
    number = hand.listener.fd
    hand.rig.pump.drop(hand.listener)
    os.dup2(duplicate, number)
    assert not hand.listener.alive(cookie)
    with pytest.raises(Vanished):
        hand.listener.give(cookie, 1)
    os.close(number)
    # Another copy keeps the call waiting, and can answer it (T43).
    other = Listener(duplicate, 99)
    other.give(cookie, 8)
    assert hand.result() == 8
    other.close()


def test_a_descriptor_is_added_and_the_call_waits_on(by_hand: Any) -> None:
    def closure() -> bytes:
        return os.read(call(), 10)

    hand = by_hand(closure)
    cookie = hand.receive()[0]
    reader, writer = os.pipe()
    os.write(writer, b"x")
    number = hand.listener.add(cookie, reader, False)
    assert hand.listener.alive(cookie)
    hand.listener.give(cookie, number)
    assert hand.result() == b"x"
    os.close(reader)
    os.close(writer)


def test_only_enoent_means_that_a_cookie_is_dead(
    by_hand: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T5: on any other error the call still waits for us."""
    hand = by_hand(call)
    cookie = hand.receive()[0]

    def broken(*_: Any) -> int:
        raise OSError(errno.EINVAL, "an odd kernel")

    with monkeypatch.context() as patch:
        patch.setattr(module, "ioctl", broken)
        with pytest.raises(OSError, match="odd kernel"):
            hand.listener.alive(cookie)
        with pytest.raises(OSError, match="odd kernel"):
            hand.listener.give(cookie, 1)
    hand.listener.give(cookie, 7)
    assert hand.result() == 7
