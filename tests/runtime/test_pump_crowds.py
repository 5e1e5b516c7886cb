"""Many calls at once, and tracees that are killed at any step."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any

import pytest
import trio

from helpers.hanging import at_rest
from helpers.rig import libc, rig, serve, syscall, until
from helpers.threads import in_threads
from viewosd.runtime import journal as journal_module
from viewosd.syscalls.process import getpgid, getppid, getsid
from viewosd.verdict import InjectFd, Return, Verdict


async def test_64_threads_wait_at_once() -> None:
    now, most = 0, 0

    async def slowly(call: Any, tracee: Any) -> Verdict:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await trio.sleep(0.2)
        now -= 1
        return Return(int(call.pid) + 1)

    async with rig(serve(getpgid, slowly)) as view:
        results = await view.ask(lambda: in_threads(64, lambda n: syscall("getpgid", n)))
        assert results == [n + 1 for n in range(64)]
        assert most > 32
        await at_rest(view)


async def test_many_threads_with_hooks_of_every_length() -> None:
    """Also those that turn out not to wait, so that the turn to receive goes to and fro."""

    async def answer(call: Any, tracee: Any) -> Verdict:
        for _ in range(int(call.pid) % 4):
            await trio.lowlevel.checkpoint()
        if call.pid % 16 == 5:
            await trio.sleep(0.005)
        return Return(int(call.pid))

    def calls(n: int) -> list[int]:
        return [syscall("getpgid", n * 1000 + i) for i in range(60)]

    async with rig(serve(getpgid, answer)) as view:
        results = await view.ask(lambda: in_threads(32, calls))
        assert results == [[n * 1000 + i for i in range(60)] for n in range(32)]
        await at_rest(view)
        assert len(view.pump._turn.parked) <= 9


async def test_hundreds_of_processes() -> None:
    def closure() -> list[int]:
        pids = []
        for n in range(300):
            if (pid := os.fork()) == 0:
                os._exit(syscall("getsid", n) % 200)
            pids.append(pid)
        return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]

    async def answer(call: Any, tracee: Any) -> Verdict:
        await trio.sleep(0.05)
        return Return(int(call.pid))

    async with rig(serve(getsid, answer)) as view:
        assert await view.ask(closure) == [n % 200 for n in range(300)]
        await at_rest(view)


async def test_many_listeners_are_served_side_by_side() -> None:
    async def answer(call: Any, tracee: Any) -> Verdict:
        await trio.sleep(0.01)
        return Return(int(call.pid))

    async with rig(serve(getsid, answer)) as view:
        tracees = [view.call(lambda n=n: syscall("getsid", n)) for n in range(30)]
        assert [await t.result() for t in tracees] == list(range(30))
        await until(lambda: view.gone == 30)
        assert not view.pump.listeners


async def test_more_calls_than_the_journal_holds_wait_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_module, "SLOTS", 8)
    go = trio.Event()
    waiting = []

    async def answer(call: Any, tracee: Any) -> Verdict:
        waiting.append(call.pid)
        await go.wait()
        return Return(int(call.pid))

    async with rig(serve(getsid, answer)) as view:
        tracee = view.call(lambda: in_threads(40, lambda n: syscall("getsid", n)))
        await until(lambda: len(waiting) == 7)
        await trio.sleep(0.1)
        assert len(waiting) == 7
        go.set()
        assert await tracee.result() == list(range(40))
        await at_rest(view)


async def test_a_burst_leaves_room_for_everybody_else_in_the_loop() -> None:
    """The control socket is a task like this one."""
    turns = 0

    async def elsewhere() -> None:
        nonlocal turns
        while True:
            await trio.sleep(0.001)
            turns += 1

    def busily(n: int) -> None:
        for _ in range(400):
            syscall("getppid")

    async with rig(serve(getppid, lambda c, t: Return(7))) as view, trio.open_nursery() as nursery:
        nursery.start_soon(elsewhere)
        await view.ask(lambda: in_threads(16, busily))
        assert turns > 5
        nursery.cancel_scope.cancel()


PAUSES = [0.0, 0.0002, 0.0005, 0.001, 0.002, 0.005]


@pytest.mark.parametrize(
    "verdict", ["return", "inject", "inject writable", "wait", "read", "raise"]
)
async def test_a_tracee_may_be_killed_at_any_step(
    verdict: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(call: Any, tracee: Any) -> Verdict:
        if verdict == "wait":
            await trio.sleep(0.0005)
        if verdict == "read":
            tracee.read(int(call.pid), 8)
            with tracee.fd(0):
                pass
            _ = (tracee.credentials, tracee.umask, tracee.cwd, tracee.command)
            tracee.write(int(call.pid), b"8 bytes.")
        if verdict == "raise":
            raise FileNotFoundError(errno.ENOENT, "no")
        if verdict == "inject":
            return InjectFd(os.open("/dev/null", os.O_RDONLY), True)
        if verdict == "inject writable":
            return InjectFd(os.open("/dev/null", os.O_RDWR), True)
        return Return(7)

    def closure() -> None:
        libc.mmap.restype = ctypes.c_void_p
        low = libc.mmap(ctypes.c_void_p(0x10000000), 4096, 3, 0x32, -1, 0)
        while True:
            fd = syscall("getpgid", low)
            if verdict.startswith("inject"):
                os.close(fd)

    before = len(os.listdir("/proc/self/fd"))
    async with rig(serve(getpgid, answer)) as view:
        for n in range(60):
            tracee = view.call(closure)
            await trio.sleep(0.002 + PAUSES[n % len(PAUSES)])
            tracee.kill()
            assert os.WIFSIGNALED(await tracee.wait())
        await at_rest(view)
        await until(lambda: not view.pump.listeners)
    assert not [r for r in caplog.records if r.levelname in ("ERROR", "WARNING")]
    assert len(os.listdir("/proc/self/fd")) == before
