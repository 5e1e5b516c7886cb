"""Hooks that wait: who else is served meanwhile, and what ends them."""

from __future__ import annotations

import errno
import os
import signal
import threading
from typing import Any

import pytest
import trio

from helpers.hanging import Hanging, at_rest
from helpers.rig import rig, serve, syscall, until
from viewosd.syscalls.process import getpgid, getppid
from viewosd.verdict import InjectFd, Return, Verdict


async def test_a_hook_that_never_returns_does_not_stop_other_threads() -> None:
    hanging = Hanging()

    def closure() -> list[int]:
        stuck = threading.Thread(target=syscall, args=("getppid",), daemon=True)
        stuck.start()
        return [syscall("getpgid", 0) for _ in range(300)]

    async with rig(hanging.service(), serve(getpgid, lambda c, t: Return(9))) as view:
        tracee = view.call(closure)
        assert await tracee.result() == [9] * 300
        await at_rest(view)
        assert hanging.cancelled == len(hanging.asked)


async def test_a_hook_that_never_returns_does_not_stop_other_processes() -> None:
    hanging = Hanging()
    async with rig(hanging.service(), serve(getpgid, lambda c, t: Return(9))) as view:
        stuck = [view.call(lambda: syscall("getppid")) for _ in range(5)]
        await until(lambda: len(hanging.asked) == 5)
        assert await view.ask(lambda: [syscall("getpgid", 0) for _ in range(100)]) == [9] * 100
        hanging.go.set()
        assert [await t.result() for t in stuck] == [7] * 5
        await at_rest(view)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_killed_tracee_ends_its_hook(number: int) -> None:
    hanging = Hanging()
    async with rig(hanging.service()) as view:
        tracee = view.call(lambda: syscall("getppid"))
        await until(lambda: hanging.asked)
        tracee.kill(number)
        assert os.WTERMSIG(await tracee.wait()) == number
        await until(lambda: hanging.cancelled == 1)
        await at_rest(view)
        assert view.gone == 1
        # The view goes on.
        hanging.go.set()
        assert await view.ask(lambda: syscall("getppid")) == 7


async def test_an_injected_descriptor_of_a_cancelled_hook_is_closed() -> None:
    opened: list[int] = []
    asked = trio.Event()

    async def stubborn(call: Any, tracee: Any) -> Verdict:
        asked.set()
        try:
            await trio.sleep_forever()
        finally:
            opened.append(os.memfd_create("late"))
            return InjectFd(opened[0])  # noqa: B012

    async with rig(serve(getppid, stubborn)) as view:
        tracee = view.call(lambda: syscall("getppid"))
        await asked.wait()
        tracee.kill()
        await tracee.wait()
        await at_rest(view)
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(opened[0])


async def test_a_call_that_is_asked_anew_cancels_the_old_request() -> None:
    """As on kernels without WAIT_KILLABLE_RECV: a handled signal takes a received call back."""
    hanging = Hanging()

    def closure() -> int:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.siginterrupt(signal.SIGUSR1, False)  # SA_RESTART
        return syscall("getppid")

    async with rig(hanging.service(), killable=False) as view:
        tracee = view.call(closure)
        for count in (1, 2, 3):
            await until(lambda n=count: len(set(hanging.asked)) == n)
            await until(lambda n=count: hanging.cancelled == n - 1)
            assert list(view.live) == [tracee.pid]
            if count < 3:
                tracee.kill(signal.SIGUSR1)
        hanging.go.set()
        assert await tracee.result() == 7
        await at_rest(view)


async def test_a_call_that_a_signal_took_back_ends_its_hook() -> None:
    """And without SA_RESTART it is never asked anew: only the cookie tells."""
    hanging = Hanging()

    def closure() -> int:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        return syscall("getppid")

    async with rig(hanging.service(), killable=False) as view:
        tracee = view.call(closure)
        await until(lambda: hanging.asked)
        tracee.kill(signal.SIGUSR1)
        assert await tracee.result() == -errno.EINTR
        await until(lambda: hanging.cancelled == 1)
        await at_rest(view)
