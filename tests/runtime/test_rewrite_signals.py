"""Rewritten calls amid signals, stops, debuggers, and the death of who made them."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from helpers.rewriting import NEW, OLD, opened, redirect
from helpers.rewriting import cc as cc
from helpers.rig import rig, serve, syscall, until
from viewosd.core.stats import FAILED
from viewosd.runtime.unsafe import ptrace
from viewosd.syscalls.paths import openat
from viewosd.verdict import Rewrite, Verdict

HANDLER = r"""
#include <signal.h>
#include <stdio.h>
static int n;
static void on(int s) { n++; }
int main(void) {
    signal(SIGTRAP, on);
    FILE *f = fopen("/nowhere/old", "r");
    raise(SIGTRAP);
    printf("%d %d\n", f != 0, n);
    return 0;
}
"""


async def test_a_handler_of_sigtrap_survives(cc: Callable[..., str]) -> None:
    program = cc(HANDLER)
    async with rig(serve(openat, redirect)) as view:
        assert await view.run([program]).text() == "1 1\n"


async def test_an_ignored_or_blocked_sigtrap_stays_so() -> None:
    def closure() -> tuple[str, Any, Any]:
        signal.signal(signal.SIGTRAP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTRAP, signal.SIGUSR1])
        where = opened()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        status = dict(
            line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines()
        )
        return where, sorted(mask), int(status["SigIgn"], 16) >> signal.SIGTRAP - 1 & 1

    async with rig(serve(openat, redirect)) as view:
        assert await view.ask(closure) == ("/dev/null", [signal.SIGTRAP, signal.SIGUSR1], 1)


@pytest.mark.parametrize("restart", [False, True])
async def test_signals_that_arrive_meanwhile_neither_fail_nor_change_a_call(restart: bool) -> None:
    def closure() -> tuple[set[str], bool]:
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
        signal.siginterrupt(signal.SIGUSR1, not restart)
        done = threading.Event()
        main = threading.main_thread().ident
        assert main

        def storm() -> None:
            while not done.is_set():
                signal.pthread_kill(main, signal.SIGUSR1)
                time.sleep(0.001)

        thread = threading.Thread(target=storm)
        thread.start()
        results = {opened() for _ in range(200)}
        done.set()
        thread.join()
        return results, len(seen) > 0

    async with rig(serve(openat, redirect)) as view:
        results, handled = await view.ask(closure)
        assert handled
        # Before the call is received a signal may end it, as it may end any trapped call (T13).
        assert results <= ({"/dev/null"} if restart else {"/dev/null", "EINTR"})
        assert "/dev/null" in results


async def test_a_handler_that_is_rewritten_itself_does_not_spoil_the_interrupted_call(
    tmp_path: Path,
) -> None:
    """The open of a FIFO waits; the handler's own open is rewritten in the same thread."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def other(call: Any, tracee: Any) -> Verdict | None:
        path = tracee.read_str(call.path)
        new = {b"/nowhere/fifo": bytes(fifo), OLD: NEW}.get(path)
        return Rewrite(call.replace(path=new)) if new else None

    def closure() -> tuple[str, list[str]]:
        inner: list[str] = []
        signal.signal(signal.SIGUSR1, lambda *_: inner.append(opened()))
        signal.siginterrupt(signal.SIGUSR1, False)
        while (where := opened(b"/nowhere/fifo")) == "EINTR":
            pass
        return where, inner

    async with rig(serve(openat, other)) as view:
        tracee = view.call(closure)
        stat = Path(f"/proc/{tracee.pid}/wchan")
        await until(
            lambda: "wait_for_partner" in stat.read_text(), "the tracee to wait in the FIFO"
        )
        tracee.kill(signal.SIGUSR1)
        await trio.sleep(0.1)
        writer = await trio.to_thread.run_sync(os.open, fifo, os.O_WRONLY)
        where, inner = await tracee.result()
        os.close(writer)
        assert where == str(fifo)
        assert set(inner) <= {"/dev/null"}


async def test_a_stop_by_job_control_outlasts_a_rewrite() -> None:
    waits, go = trio.Event(), trio.Event()

    async def later(call: Any, tracee: Any) -> Verdict | None:
        if tracee.read_str(call.path) != OLD:
            return None
        waits.set()
        await go.wait()
        return redirect(call, tracee)

    async with rig(serve(openat, later)) as view:
        tracee = view.call(opened)
        await waits.wait()
        tracee.kill(signal.SIGSTOP)
        go.set()
        await until(lambda: stopped(tracee.pid), "the stop")
        tracee.kill(signal.SIGCONT)
        assert await tracee.result() == "/dev/null"


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_a_call_of_a_traced_thread_fails_as_the_hook_chose(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(call: Any, tracee: Any) -> Verdict | None:
        if tracee.read_str(call.path) == OLD:
            return Rewrite(call.replace(path=NEW), otherwise=errno.ENOTSUP)
        return None

    def closure() -> str:
        """A child that we trace ourselves makes the call."""
        pid = os.fork()
        if pid == 0:
            ptrace(0, 0)  # PTRACE_TRACEME
            os._exit(0 if opened() == "ENOTSUP" else 1)
        return f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])} by {os.getpid()}"

    async with rig(serve(openat, refuse)) as view:
        tracee = view.call(closure)
        assert await tracee.result() == f"0 by {tracee.pid}"
        assert view.view.stats.calls["openat"].counts[FAILED] == 1
    assert f"process {tracee.pid} " in caplog.text
    assert "cannot rewrite" in caplog.text


@pytest.mark.parametrize("debugger", ["strace", "gdb"])
async def test_a_program_under_a_debugger_gets_the_errno_and_the_log_names_the_debugger(
    debugger: str, caplog: pytest.LogCaptureFixture
) -> None:
    words = {
        "strace": ["strace", "-f", "-qq", "-o", "/dev/null"],
        "gdb": ["gdb", "-q", "-batch", "-ex", "run", "-args"],
    }[debugger]
    if not any(os.access(f"{d}/{debugger}", os.X_OK) for d in os.get_exec_path()):
        pytest.skip(f"needs {debugger}")
    async with rig(serve(openat, redirect)) as view:
        tracee = view.run([*words, "/bin/cat", OLD.decode()])
        await tracee.wait()
        assert b"Operation not permitted" in tracee.output
    assert f"({debugger}) traces thread" in caplog.text


async def test_a_rewritten_call_of_a_killed_tracee_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def closure() -> None:
        while True:
            os.close(syscall("openat", -100, OLD, 0))

    async with rig(serve(openat, redirect)) as view:
        for n in range(60):
            tracee = view.call(closure)
            await trio.sleep(0.001 + n % 7 * 0.0007)
            tracee.kill()
            assert os.waitstatus_to_exitcode(await tracee.wait()) == -signal.SIGKILL
        await until(lambda: not view.pump.listeners)
        assert await view.ask(opened) == "/dev/null"
    assert not caplog.records


async def test_the_end_of_our_own_child_is_left_to_whoever_collects_it() -> None:
    """A tracee that dies while it is seized must not lose its status, nor stay a zombie."""
    statuses = []

    def closure() -> list[int]:
        codes = []
        for n in range(40):
            if (pid := os.fork()) == 0:
                while True:
                    os.close(syscall("openat", -100, OLD, 0))
            time.sleep(0.002 + n % 5 * 0.0005)
            os.kill(pid, signal.SIGKILL)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return codes

    async with rig(serve(openat, redirect)) as view:
        assert await view.ask(closure) == [-signal.SIGKILL] * 40
        for _ in range(20):
            tracee = view.call(lambda: [opened() for _ in range(10)] and os._exit(3))
            statuses.append(os.waitstatus_to_exitcode(await tracee.wait()))
    assert statuses == [3] * 20
