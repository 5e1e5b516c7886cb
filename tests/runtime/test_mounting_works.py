"""Work for a call is done once, however often the call is asked."""

from __future__ import annotations

import errno
import os

import pytest
import trio

from viewosd.errors import Vanished
from viewosd.runtime.mounting.works import Works
from viewosd.syscalls import mount
from viewosd.testing.tracee import FakeTracee
from viewosd.verdict import CONTINUE, Errno, InjectFd, Return

CALL = mount((1, 2, 3, 4, 5, 0))


class Task:
    """Work that ends when it is told to."""

    def __init__(self, outcome: object = 7) -> None:
        self.outcome, self.begun = outcome, 0
        self.started, self.may_end = trio.Event(), trio.Event()

    async def run(self):
        self.begun += 1
        self.started.set()
        await self.may_end.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome if not isinstance(self.outcome, int) else Return(self.outcome)

    def consider(self):
        return self.run


async def broken_off(works: Works, task: Task, tracee: FakeTracee) -> None:
    """Ask, and have the hook cancelled while the work runs."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(works.once, CALL, tracee, task.consider)
        await task.started.wait()
        nursery.cancel_scope.cancel()


async def test_a_verdict_at_once_needs_no_work():
    assert await Works().once(CALL, FakeTracee(), lambda: CONTINUE) is CONTINUE


async def test_a_call_that_comes_again_finds_the_work_running():
    works, task = Works(), Task()
    await broken_off(works, task, FakeTracee())
    task.may_end.set()
    assert await works.once(CALL, FakeTracee(), task.consider) == Return(7)
    assert task.begun == 1


async def test_a_call_that_comes_again_finds_the_work_done():
    works, task = Works(), Task(OSError(errno.ENODEV, "no"))
    await broken_off(works, task, FakeTracee())
    task.may_end.set()
    await trio.testing.wait_all_tasks_blocked()
    assert await works.once(CALL, FakeTracee(), task.consider) == Errno(errno.ENODEV)
    assert task.begun == 1


async def test_the_same_call_after_an_answer_is_another_one():
    works, task = Works(), Task()
    task.may_end.set()
    for _ in range(2):
        assert await works.once(CALL, FakeTracee(), task.consider) == Return(7)
    assert task.begun == 2


async def test_a_restart_in_the_very_moment_of_the_answer_does_not_lose_it():
    works, task, tracee = Works(), Task(), FakeTracee()
    task.may_end.set()
    tracee.alive = False  # its call was answered with a restart while the hook ended
    with pytest.raises(Vanished):
        await works.once(CALL, tracee, task.consider)
    assert await works.once(CALL, FakeTracee(), task.consider) == Return(7)
    assert task.begun == 1


async def test_another_call_of_the_thread_begins_work_of_its_own():
    works, task = Works(), Task()
    await broken_off(works, task, FakeTracee())
    task.may_end.set()
    other = mount((1, 2, 3, 4, 6, 0))
    assert await works.once(other, FakeTracee(), task.consider) == Return(7)
    assert await works.once(CALL, FakeTracee(), task.consider) == Return(7)
    assert task.begun == 3


async def test_other_threads_have_work_of_their_own():
    works, task = Works(), Task()
    await broken_off(works, task, FakeTracee())
    task.may_end.set()
    await works.once(CALL, FakeTracee(tid=1001), task.consider)
    assert task.begun == 2


async def test_a_bug_is_eio_and_logged(caplog):
    works, task = Works(), Task(RuntimeError("a bug, on purpose"))
    task.may_end.set()
    assert await works.once(CALL, FakeTracee(), task.consider) == Errno(errno.EIO)
    assert "a bug, on purpose" in caplog.text


async def test_an_error_of_a_services_own_tasks_is_its_errno():
    works, task = Works(), Task(ExceptionGroup("", [OSError(errno.EPERM, "no")]))
    task.may_end.set()
    assert await works.once(CALL, FakeTracee(), task.consider) == Errno(errno.EPERM)


@pytest.mark.parametrize("late", [False, True])
async def test_a_descriptor_that_nobody_asks_for_any_more_is_closed(late):
    works, fd = Works(), os.memfd_create("x")
    task = Task(InjectFd(fd))
    await broken_off(works, task, FakeTracee())
    if not late:
        task.may_end.set()
        await trio.testing.wait_all_tasks_blocked()
    other = mount((1, 2, 3, 4, 6, 0))
    await works.once(other, FakeTracee(), lambda: CONTINUE)
    task.may_end.set()
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
