"""Who is asked: the order of services, None, and conditions on registers and paths."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from helpers.rig import rig, serve, syscall
from viewosd.service import Under
from viewosd.syscalls.entries import renameat2
from viewosd.syscalls.ioctl import ioctl
from viewosd.syscalls.mounts import mount
from viewosd.syscalls.paths import ByPath, Open, Stat
from viewosd.syscalls.process import getpgid, getppid
from viewosd.syscalls.sockets import socket as socket_call
from viewosd.verdict import CONTINUE, Errno, Return, Verdict

MINE = 4000
"""An errno that the kernel never gives."""


def say(value: int | None) -> Callable[..., Any]:
    return lambda call, tracee: None if value is None else Return(value)


def say_later(value: int | None) -> Callable[..., Any]:
    async def answer(call: Any, tracee: Any) -> Verdict | None:
        await trio.sleep(0.001)
        return None if value is None else Return(value)

    return answer


@pytest.mark.parametrize("first", [say, say_later])
@pytest.mark.parametrize("second", [say, say_later])
@pytest.mark.parametrize(
    ("answers", "result"), [((1, 2), 1), ((None, 2), 2), ((1, None), 1), ((None, None), None)]
)
async def test_the_first_service_that_answers_wins(
    first: Any, second: Any, answers: tuple[int | None, int | None], result: int | None
) -> None:
    services = (
        serve(getppid, first(answers[0]), name="a"),
        serve(getppid, second(answers[1]), name="b"),
    )
    async with rig(*services) as view:
        got = await view.ask(lambda: syscall("getppid"))
        assert got == (os.getpid() if result is None else result)


async def test_moving_and_removing_a_service_changes_who_is_asked() -> None:
    services = (serve(getppid, say(1), name="a"), serve(getppid, say(2), name="b"))
    async with rig(*services) as view:
        assert await view.ask(lambda: syscall("getppid")) == 1
        view.view.move("b", 0)
        view.tell()
        assert await view.ask(lambda: syscall("getppid")) == 2
        view.view.remove("b")
        view.tell()
        assert await view.ask(lambda: syscall("getppid")) == 1
        view.view.remove("a")
        view.tell()
        assert await view.ask(lambda: syscall("getppid")) == os.getpid()


async def test_continue_is_an_answer_and_nobody_else_is_asked() -> None:
    async with rig(
        serve(getppid, lambda c, t: CONTINUE, name="a"), serve(getppid, say(2), name="b")
    ) as view:
        assert await view.ask(lambda: syscall("getppid")) == os.getpid()


async def test_a_condition_on_a_register_traps_nothing_else() -> None:
    asked = []

    def answer(call: Any, tracee: Any) -> Verdict:
        asked.append(call.pid)
        return Return(77)

    async with rig(serve(getpgid, answer, pid=(1234567, -5))) as view:
        results = await view.ask(
            lambda: [syscall("getpgid", n) for n in (0, 1234567, -5, 1234567 | 7 << 40)]
        )
        # The kernel looks at 32 bits of a pid_t, and so does the condition (CVE-2019-7303).
        assert results[1:] == [77, 77, 77]
        assert results[0] > 0
        assert asked == [1234567, -5, 1234567]


async def test_two_services_with_other_conditions_on_one_call_are_asked_each_for_its_own() -> None:
    async with rig(
        serve(getpgid, say(1), name="a", pid=1234567),
        serve(getpgid, say(2), name="b", pid=1234568),
    ) as view:
        got = await view.ask(lambda: [syscall("getpgid", 1234567 + n) for n in (0, 1)])
        assert got == [1, 2]


async def test_an_ioctl_is_claimed_by_its_request() -> None:
    async with rig(serve(ioctl, say(3), request=0x1277)) as view:
        got = await view.ask(
            lambda: (syscall("ioctl", 0, 0x1277, 0), syscall("ioctl", -1, 0x1278, 0))
        )
        assert got == (3, -9)


async def test_a_socket_is_claimed_by_its_family() -> None:
    async with rig(
        serve(socket_call, lambda c, t: Errno(MINE), family=socket.AF_APPLETALK)
    ) as view:
        assert await view.ask(lambda: syscall("socket", 5, 2, 0)) == -MINE
        assert await view.ask(lambda: syscall("socket", 1, 1, 0)) > 0


async def test_a_family_is_claimed_in_every_one_of_its_calls() -> None:
    asked = []

    def answer(call: Any, tracee: Any) -> Verdict:
        asked.append(type(call).__name__)
        return Errno(MINE)

    async with rig(serve(Open, answer)) as view:
        path = b"/dev/null"
        got = await view.ask(
            lambda: [
                syscall("open", path, 0),
                syscall("openat", -100, path, 0),
                syscall("creat", path, 0),
                syscall("openat2", -100, path, bytes(24), 24),
            ]
        )
        assert got == [-MINE] * 4
        assert asked == ["open", "openat", "creat", "openat2"]


ROOT = b"/nowhere/mine"

PATHS: list[tuple[bytes, bool]] = [
    (b"/nowhere/mine", True),
    (b"/nowhere/mine/", True),
    (b"/nowhere/mine/a", True),
    (b"/nowhere//mine///a", True),
    (b"/nowhere/./mine/.", True),
    (b"/nowhere/x/../mine/a", True),
    (b"/../../nowhere/mine", True),
    (b"//nowhere/mine", True),
    (b"/nowhere/mine/..", False),
    (b"/nowhere/mine/../mine", True),
    (b"/nowhere/mine2", False),
    (b"/nowhere/min", False),
    (b"/nowhere", False),
    (b"/", False),
    (b"", False),
    (b"nowhere/mine", False),
    (b"../../../../../../../../../../nowhere/mine/\xff\xfe", True),
]


@pytest.mark.parametrize(("path", "claimed"), PATHS)
async def test_a_path_condition_compares_name_by_name(path: bytes, claimed: bool) -> None:
    service = serve(Open, lambda c, t: Errno(MINE), path=Under(ROOT))
    async with rig(service) as view:
        got = await view.ask(lambda: syscall("openat", -100, path, os.O_PATH))
        assert (got == -MINE) is claimed


async def test_a_relative_path_is_taken_from_cwd_or_dirfd(tmp_path: Path) -> None:
    (tmp_path / "sub" / "mine").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    prefix = bytes(tmp_path / "sub" / "mine")

    def closure() -> dict[str, bool]:
        sub = os.open(tmp_path / "sub", os.O_RDONLY)
        other = os.open(tmp_path / "other", os.O_RDONLY)
        os.chdir(tmp_path / "sub")

        def claimed(dirfd: int, path: bytes) -> bool:
            return syscall("newfstatat", dirfd, path, bytes(200), 0) == -MINE

        return {
            "cwd": claimed(-100, b"mine/file"),
            "cwd itself": claimed(-100, b"mine"),
            "cwd other": claimed(-100, b"min"),
            "up and down": claimed(-100, b"../sub/mine"),
            "dirfd": claimed(sub, b"mine/file"),
            "dirfd other": claimed(other, b"mine"),
            "dirfd up": claimed(other, b"../sub/./mine"),
            "dirfd with garbage above": syscall("newfstatat", sub | 5 << 32, b"mine", bytes(200), 0)
            == -MINE,
            "absolute with a bad dirfd": claimed(12345, prefix),
            "bad dirfd": claimed(12345, b"mine"),
        }

    async with rig(serve(Stat, lambda c, t: Errno(MINE), path=Under(prefix))) as view:
        assert await view.ask(closure) == {
            "cwd": True,
            "cwd itself": True,
            "cwd other": False,
            "up and down": True,
            "dirfd": True,
            "dirfd other": False,
            "dirfd up": True,
            "dirfd with garbage above": True,
            "absolute with a bad dirfd": True,
            "bad dirfd": False,
        }


async def test_each_path_of_a_rename_has_its_own_directory(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "other").mkdir()

    def closure() -> list[int]:
        mine = os.open(tmp_path / "mine", os.O_RDONLY)
        other = os.open(tmp_path / "other", os.O_RDONLY)
        return [
            syscall("renameat2", other, b"a", mine, b"b", 0),
            syscall("renameat2", mine, b"a", other, b"b", 0),
        ]

    service = serve(renameat2, lambda c, t: Errno(MINE), newpath=Under(bytes(tmp_path / "mine")))
    async with rig(service) as view:
        assert await view.ask(closure) == [-MINE, -2]


async def test_a_prefix_is_compared_as_it_is_meant_not_as_it_is_written(tmp_path: Path) -> None:
    for prefix in (b"/nowhere/mine/", b"/nowhere//mine", b"/nowhere/./mine", b"/x/../nowhere/mine"):
        async with rig(serve(Stat, lambda c, t: Errno(MINE), path=Under(prefix))) as view:
            got = await view.ask(
                lambda: [
                    syscall("stat", p, bytes(200)) == -MINE
                    for p in (b"/nowhere/mine", b"/nowhere/mine/a", b"/nowhere/mine2")
                ]
            )
            assert got == [True, True, False], prefix


async def test_a_prefix_of_root_is_every_path() -> None:
    async with rig(serve(Stat, lambda c, t: Errno(MINE), path=Under(b"/"))) as view:
        got = await view.ask(
            lambda: [syscall("stat", p, bytes(200)) for p in (b"/", b"/a", b"rel", b"")]
        )
        assert got == [-MINE, -MINE, -MINE, -2]


async def test_a_path_that_cant_be_read_is_left_to_the_kernel() -> None:
    async with rig(serve(Stat, lambda c, t: Errno(MINE), path=Under(b"/"))) as view:
        got = await view.ask(
            lambda: [syscall("stat", p, bytes(200)) for p in (0, 1, 1 << 62, b"/" + b"a" * 5000)]
        )
        assert got == [-14, -14, -14, -36]


async def test_paths_and_registers_together_are_a_conjunction() -> None:
    def closure() -> list[int]:
        return [
            syscall("mount", b"x", target, b"none", flags, 0)
            for target, flags in ((b"/nowhere/a", 0x1000), (b"/nowhere/a", 0x20), (b"/x", 0x1000))
        ]

    under = Under(b"/nowhere")
    async with rig(serve(mount, lambda c, t: Errno(MINE), target=under, flags=0x1000)) as view:
        got = await view.ask(closure)
        assert [r == -MINE for r in got] == [True, False, False]


async def test_every_path_call_can_be_conditioned_on_its_path() -> None:
    """The whole family at once: nothing of it can slip past by another spelling."""
    service = serve(ByPath, lambda c, t: Errno(MINE), path=Under(b"/nowhere"))
    async with rig(service) as view:
        path, buf = b"/nowhere/x", bytes(300)
        got = await view.ask(
            lambda: [
                syscall("open", path, 0),
                syscall("stat", path, buf),
                syscall("lstat", path, buf),
                syscall("statx", -100, path, 0, 0xFFF, buf),
                syscall("access", path, 0),
                syscall("faccessat2", -100, path, 0, 0),
                syscall("readlink", path, buf, 100),
                syscall("chmod", path, 0),
                syscall("chown", path, 0, 0),
                syscall("truncate", path, 0),
                syscall("statfs", path, buf),
                syscall("utimensat", -100, path, 0, 0),
            ]
        )
        assert got == [-MINE] * len(got)
