"""The `Rewrite` verdict: another call runs in the tracee instead of the one that it made."""

from __future__ import annotations

import errno
import os
import resource
import sys
from typing import Any

import pytest
import trio

from helpers.rewriting import NEW, OLD, opened, redirect
from helpers.rewriting import cc as cc
from helpers.rig import libc, rig, serve, syscall, until
from helpers.threads import in_threads
from viewosd.core.stats import REWRITTEN
from viewosd.runtime import rewrite as rewrite_module
from viewosd.syscalls.memory import mmap
from viewosd.syscalls.paths import Open, openat
from viewosd.syscalls.process import getpgid, getpid, getppid
from viewosd.verdict import CONTINUE, Return, Rewrite, Verdict


async def test_a_call_runs_with_another_path() -> None:
    async with rig(serve(Open, redirect)) as view:
        assert await view.ask(opened) == "/dev/null"
        assert view.view.stats.calls["openat"].counts[REWRITTEN] == 1


async def test_an_async_hook_rewrites_as_well() -> None:
    async def later(call: Any, tracee: Any) -> Verdict | None:
        await trio.sleep(0.001)
        return redirect(call, tracee)

    async with rig(serve(Open, later)) as view:
        assert await view.ask(lambda: [opened() for _ in range(20)]) == ["/dev/null"] * 20


async def test_the_rewritten_call_is_not_asked_again() -> None:
    asked = []

    def again(call: Any, tracee: Any) -> Verdict:
        asked.append(tracee.read_str(call.path))
        return Rewrite(call.replace(path=NEW))

    async with rig(serve(Open, again)) as view:
        assert await view.ask(lambda: [opened(b"/a"), opened(b"/b")]) == ["/dev/null"] * 2
        assert asked == [b"/a", b"/b"]
        assert not view.pump.answers.rewriter.expected


async def test_numbers_are_replaced_too() -> None:
    def other(call: Any, tracee: Any) -> Verdict | None:
        return Rewrite(call.replace(pid=0)) if call.pid == 1234567 else None

    async with rig(serve(getpgid, other)) as view:
        assert await view.ask(lambda: syscall("getpgid", 1234567)) == os.getpgid(0)


async def test_another_call_may_run() -> None:
    async with rig(serve(getppid, lambda c, t: Rewrite(getpid.make(c.arch)))) as view:
        tracee = view.call(lambda: syscall("getppid"))
        assert await tracee.result() == tracee.pid


async def test_another_call_that_is_trapped_itself_is_not_asked() -> None:
    async with rig(
        serve(getppid, lambda c, t: Rewrite(getpid.make(c.arch))),
        serve(getpid, lambda c, t: Return(1), name="other"),
    ) as view:
        tracee = view.call(lambda: (syscall("getppid"), syscall("getpid")))
        assert await tracee.result() == (tracee.pid, 1)


async def test_long_strings_have_room() -> None:
    long = b"/" + b"/".join([b"."] * 2040) + b"/dev/null"

    def lengthen(call: Any, tracee: Any) -> Verdict | None:
        return Rewrite(call.replace(path=long)) if tracee.read_str(call.path) == OLD else None

    async with rig(serve(Open, lengthen)) as view:
        assert await view.ask(lambda: [opened() for _ in range(10)]) == ["/dev/null"] * 10


async def test_a_hook_on_mmap_is_not_asked_for_the_memory_of_our_strings() -> None:
    asked = []
    async with rig(
        serve(openat, redirect), serve(mmap, lambda c, t: asked.append(c), name="m", prot=3)
    ) as view:
        assert await view.ask(lambda: [opened() for _ in range(20)]) == ["/dev/null"] * 20
    assert rewrite_module.REGION not in [call.len for call in asked]


async def test_calls_of_others_that_come_up_meanwhile_are_served_in_their_turn() -> None:
    """Also those that are rewritten ones, coming back: their hooks are not asked again."""
    asked = []

    def once(call: Any, tracee: Any) -> Verdict:
        asked.append(tracee.read_str(call.path))
        return Rewrite(call.replace(path=NEW))

    def closure() -> list[list[str]]:
        return [r for _ in range(20) for r in in_threads(10, lambda n: [opened(), opened()])]

    services = (serve(openat, once), serve(mmap, lambda c, t: CONTINUE, name="m", prot=3))
    async with rig(*services) as view:
        assert await view.ask(closure) == [["/dev/null"] * 2] * 200
    assert [path for path in asked if path == NEW] == []


async def test_where_the_tracee_has_no_memory_left_the_call_fails_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def closure() -> tuple[str, str]:
        libc.mmap  # noqa: B018 - bound before memory is short
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (4096, hard))
        fd = syscall("openat", -100, OLD, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        return errno.errorcode.get(-fd, "opened"), opened()

    async with rig(serve(openat, redirect)) as view:
        assert await view.ask(closure) == ("EPERM", "/dev/null")
    assert "no memory" in caplog.text


@pytest.mark.parametrize("value", [3.5, None, "text", [b"a", 3], {}])
async def test_a_value_that_no_register_can_hold_is_a_fault_and_not_an_endless_loop(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def bad(call: Any, tracee: Any) -> Verdict:
        asked.append(1)
        return Rewrite(call.replace(path=value))

    async with rig(serve(openat, bad)) as view:
        assert await view.ask(lambda: syscall("openat", -100, OLD, 0)) == -errno.EIO
    assert asked == [1]
    assert "no verdict" in caplog.text


@pytest.mark.skipif(sys.maxsize < 2**32, reason="needs a 64-bit machine")
async def test_a_call_that_the_architecture_lacks_fails_as_chosen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from viewosd.syscalls.paths import stat64

    async with rig(serve(getppid, lambda c, t: Rewrite(stat64.make(c.arch), otherwise=5))) as view:
        assert await view.ask(lambda: syscall("getppid")) == -5
    assert "stat64 does not exist on X86_64" in caplog.text


async def test_what_never_comes_back_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrite_module, "EXPECTED_S", 0.0)

    def closure() -> None:
        while True:
            os.close(syscall("openat", -100, OLD, 0))

    async with rig(serve(openat, redirect)) as view:
        for _ in range(5):
            tracee = view.call(closure)
            await trio.sleep(0.01)
            tracee.kill()
            await tracee.wait()
        await until(lambda: not view.pump.listeners)
        await until(lambda: not view.pump.answers.rewriter.expected)
