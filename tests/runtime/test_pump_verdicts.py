"""The five verdicts, from ``def`` and ``async def`` hooks, as a real tracee sees them."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from helpers.rig import rig, serve, syscall
from viewosd.abi.utsname import new_utsname
from viewosd.core.stats import CONTINUED, FAILED, FAULT, INJECTED, RETURNED
from viewosd.syscalls.host import uname
from viewosd.syscalls.paths import openat
from viewosd.syscalls.process import getppid
from viewosd.verdict import CONTINUE, Errno, InjectFd, Return, Verdict


def plain(make: Callable[[], Any]) -> Callable[..., Any]:
    return lambda call, tracee: make()


def waiting(make: Callable[[], Any]) -> Callable[..., Any]:
    async def answer(call: Any, tracee: Any) -> Any:
        await trio.sleep(0.001)
        return make()

    return answer


def hasty(make: Callable[[], Any]) -> Callable[..., Any]:
    """An ``async def`` hook that never waits."""

    async def answer(call: Any, tracee: Any) -> Any:
        return make()

    return answer


kinds = pytest.mark.parametrize("kind", [plain, waiting, hasty])


@kinds
@pytest.mark.parametrize("value", [0, 1, 7, 2**31, 2**62, 2**63 - 1, -5000, -(2**63)])
async def test_a_returned_value_is_what_the_call_returns(kind: Any, value: int) -> None:
    async with rig(serve(getppid, kind(lambda: Return(value)))) as view:
        assert await view.ask(lambda: syscall("getppid")) == value


@kinds
@pytest.mark.parametrize("code", [1, errno.ENOSYS, 133, 4095])
async def test_an_errno_is_the_calls_errno(kind: Any, code: int) -> None:
    async with rig(serve(getppid, kind(lambda: Errno(code)))) as view:
        assert await view.ask(lambda: syscall("getppid")) == -code
        assert view.view.stats.calls["getppid"].counts[FAILED] == 1


@kinds
@pytest.mark.parametrize("verdict", [CONTINUE, None])
async def test_continue_and_none_let_the_kernel_answer(kind: Any, verdict: Verdict | None) -> None:
    async with rig(serve(getppid, kind(lambda: verdict))) as view:
        assert await view.ask(lambda: syscall("getppid")) == os.getpid()
        assert view.view.stats.calls["getppid"].counts[CONTINUED] == 1


def memfd() -> int:
    fd = os.memfd_create("injected", os.MFD_CLOEXEC)
    os.pwrite(fd, b"inside", 0)
    return fd


def read_and_flags() -> tuple[bytes, bool]:
    fd = syscall("getppid")
    return os.read(fd, 100), os.get_inheritable(fd)


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


OF_ONE_TRACEE = 4  # its pidfd, status, output and listener


@kinds
@pytest.mark.parametrize("cloexec", [False, True])
async def test_an_injected_descriptor_is_the_calls_result(kind: Any, cloexec: bool) -> None:
    async with rig(serve(getppid, kind(lambda: InjectFd(memfd(), cloexec)))) as view:
        before = open_descriptors()
        assert await view.ask(read_and_flags) == (b"inside", not cloexec)
        assert view.view.stats.calls["getppid"].counts[INJECTED] == 1
        assert len(open_descriptors() - before) <= OF_ONE_TRACEE


async def test_a_kept_descriptor_stays_open_and_can_be_injected_again() -> None:
    fd = memfd()
    async with rig(serve(getppid, lambda c, t: InjectFd(fd, keep=True))) as view:
        for _ in range(3):
            assert await view.ask(lambda: os.pread(syscall("getppid"), 100, 0)) == b"inside"
    os.close(fd)


@pytest.mark.parametrize("kind", [plain, waiting])
@pytest.mark.parametrize("writable", [False, True])
async def test_a_full_table_is_the_tracees_emfile(kind: Any, writable: bool) -> None:
    def make() -> InjectFd:
        return InjectFd(memfd() if writable else os.open("/dev/null", os.O_RDONLY))

    def closure() -> tuple[int, int]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4096))
        try:
            while True:
                os.dup(0)
        except OSError:
            return syscall("getppid"), syscall("getppid")

    async with rig(serve(getppid, kind(make))) as view:
        before = open_descriptors()
        assert await view.ask(closure) == (-errno.EMFILE, -errno.EMFILE)
        assert len(open_descriptors() - before) <= OF_ONE_TRACEE
        counts = view.view.stats.calls["getppid"].counts
        assert (counts[INJECTED], counts[FAILED]) == (0, 2)


async def test_an_injected_writable_file_can_be_executed_once_the_tracee_closed_it(
    tmp_path: Path,
) -> None:
    program = tmp_path / "program"

    def make(call: Any, tracee: Any) -> Verdict | None:
        if tracee.read_str(call.path) != b"/injected/program":
            return None
        return InjectFd(os.open(program, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o755), True)

    def closure() -> list[int]:
        codes = []
        content = Path("/bin/true").read_bytes()
        for _ in range(20):
            fd = os.open("/injected/program", os.O_RDWR)
            os.write(fd, content)
            os.close(fd)
            codes.append(subprocess.run([program]).returncode)
        return codes

    async with rig(serve(openat, make)) as view:
        assert await view.ask(closure) == [0] * 20


NO_VERDICTS: list[Any] = [
    Errno(0),
    Errno(-1),
    Errno(4096),
    Errno(5000),
    Errno("ENOENT"),  # type: ignore[arg-type]
    Return(2**63),
    Return(2**70),
    Return(-(2**70)),
    Return("7"),  # type: ignore[arg-type]
    Return(None),  # type: ignore[arg-type]
    InjectFd(-1),
    InjectFd(987654),
    InjectFd("x"),  # type: ignore[arg-type]
    7,
    "continue",
    True,
    Errno,
    {},
]


@kinds
@pytest.mark.parametrize("verdict", NO_VERDICTS, ids=repr)
async def test_a_verdict_that_is_none_is_a_fault_of_the_service(
    kind: Any, verdict: Any, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Any] = []

    def make() -> Any:
        calls.append(1)
        return Return(7) if len(calls) == 3 else verdict

    async with rig(serve(getppid, kind(make))) as view:
        tracee = view.call(lambda: [syscall("getppid") for _ in range(3)])
        assert await tracee.result() == [-errno.EIO, -errno.EIO, 7]
        counts = view.view.stats.calls["getppid"].counts
        assert (counts[FAULT], counts[RETURNED], sum(counts)) == (2, 1, 3)
        errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
        assert len(errors) == 2
        assert f"tid {tracee.pid}" in errors[0]
        assert "getppid" in errors[0]


async def test_a_structure_is_filled_by_the_hook() -> None:
    words = (w.ljust(65, b"\0") for w in (b"S", b"inside", b"1.2", b"v", b"m", b"d"))
    name = new_utsname(*words)

    def fill(call: Any, tracee: Any) -> Verdict:
        tracee.write_struct(call.buf, name)
        return Return(0)

    async with rig(serve(uname, fill)) as view:
        assert (await view.ask(lambda: tuple(os.uname())))[:2] == ("S", "inside")
