"""Hooks that wait: who else is served meanwhile, and what ends them."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from helpers.rig import Rig, libc, rig, serve, syscall, until
from viewosd.runtime import journal as journal_module
from viewosd.syscalls.process import getpgid, getppid, getsid
from viewosd.verdict import InjectFd, Return, Verdict


def in_threads(count: int, function: Callable[[int], Any]) -> list[Any]:
    """What each of ``count`` threads returns."""
    results: list[Any] = [None] * count

    def one(n: int) -> None:
        results[n] = function(n)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Hanging:
    """A hook that waits until the test lets it, and tells how it ended."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.cancelled = 0
        self.go = trio.Event()
        self.answers: list[Verdict] = []

    async def __call__(self, call: Any, tracee: Any) -> Verdict:
        self.asked.append(tracee.cookie)
        try:
            await self.go.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        return Return(7)

    def service(self, call: Any = getppid, **mark: Any) -> Any:
        async def answer(call: Any, tracee: Any) -> Verdict:
            return await self(call, tracee)

        return serve(call, answer, name=call.__name__, deadline_s=None, **mark)


async def at_rest(view: Rig) -> None:
    """No hook runs and no slot but the next call's is taken."""
    await until(lambda: not view.live, "the hooks to end")
    await until(lambda: len(view.journal._free) == journal_module.SLOTS - 2, "free slots")


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


def with_handler(restart: bool) -> tuple[int, int]:
    """The call's result, and how often the handler of SIGUSR1 ran."""
    runs = []
    signal.signal(signal.SIGUSR1, lambda *_: runs.append(1))
    signal.siginterrupt(signal.SIGUSR1, not restart)
    return syscall("getppid"), len(runs)


async def test_a_signal_does_not_end_a_hook_that_is_not_interruptible() -> None:
    hanging = Hanging()
    async with rig(hanging.service()) as view:
        tracee = view.call(lambda: with_handler(restart=False))
        await until(lambda: hanging.asked)
        tracee.kill(signal.SIGUSR1)
        await trio.sleep(0.2)  # several looks of the pump at its waiting calls
        assert not hanging.cancelled
        hanging.go.set()
        assert await tracee.result() == (7, 1)


async def test_a_signal_without_sa_restart_makes_an_interruptible_call_eintr() -> None:
    hanging = Hanging()
    async with rig(hanging.service(interruptible=True)) as view:
        tracee = view.call(lambda: with_handler(restart=False))
        await until(lambda: hanging.asked)
        tracee.kill(signal.SIGUSR1)
        assert await tracee.result() == (-errno.EINTR, 1)
        assert hanging.cancelled == 1
        await at_rest(view)


async def test_a_signal_with_sa_restart_asks_an_interruptible_hook_again() -> None:
    hanging = Hanging()
    async with rig(hanging.service(interruptible=True)) as view:
        tracee = view.call(lambda: with_handler(restart=True))
        await until(lambda: hanging.asked)
        tracee.kill(signal.SIGUSR1)
        await until(lambda: len(hanging.asked) == 2)
        hanging.go.set()
        assert (await tracee.result())[0] == 7
        assert hanging.cancelled == 1
        await at_rest(view)


@pytest.mark.parametrize("number", [signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH])
async def test_a_signal_that_nobody_handles_does_not_interrupt(number: int) -> None:
    hanging = Hanging()
    async with rig(hanging.service(interruptible=True)) as view:
        tracee = view.call(lambda: syscall("getppid"))
        await until(lambda: hanging.asked)
        tracee.kill(number)
        await trio.sleep(0.2)
        assert not hanging.cancelled
        hanging.go.set()
        assert await tracee.result() == 7


async def test_a_blocked_signal_does_not_interrupt() -> None:
    hanging = Hanging()

    def closure() -> int:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        return syscall("getppid")

    async with rig(hanging.service(interruptible=True)) as view:
        tracee = view.call(closure)
        await until(lambda: hanging.asked)
        tracee.kill(signal.SIGUSR1)
        await trio.sleep(0.2)
        assert not hanging.cancelled
        hanging.go.set()
        assert await tracee.result() == 7


async def test_a_stop_and_continue_leave_a_waiting_call_alone() -> None:
    hanging = Hanging()
    async with rig(hanging.service()) as view:
        tracee = view.call(lambda: syscall("getppid"))
        await until(lambda: hanging.asked)
        tracee.kill(signal.SIGSTOP)
        tracee.kill(signal.SIGCONT)
        hanging.go.set()
        assert await tracee.result() == 7
        assert len(hanging.asked) == 1


async def test_no_thread_ever_sees_a_restart_code() -> None:
    """A signal for the process is one thread's; the others that wait must not notice.

    A thread that is answered −ERESTARTSYS and finds no signal sees errno 512.
    """

    def closure() -> tuple[list[int], int]:
        handled = []
        signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
        stop = threading.Event()

        def ask(_: int) -> list[int]:
            results = []
            while not stop.is_set():
                results.append(syscall("getppid"))
            return results

        def storm() -> None:
            for _ in range(100):
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.003)
            stop.set()

        storming = threading.Thread(target=storm)
        storming.start()
        results = [r for part in in_threads(4, ask) for r in part]
        storming.join()
        return sorted(set(results)), len(handled)

    async def slowly(call: Any, tracee: Any) -> Verdict:
        await trio.sleep(0.12)
        return Return(7)

    async with rig(serve(getppid, slowly, interruptible=True)) as view:
        results, _ = await view.ask(closure)
        assert set(results) <= {7, -errno.EINTR}


async def test_a_storm_of_preemption_signals_neither_fails_nor_repeats_a_call() -> None:
    """Go sends SIGURG with SA_RESTART every 10 ms (runtime-spec 1161, agentsh 225)."""
    asked: dict[int, int] = {}

    async def slowly(call: Any, tracee: Any) -> Verdict:
        asked[call.pid] = asked.get(call.pid, 0) + 1
        await trio.sleep(0.03)
        return Return(7)

    def closure() -> list[int]:
        done = threading.Event()
        signal.signal(signal.SIGURG, lambda *_: None)
        signal.siginterrupt(signal.SIGURG, False)
        main = threading.main_thread().ident
        assert main is not None

        def storm() -> None:
            while not done.is_set():
                signal.pthread_kill(main, signal.SIGURG)
                time.sleep(0.002)

        thread = threading.Thread(target=storm)
        thread.start()
        results = [syscall("getpgid", n) for n in range(20)]
        done.set()
        thread.join()
        return results

    async with rig(serve(getpgid, slowly)) as view:
        assert await view.ask(closure) == [7] * 20
        # Before it is received a call may be taken back and made again; after that never.
        assert sum(asked.values()) == 20


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
