"""Programs of other architectures: i386 ones are served, x32 and unknown ones get ENOSYS."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.rig import rig, serve, syscall
from viewosd.abi.arch import NATIVE, Arch
from viewosd.runtime.registers import X86Registers
from viewosd.syscalls.ids import setresuid
from viewosd.syscalls.paths import Truncate
from viewosd.syscalls.process import getpgid, getppid
from viewosd.syscalls.sockets import accept, socket
from viewosd.verdict import Errno, Return, Verdict

pytestmark = pytest.mark.skipif(NATIVE is not Arch.X86_64, reason="needs x86_64")

PROGRAM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static void show(long r) { printf("%ld ", r < 0 ? -(long)errno : r); }
int main(void) {
    unsigned long args[] = {1234, 0, 0};
    show(syscall(SYS_getppid));
    show(syscall(SYS_getpgid, -5));
    show(syscall(SYS_truncate64, "/nowhere/x", 0x89abcdef, 0x12));
    show(syscall(102, 5, args));
    show(syscall(102, 1, args));
    show(syscall(102, 1, 4L));
    show(syscall(102, 99, args));
    show(syscall(164, 0xffff, 7, 0x10007));
    return 0;
}
"""


@pytest.fixture(scope="session")
def i386(scratch: Path) -> str:
    path = scratch / "i386-calls"
    words = ["gcc", "-O1", "-w", "-m32", "-x", "c", "-", "-o", path]
    done = subprocess.run(words, input=PROGRAM, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("needs a 32-bit C library (gcc-multilib)")
    return str(path)


async def test_an_i386_program_is_decoded_widened_and_unpacked(i386: str) -> None:
    seen: dict[str, tuple[Any, ...]] = {}

    def note(name: str, *registers: str) -> Callable[..., Verdict]:
        def answer(call: Any, tracee: Any) -> Verdict:
            assert call.arch is tracee.arch is Arch.I386
            seen[name] = tuple(int(getattr(call, r)) for r in registers)
            return Return(len(seen))

        return answer

    services = (
        serve(getppid, note("getppid"), name="a"),
        serve(getpgid, note("getpgid", "pid"), name="b"),
        serve(Truncate, note("truncate", "length"), name="c"),
        serve(accept, note("accept", "fd"), name="d"),
        serve(setresuid, note("setresuid", "ruid", "euid", "suid"), name="e"),
        serve(socket, lambda c, t: Errno(errno.ENOBUFS), name="f"),
    )
    async with rig(*services) as view:
        text = await view.run([i386]).text()
    assert seen == {
        "getppid": (),
        "getpgid": (-5,),
        "truncate": (0x12_89AB_CDEF,),
        "accept": (1234,),
        "setresuid": (0xFFFF_FFFF, 7, 7),
    }
    efault, einval = -errno.EFAULT, -errno.EINVAL
    assert text.split() == [str(n) for n in (1, 2, 3, 4, -errno.ENOBUFS, efault, einval, 5)]


async def test_an_x32_call_is_enosys() -> None:
    async with rig(serve(getppid, lambda c, t: Return(7))) as view:
        got = await view.ask(lambda: [syscall(n | 0x4000_0000, 0) for n in (110, 39, 0, 512)])
        assert got == [-errno.ENOSYS] * 4
        assert await view.ask(lambda: syscall("getppid")) == 7


@pytest.mark.parametrize(
    ("arch", "rax", "result"),
    [
        (Arch.X86_64, 5, 5),
        (Arch.X86_64, (1 << 64) - 513, -513),
        (Arch.X86_64, 0x7FFF_F000_0000, 0x7FFF_F000_0000),
        (Arch.I386, (1 << 64) - 513, -513),
        (Arch.I386, (1 << 32) - 2, -2),
        (Arch.I386, 0xF7FF_0000, 0xF7FF_0000),
        (Arch.I386, 0xFFFF_FFFF_F7FF_0000, 0xF7FF_0000),
    ],
)
def test_a_result_is_signed_as_its_architecture_means_it(arch: Arch, rax: int, result: int) -> None:
    registers = X86Registers.__new__(X86Registers)
    registers.tid, registers.arch = 0, arch
    registers._values = [0] * 27
    registers._values[X86Registers._RAX] = rax
    assert registers.result == result
