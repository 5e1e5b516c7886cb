"""Bugs that others had with filters and exec, T27 to T34."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from helpers.rig import rig, serve, syscall
from viewosd.abi.bpf import BPF_MAXINSNS
from viewosd.core.filter import compile_filter
from viewosd.core.traps import traps_of
from viewosd.keeper.unsafe import PR_SET_NO_NEW_PRIVS, prctl
from viewosd.runtime import unsafe
from viewosd.service import HookSpec
from viewosd.syscalls.base import TABLE
from viewosd.syscalls.paths import ByPath, Open
from viewosd.syscalls.process import Exec, getppid
from viewosd.verdict import CONTINUE, Return, Rewrite, Verdict


async def test_t27_x32_is_no_way_around_a_hook() -> None:
    """sandlock's filter had no x32 check and allowed by default."""
    async with rig(serve(getppid, lambda c, t: Return(7))) as view:
        assert await view.ask(lambda: syscall(110 | 0x4000_0000)) == -errno.ENOSYS


async def test_t28_a_second_listener_below_ours_is_ebusy() -> None:
    """So a view in a view is made by the same supervisor, and a foreign one is told the reason."""
    program = struct.pack("=HBBI", 6, 0, 0, 0x7FC0_0000)  # RET USER_NOTIF

    def closure() -> int:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        try:
            return unsafe.seccomp_install(program, 8)  # NEW_LISTENER
        except OSError as error:
            return -(error.errno or 0)

    async with rig(serve(getppid, lambda c, t: Return(7))) as view:
        assert await view.ask(closure) == -errno.EBUSY


async def test_t28_a_filter_that_a_program_adds_for_itself_works_beside_ours() -> None:
    allow = struct.pack("=HBBI", 6, 0, 0, 0x7FFF_0000)

    def closure() -> int:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        unsafe.seccomp_install(allow, 0)
        return syscall("getppid")

    async with rig(serve(getppid, lambda c, t: Return(7))) as view:
        assert await view.ask(closure) == 7


@pytest.mark.parametrize(
    ("name", "conditions"),
    [
        *((name, {}) for name in ("sendmsg", "write", "ioctl", "prctl", "read")),
        ("fcntl", {"cmd": range(2048)}),
        ("mmap", {"prot": range(8)}),
    ],
)
async def test_t30_no_call_that_may_be_hooked_is_needed_to_start(name: str, conditions) -> None:
    """runc refuses a notify on write; crun hung with one on sendmsg, runc 1.2 on fcntl."""
    async with rig(serve(TABLE[name], lambda c, t: CONTINUE, **conditions)) as view:
        assert await view.run(["/bin/echo", "started"]).text() == "started\n"


def test_t31_hooking_every_path_call_is_no_chain_of_tests() -> None:
    """Linear chains halved the speed of a pipe loop (podman 13467)."""
    bytecode = compile_filter(traps_of([HookSpec(ByPath)]))
    assert len(bytecode) // 8 < 600 < BPF_MAXINSNS


async def test_t32_every_spelling_of_open_is_seen() -> None:
    """openat2 was forgotten by three of them."""
    seen = []

    def note(call: Any, tracee: Any) -> None:
        seen.append(type(call).__name__)

    path = b"/nowhere/at/all"

    def closure() -> None:
        syscall("open", path, 0)
        syscall("creat", path, 0)
        syscall("openat", -100, path, 0)
        syscall("openat2", -100, path, bytes(24), 24)

    async with rig(serve(Open, note)) as view:
        await view.ask(closure)
    assert seen == ["open", "creat", "openat", "openat2"]


def rewritten(path: bytes, to: bytes) -> Any:
    def answer(call: Any, tracee: Any) -> Verdict | None:
        return Rewrite(call.replace(path=to)) if tracee.read_str(call.path) == path else None

    return answer


async def test_t33_a_rewritten_exec_keeps_arguments_and_environment() -> None:
    """sandlock wrote the new path over argv[0], which is the same memory, and over envp behind it."""
    async with rig(serve(Exec, rewritten(b"/nowhere/env", b"/usr/bin/env"))) as view:
        long = {f"NAME{n}": "v" * 100 for n in range(100)}
        text = await view.run(["/nowhere/env"], long).text()
        assert text.splitlines() == [f"{k}={v}" for k, v in long.items()]


async def test_t33_a_script_gets_its_own_name(tmp_path: Path) -> None:
    """Where the path is a descriptor's, the interpreter sees /proc/self/fd/N."""
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\necho "$0" "$@"\n')
    script.chmod(0o755)
    async with rig(serve(Exec, rewritten(b"/nowhere/s", bytes(script)))) as view:
        assert await view.run(["/nowhere/s", "a"]).text() == f"{script} a\n"


async def test_t34_the_exec_of_a_vfork_child_is_rewritten_though_its_parent_can_not_stop() -> None:
    def closure() -> str:
        done = subprocess.run(
            ["/nowhere/echo", "x"], capture_output=True, text=True, close_fds=False
        )
        return done.stdout

    async with rig(serve(Exec, rewritten(b"/nowhere/echo", b"/bin/echo"))) as view:
        assert await view.ask(closure) == "x\n"


async def test_t34_an_exec_of_one_of_many_threads_is_rewritten() -> None:
    def closure() -> None:
        for _ in range(10):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        thread = threading.Thread(target=os.execv, args=("/nowhere/echo", ["echo", "x"]))
        thread.start()
        thread.join()

    async with rig(serve(Exec, rewritten(b"/nowhere/echo", b"/bin/true"))) as view:
        tracee = view.call(closure)
        assert await tracee.wait() == 0


async def test_t34_a_waiting_hook_does_not_hold_up_an_exec_of_another_thread() -> None:
    """exec kills the other threads, one of which waits for us: it must be killable."""

    async def hang(call: Any, tracee: Any) -> Verdict:
        await trio.sleep_forever()
        return CONTINUE

    def closure() -> None:
        for _ in range(5):
            threading.Thread(target=syscall, args=("getppid",), daemon=True).start()
        os.execv("/bin/true", ["true"])

    async with rig(serve(getppid, hang)) as view:
        assert await view.call(closure).wait() == 0
