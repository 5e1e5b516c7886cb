"""One thread, stopped for a moment, that must not notice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.waiting import until
from viewosd.keeper.processes import state_of
from viewosd.runtime import captive as module
from viewosd.runtime.captive import CannotStop, Captive, collect_late


@pytest.fixture
def fork() -> Iterator[Callable[[Callable[[], object]], int]]:
    """Run a function in a child; it is killed and collected at the end."""
    made: list[int] = []

    def forked(function: Callable[[], object]) -> int:
        if (pid := os.fork()) == 0:
            try:
                function()
            finally:
                os._exit(7)
        made.append(pid)
        return pid

    yield forked
    for pid in made:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def sleep() -> None:
    time.sleep(1000)


def test_a_captive_stands_still_and_goes_on(fork: Callable[..., int]) -> None:
    pid = fork(sleep)
    until(lambda: state_of(pid) == "S")
    with Captive(pid) as captive:
        captive.wait()
        assert state_of(pid) == "t"
    until(lambda: state_of(pid) == "S")
    assert "TracerPid:\t0" in Path(f"/proc/{pid}/status").read_text()


def test_a_thread_that_somebody_traces_can_not_be_taken_and_the_text_names_them(
    fork: Callable[..., int],
) -> None:
    pid = fork(sleep)
    strace = subprocess.Popen(["strace", "-o", "/dev/null", "-p", str(pid)], stderr=subprocess.PIPE)
    try:
        until(lambda: "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text())
        with pytest.raises(
            CannotStop, match=rf"process {strace.pid} \(strace\) traces thread {pid}"
        ):
            Captive(pid)
    finally:
        strace.kill()
        strace.communicate()


def test_a_thread_that_is_gone_is_a_lookup_error(fork: Callable[..., int]) -> None:
    pid = fork(lambda: None)
    os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        Captive(pid)


def test_one_that_dies_while_it_is_held_keeps_its_status_for_its_parent(
    fork: Callable[..., int],
) -> None:
    pid = fork(sleep)
    with Captive(pid) as captive:
        captive.wait()
        os.kill(pid, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


def test_one_that_dies_is_let_through_to_a_parent_that_is_not_us(fork: Callable[..., int]) -> None:
    reader, writer = os.pipe()

    def parent() -> None:
        if (pid := os.fork()) == 0:
            sleep()
        os.write(writer, b"%d\n" % pid)
        os._exit(os.WTERMSIG(os.waitpid(pid, 0)[1]))

    middle = fork(parent)
    child = int(os.read(reader, 20))
    with Captive(child) as captive:
        captive.wait()
        os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(middle, 0)[1]) == signal.SIGKILL
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_stop_by_job_control_is_left_as_it_was(fork: Callable[..., int], number: int) -> None:
    def sleep_apart() -> None:
        os.setpgid(0, 0)  # the tests' own group may be orphaned, and then no SIGTSTP stops
        sleep()

    pid = fork(sleep_apart)
    until(lambda: os.getpgid(pid) == pid)
    os.kill(pid, number)
    until(lambda: state_of(pid) == "T")
    with Captive(pid) as captive:
        captive.wait()
    until(lambda: state_of(pid) == "T")
    os.kill(pid, signal.SIGCONT)
    until(lambda: state_of(pid) == "S")


def test_a_signal_that_comes_meanwhile_is_delivered_afterwards(fork: Callable[..., int]) -> None:
    pid = fork(sleep)
    with Captive(pid) as captive:
        captive.wait()
        os.kill(pid, signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGTERM


def test_what_can_not_stop_now_is_let_go_when_it_can(
    fork: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = fork(sleep)
    captive = Captive(pid)
    with monkeypatch.context() as patch:
        patch.setattr(Captive, "has_stopped", lambda self: False)  # as in uninterruptible sleep
        assert not captive.release(0)
        assert module.late == {pid: captive}
    until(lambda: (collect_late(), not module.late)[1])
    until(lambda: state_of(pid) == "S")
