"""The supervisor's memory does not grow with what it has answered. scripts/soak is the long form."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import trio
import trio.lowlevel

from helpers.rig import Rig, rig, serve, syscall, until
from viewosd.syscalls.paths import openat
from viewosd.syscalls.process import getpgid
from viewosd.verdict import Return, Rewrite, Verdict

PAGE = os.sysconf("SC_PAGE_SIZE")


def anonymous_bytes() -> int:
    """What this process has for itself; the journal is no part of it."""
    gc.collect()
    with open("/proc/self/statm") as file:
        fields = [int(n) for n in file.read().split()]
    return (fields[1] - fields[2]) * PAGE


async def plainly(call: Any, tracee: Any) -> Verdict:
    if call.pid % 2:
        await trio.lowlevel.checkpoint()
    return Return(int(call.pid))


def redirect(call: Any, tracee: Any) -> Verdict | None:
    if tracee.read_str(call.path) == b"/nowhere":
        return Rewrite(call.replace(path=b"/dev/null"))
    return None


def calls(count: int) -> None:
    for n in range(count):
        syscall("getpgid", n)


def threads(count: int) -> None:
    """Threads that come, make a call that is rewritten and one that is not, and go."""

    def one() -> None:
        os.close(syscall("openat", -100, b"/nowhere", 0))
        syscall("getpgid", 1)

    for _ in range(count // 10):
        some = [threading.Thread(target=one) for _ in range(10)]
        for thread in some:
            thread.start()
        for thread in some:
            thread.join()


async def grown(closure: Callable[[int], None], count: int) -> int:
    """Bytes gained from a first round to a third one of as many calls."""
    async with rig(serve(getpgid, plainly), serve(openat, redirect, name="other")) as view:
        for _ in range(2):
            await view.ask(lambda: closure(count))
        before = anonymous_bytes()
        await view.ask(lambda: closure(count))
        await nothing_is_left(view)
        return anonymous_bytes() - before


async def nothing_is_left(view: Rig) -> None:
    await until(lambda: not view.live)
    await until(lambda: not view.pump.listeners)
    assert not view.pump.answers.rewriter.expected


ROOM = 1 << 20
"""Bytes of noise of the allocator; a leak of one small object a call would be more."""


async def test_memory_is_flat_over_many_calls() -> None:
    assert await grown(calls, 15_000) < ROOM


async def test_memory_is_flat_over_many_threads() -> None:
    assert await grown(threads, 700) < ROOM
