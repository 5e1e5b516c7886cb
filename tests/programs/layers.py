"""Services that trap something each, so that loading one more re-arms the view.

``layers.py:Parent``: getppid(2) returns 4242. ``L0`` to ``L219``: personality(1000 + n) returns n.
``W0`` to ``W7``: ioctl(2) with 200 requests each goes on, which makes filters long. ``Late``:
getsid(2) returns 777 after a while. ``Never``: getpgid(2) returns 7 once the file $GATE is there, and
till then its hook waits. ``Programs``, ``Files``: their calls are looked at and go on.
"""

from __future__ import annotations

import os
from pathlib import Path

import trio
import trio.lowlevel

from viewosd import Return, Service, Tracee, Verdict, hook
from viewosd.abi.mman import PROT_READ, PROT_WRITE
from viewosd.syscalls import Exec, getpgid, getppid, getsid, ioctl, mmap, openat, personality, prctl


class Parent(Service):
    """getppid(2) returns 4242."""

    name = "parent"

    @hook(getppid)
    def answer(self, call: getppid, tracee: Tracee) -> Return:
        return Return(4242)


class Late(Service):
    """getsid(2) returns 777, a little later."""

    name = "late"

    @hook(getsid)
    async def answer(self, call: getsid, tracee: Tracee) -> Return:
        await trio.sleep(0.02)
        return Return(777)


class Never(Service):
    """getpgid(2) returns 7 when the file is there."""

    name = "never"

    @hook(getpgid)
    async def answer(self, call: getpgid, tracee: Tracee) -> Return:
        path = Path(os.environ["GATE"])
        while not path.exists():
            await trio.sleep(0.005)
        return Return(7)


class Programs(Service):
    """execve(2) is looked at, after a turn of the loop, and goes on."""

    name = "programs"

    @hook(Exec)
    async def look(self, call: Exec, tracee: Tracee) -> None:
        await trio.lowlevel.checkpoint()


class Files(Service):
    """openat(2), the mmap(2) that is ours too, and prctl(2) are looked at and go on."""

    name = "files"

    @hook(openat)
    def look(self, call: openat, tracee: Tracee) -> None:
        return None

    @hook(mmap, prot=PROT_READ | PROT_WRITE)
    def map(self, call: mmap, tracee: Tracee) -> None:
        return None

    @hook(prctl)
    def control(self, call: prctl, tracee: Tracee) -> None:
        return None


def _layer(number: int) -> type[Service]:
    def answer(self: Service, call: personality, tracee: Tracee) -> Verdict:
        return Return(number)

    body = {"name": f"l{number}", "answer": hook(personality, personality=1000 + number)(answer)}
    return type(f"L{number}", (Service,), {"__module__": __name__} | body)


def _wide(number: int) -> type[Service]:
    def answer(self: Service, call: ioctl, tracee: Tracee) -> None:
        return None

    requests = frozenset(0x8000_0000 + 97 * (200 * number + i) for i in range(200))
    body = {"name": f"w{number}", "answer": hook(ioctl, request=requests)(answer)}
    return type(f"W{number}", (Service,), {"__module__": __name__} | body)


globals().update({f"W{n}": _wide(n) for n in range(8)})
globals().update({f"L{n}": _layer(n) for n in range(220)})
