"""Signals that come while a hook waits."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from typing import Any

import pytest
import trio

from helpers.hanging import Hanging, at_rest
from helpers.rig import rig, serve, syscall, until
from helpers.threads import in_threads
from viewosd.syscalls.process import getpgid, getppid
from viewosd.verdict import Return, Verdict


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
