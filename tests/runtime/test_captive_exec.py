"""Threads that execute programs while they are held: they get another id, and lose the stop."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import trio

from helpers.rig import Rig, rig, serve
from helpers.rig import until as until_later
from helpers.waiting import until
from viewosd.keeper.processes import state_of
from viewosd.runtime.captive import Captive, collect_late, held, late
from viewosd.runtime.sweep import Sweep, threads_of
from viewosd.syscalls import Exec, getppid
from viewosd.tracee import Tracee
from viewosd.verdict import Return

PARENT = "import os; os._exit(os.getppid() - 4235)"


def execute_in_a_thread(*argv: str) -> None:
    """What a tracee does that has one thread more than it needs."""
    threading.Thread(target=os.execv, args=(argv[0], argv)).start()
    time.sleep(1000)


def traced(pid: int) -> bool:
    return "\nTracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()


class Taken:
    """A process of which a thread was seized just before it executed a program.

    The hook of its execve(2) seizes; so the stop is pending while the kernel runs the call.
    """

    def __init__(self) -> None:
        self.captive: Captive | None = None
        self.executes = serve(Exec, self.seize, name="seizes")
        self.parent = serve(getppid, lambda call, tracee: Return(4242), name="parent")

    def seize(self, call: Exec, tracee: Tracee) -> None:
        if tracee.tid != tracee.pid:
            self.captive = Captive(tracee.tid, pid=tracee.pid)

    async def start(self, view: Rig, *argv: str) -> int:
        """The process, once the kernel runs the call."""
        pid = view.call(lambda: execute_in_a_thread(*argv)).pid
        await until_later(lambda: self.captive, "the execve")
        return pid


async def test_no_call_of_a_program_is_restarted_after_its_thread_has_lost_the_stop() -> None:
    taken = Taken()
    async with rig(taken.executes, taken.parent) as view:
        pid = await taken.start(view, sys.executable, "-ES", "-c", PARENT)
        view.pump.seized.add(pid)  # as if the leader had been seized too
        await until_later(lambda: state_of(pid) == "t", "the stop of the new program")
        assert taken.captive is not None
        taken.captive.release()
        view.pump.free(pid)
        assert os.waitstatus_to_exitcode(await view.tracees[0].wait()) == 7
    assert not held
    assert not late


async def test_who_was_seized_by_the_id_of_a_thread_is_let_go_by_its_leaders() -> None:
    taken = Taken()
    async with rig(taken.executes, taken.parent) as view:
        pid = await taken.start(view, "/bin/sleep", "1000")
        await until_later(lambda: threads_of(pid) == [pid], "the new program")
        assert taken.captive is not None
        taken.captive.release()
        await until_later(lambda: collect_late() or not traced(pid), "the detach")
    assert not held
    assert not late


class NobodyCalls:
    """No thread of the sweep's makes a trapped call."""

    def seize(self, tid: int) -> None:
        pass

    def free(self, tid: int) -> None:
        pass


async def test_a_sweep_buries_the_captives_that_an_execve_waits_for() -> None:
    script = (
        "import os, sys, threading, time\n"
        "for _ in range(2): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
        "def execute():\n"
        "    sys.stdin.read(1)\n"
        "    os.execv('/bin/sleep', ['sleep', '1000'])\n"
        "threading.Thread(target=execute).start()\n"
        "print(flush=True)\n"
    )
    program = subprocess.Popen(
        [sys.executable, "-ES", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdout.readline()
        pid = program.pid
        sleeper = sorted(threads_of(pid))[1]
        late[sleeper] = Captive(sleeper, pid=pid)  # held since an earlier sweep
        program.stdin.write(b"\n")
        program.stdin.flush()
        until(lambda: state_of(sleeper) == "Z", "the execve that waits for us")
        async with Sweep(lambda: [pid], NobodyCalls()) as sweep:
            assert [*sweep.threads[pid]] == [pid]
            assert traced(pid)
        await trio.lowlevel.checkpoint()
        until(lambda: not traced(pid), "the detach")
        assert os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "sleep"
    finally:
        program.kill()
        program.communicate()
    assert not held
    assert not late
