"""What a hook can learn of its tracee, and do for it: identity and descriptors."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.asking import ask
from helpers.rig import libc, rig, serve, syscall
from viewosd.runtime import unsafe
from viewosd.syscalls.process import getpgid
from viewosd.verdict import Return

CLONE_FILES = 0x400


OUR_COMMAND = Path("/proc/self/comm").read_bytes().strip()


def in_thread(function: Callable[[], Any]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


# -- identity


async def test_ids_are_the_tracees() -> None:
    def prepare() -> None:
        os.umask(0o027)

    def look(t: Any, n: int) -> Any:
        return t.pid == t.tid, t.umask, t.command

    assert await ask(prepare, look) == (True, 0o027, OUR_COMMAND)


async def test_a_thread_belongs_to_its_process() -> None:
    found: list[tuple[int, int]] = []

    def answer(call: Any, tracee: Any) -> Return:
        found.append((tracee.pid, tracee.tid))
        return Return(0)

    async with rig(serve(getpgid, answer)) as view:
        tracee = view.call(lambda: in_thread(lambda: syscall("getpgid", 0)))
        await tracee.result()
        assert found[0][0] == tracee.pid != found[0][1]


@pytest.mark.root
async def test_credentials_are_those_of_the_thread() -> None:
    def prepare() -> None:
        os.setgroups([7, 9])
        os.setresgid(11, 12, 13)
        libc.setfsuid(5)
        syscall("setresuid", 21, 22, 23)

    def look(t: Any, n: int) -> Any:
        c = t.credentials
        ids = (c.uid, c.euid, c.suid, c.fsuid, c.gid, c.egid, c.sgid, c.fsgid, c.groups)
        return (*ids, c.cap_eff)

    assert await ask(prepare, look) == (21, 22, 23, 22, 11, 12, 13, 12, (7, 9), 0)


# -- descriptors


async def test_a_descriptor_of_the_tracee_is_duplicated_and_closed_again() -> None:
    ours: list[int] = []

    def prepare() -> int:
        reader, writer = os.pipe()
        os.write(writer, b"from inside")
        return reader

    def look(t: Any, n: int) -> Any:
        with t.fd(n) as fd:
            ours.append(fd)
            return os.read(fd, 100), os.get_inheritable(fd)

    assert await ask(prepare, look) == (b"from inside", False)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(ours[0])


@pytest.mark.parametrize("number", [999, -1, 1 << 30])
async def test_a_descriptor_that_is_not_open_is_ebadf(number: int) -> None:
    def look(t: Any, n: int) -> Any:
        with t.fd(number) as fd:
            return fd

    assert await ask(lambda: None, look) == "EBADF"


async def test_a_thread_with_a_table_of_its_own_is_asked_for_its_own() -> None:
    """T19: the number means another file, or none, in the leader's table."""
    found: list[Any] = []

    def answer(call: Any, tracee: Any) -> Return:
        try:
            with tracee.fd(int(call.pid)) as fd:
                found.append(os.read(fd, 10))
        except OSError as error:
            found.append(error.errno)
        return Return(0)

    def closure() -> None:
        def thread() -> None:
            assert libc.unshare(CLONE_FILES) == 0
            reader, writer = os.pipe()
            os.write(writer, b"thread")
            syscall("getpgid", reader)
            main.append(reader)
            os.write(writer, b"more")
            go.set()
            done.wait()

        main: list[int] = []
        go, done = threading.Event(), threading.Event()
        running = threading.Thread(target=thread)
        running.start()
        go.wait()
        syscall("getpgid", main[0])
        done.set()
        running.join()

    async with rig(serve(getpgid, answer)) as view:
        await view.ask(closure)
    assert found == [b"thread", errno.EBADF]


async def test_a_full_table_of_ours_does_not_look_like_a_dead_tracee(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.EMFILE, "full")

    monkeypatch.setattr(unsafe, "pidfd_open", full)

    def look(t: Any, n: int) -> Any:
        with t.fd(0) as fd:
            return fd

    assert await ask(lambda: None, look) == "EMFILE"
