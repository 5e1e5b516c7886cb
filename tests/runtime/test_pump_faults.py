"""What hooks raise: the tracee's errno, or a bug of the service, which ends one call and no more."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio

from helpers.rig import Rig, rig, serve, syscall, until
from viewosd.core.stats import FAILED, FAULT
from viewosd.errors import BadAddress, Vanished
from viewosd.syscalls.process import getpgid, getppid
from viewosd.verdict import Return, Verdict


def plain(act: Callable[[], Any]) -> Callable[..., Any]:
    return lambda call, tracee: act()


def waiting(act: Callable[[], Any]) -> Callable[..., Any]:
    async def answer(call: Any, tracee: Any) -> Any:
        await trio.sleep(0.001)
        return act()

    return answer


def in_a_nursery(act: Callable[[], Any]) -> Callable[..., Any]:
    """trio puts what a nursery's tasks raise into an ExceptionGroup."""

    async def answer(call: Any, tracee: Any) -> Any:
        async def task() -> None:
            await trio.sleep(0.001)
            act()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(task)
            nursery.start_soon(trio.sleep_forever)

    return answer


kinds = pytest.mark.parametrize("kind", [plain, waiting, in_a_nursery])


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


def errors_of(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.levelname == "ERROR"]


@kinds
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileNotFoundError(errno.ENOENT, "no"), errno.ENOENT),
        (OSError(errno.ENOTSUP, "no"), errno.ENOTSUP),
        (PermissionError(errno.EACCES, "no"), errno.EACCES),
        (BadAddress(0x10), errno.EFAULT),
        (TimeoutError(errno.ETIMEDOUT, "no"), errno.ETIMEDOUT),
    ],
)
async def test_an_oserror_is_the_tracees_errno_and_nothing_is_logged(
    kind: Any, error: OSError, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig(serve(getppid, kind(raising(error)))) as view:
        assert await view.ask(lambda: syscall("getppid")) == -code
    assert not errors_of(caplog)


@kinds
@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        KeyError("a bug"),
        ZeroDivisionError(),
        RecursionError(),
        MemoryError(),
        StopIteration(),
        AssertionError("a bug"),
        OSError("without a number"),
        OSError(0, "zero"),
        OSError(99999, "no errno"),
        OSError(-5, "negative"),
        ExceptionGroup("two", [OSError(errno.ENOENT, "a"), OSError(errno.EACCES, "b")]),
        Vanished("a lie: the call still waits"),
        SystemExit(3),
    ],
    ids=repr,
)
async def test_any_other_exception_is_eio_and_a_log_line_and_the_view_goes_on(
    kind: Any, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    if kind is in_a_nursery and isinstance(error, SystemExit):
        pytest.skip("trio gives a SystemExit of a task to the whole program")
    left = [raising(error), lambda: Return(7)]

    async def answer(call: Any, tracee: Any) -> Any:
        return await kind(left.pop(0))(call, tracee)

    def answer_now(call: Any, tracee: Any) -> Any:
        return kind(left.pop(0))(call, tracee)

    if kind is in_a_nursery:
        left[1] = raising(OSError(errno.ENODEV, "an answer"))
    async with rig(serve(getppid, answer_now if kind is plain else answer)) as view:
        tracee = view.call(lambda: (syscall("getppid"), syscall("getppid")))
        second = -errno.ENODEV if kind is in_a_nursery else 7
        assert await tracee.result() == (-errno.EIO, second)
        assert view.view.stats.calls["getppid"].counts[FAULT] == 1
    (record,) = errors_of(caplog)
    line = record.getMessage()
    assert "test" in line  # the service
    assert "getppid" in line
    assert f"tid {tracee.pid}" in line
    assert "cookie 0x" in line
    if not isinstance(error, OSError) or not error.errno:
        assert "Traceback" in caplog.text


@pytest.mark.parametrize("kind", [plain, waiting])
async def test_faults_are_counted_apart_from_the_tracees_errors(kind: Any) -> None:
    """Also in a row, when calls come fast and take the short way."""
    raised = [ValueError("a bug"), FileNotFoundError(errno.ENOENT, "an answer")] * 20

    async with rig(serve(getppid, kind(lambda: raising(raised.pop(0))()))) as view:
        got = await view.ask(lambda: [syscall("getppid") for _ in range(40)])
        assert got == [-errno.EIO, -errno.ENOENT] * 20
        counts = view.view.stats.calls["getppid"].counts
        assert (counts[FAULT], counts[FAILED], sum(counts)) == (20, 20, 40)


async def test_a_hook_that_recurses_for_ever_is_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    def deeper(call: Any, tracee: Any) -> Any:
        return deeper(call, tracee)

    async with rig(serve(getppid, deeper)) as view:
        assert await view.ask(lambda: syscall("getppid")) == -errno.EIO
    assert "RecursionError" in caplog.text


async def test_a_hook_that_is_late_is_cancelled_and_the_tracee_gets_eio(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cleaned = []

    async def late(call: Any, tracee: Any) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append(1)

    async with rig(serve(getppid, late, deadline_s=0.05)) as view:
        assert await view.ask(lambda: syscall("getppid")) == -errno.EIO
        assert cleaned == [1]
        assert view.view.stats.calls["getppid"].counts[FAULT] == 1
        assert not view.pump.waiting.calls
    assert "no verdict within 0.05 s" in caplog.text


async def test_each_hook_has_its_own_deadline(caplog: pytest.LogCaptureFixture) -> None:
    async def first(call: Any, tracee: Any) -> None:
        await trio.sleep(0.001)

    async def second(call: Any, tracee: Any) -> Verdict:
        await trio.sleep_forever()
        return Return(0)

    async with rig(
        serve(getppid, first, name="first", deadline_s=None),
        serve(getppid, second, name="second", deadline_s=0.05),
    ) as view:
        assert await view.ask(lambda: syscall("getppid")) == -errno.EIO
    assert "service second" in caplog.text


async def test_the_time_of_one_hook_is_not_taken_from_the_next() -> None:
    async def first(call: Any, tracee: Any) -> None:
        await trio.sleep(0.2)

    async def second(call: Any, tracee: Any) -> Verdict:
        await trio.sleep(0.2)
        return Return(trio.current_effective_deadline() - trio.current_time() > 20)

    async with rig(
        serve(getppid, first, name="first", deadline_s=0.3 * 100),
        serve(getppid, second, name="second", deadline_s=30),
    ) as view:
        assert await view.ask(lambda: syscall("getppid")) == 1


async def test_a_fault_in_the_clean_up_after_a_deadline_ends_one_call_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def raises_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while cleaning up")

    async def late(call: Any, tracee: Any) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises_when_cancelled)
            nursery.start_soon(trio.sleep_forever)

    async with rig(serve(getppid, late, deadline_s=0.05)) as view:
        assert await view.ask(lambda: syscall("getppid")) == -errno.EIO
        assert await view.ask(lambda: syscall("getppid")) == -errno.EIO
    assert "while cleaning up" in caplog.text


async def test_a_hook_that_answers_though_it_is_late_is_heard() -> None:
    async def stubborn(call: Any, tracee: Any) -> Any:
        with trio.CancelScope() as scope:
            try:
                await trio.sleep_forever()
            finally:
                scope.shield = True
                await trio.sleep(0.01)
                return Return(5)  # noqa: B012

    async with rig(serve(getppid, stubborn, deadline_s=0.05)) as view:
        assert await view.ask(lambda: syscall("getppid")) == 5


async def test_a_plain_hook_with_a_path_that_is_no_pointer_is_the_tracees_efault() -> None:
    def read(call: Any, tracee: Any) -> Any:
        tracee.read_str(int(call.pid) & 0xFFFF_FFFF)

    async with rig(serve(getpgid, read)) as view:
        assert await view.ask(lambda: syscall("getpgid", 16)) == -errno.EFAULT


async def killed_while(view: Rig, act: Any) -> None:
    tracee = view.call(lambda: syscall("getppid"))
    await until(act.is_set)
    tracee.kill()
    await tracee.wait()


async def test_an_error_because_the_tracee_vanished_is_not_the_services_bug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked, outcomes = trio.Event(), []

    async def look(call: Any, tracee: Any) -> Verdict:
        asked.set()
        with trio.CancelScope(shield=True):
            await until(lambda: not os.path.exists(f"/proc/{tracee.tid}/task"))
        try:
            tracee.check()
        except BaseException:
            outcomes.append(sys.exc_info()[0])
            raise
        return Return(0)

    async with rig(serve(getppid, look)) as view:
        await killed_while(view, asked)
        await until(lambda: outcomes == [Vanished])
        await until(lambda: not view.pump.waiting.calls)
    assert not errors_of(caplog)
