"""Services for test_outlive: what they answer tells whether a call was asked again, and by whom."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import trio

from viewosd import CONTINUE, InjectFd, Return, Rewrite, Service, Tracee, Verdict, hook
from viewosd.syscalls import getpgid, getpriority, getsid, newfstatat, openat, times

HERE = Path(__file__).parent


class Marks(Service):
    """Waits for files in a directory; notes there what was asked.

    getsid(n) waits until ``go-n`` exists; getpriority(_, n) likewise, and may not be done twice.
    """

    name = "marks"

    def __init__(self, directory: str) -> None:
        self.place = Path(directory)

    def _note(self, what: str) -> None:
        with (self.place / what).open("a") as file:
            file.write(f"{os.getpid()}\n")

    async def _wait_for(self, number: int) -> None:
        while not (self.place / f"go-{number}").exists():
            await trio.sleep(0.01)

    @hook(getsid, deadline_s=None)
    async def wait(self, call: getsid, tracee: Tracee) -> Verdict:
        self._note(f"asked-{call.pid}")
        await self._wait_for(call.pid)
        return Return(call.pid + 1)

    @hook(getpriority, deadline_s=None, idempotent=False, otherwise=errno.EREMOTEIO)
    async def once(self, call: getpriority, tracee: Tracee) -> Verdict:
        self._note(f"asked-{call.who}")
        await self._wait_for(call.who)
        return Return(call.who)

    @hook(times)
    def ordinary(self, call: times, tracee: Tracee) -> Verdict:
        return Return(1234)


class Hangs(Service):
    """getsid(666) never comes back, and nothing else is answered meanwhile."""

    name = "hangs"

    @hook(getsid)
    def hang(self, call: getsid, tracee: Tracee) -> None:
        while call.pid == 666:
            time.sleep(1000)


class Dies(Service):
    """getsid(n) ends the supervisor: 1 by a kill, 2 by leaving, 3 by a fault of its memory."""

    name = "dies"

    @hook(getsid)
    def die(self, call: getsid, tracee: Tracee) -> Verdict:
        if call.pid == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        elif call.pid == 2:
            os._exit(3)
        elif call.pid == 3:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGSEGV})
            os.kill(os.getpid(), signal.SIGSEGV)
        return Return(call.pid)


class Works(Service):
    """Every way to answer, for storms of kills: a number, a descriptor, another call, late."""

    name = "works"

    @hook(times)
    def number(self, call: times, tracee: Tracee) -> Verdict:
        return Return(4711)

    @hook(getsid)
    async def late(self, call: getsid, tracee: Tracee) -> Verdict:
        await trio.sleep(0.001)
        return Return(call.pid + 1)

    @hook(newfstatat)
    async def look(self, call: newfstatat, tracee: Tracee) -> Verdict:
        await trio.sleep(0)
        return CONTINUE

    @hook(getpgid)
    def other(self, call: getpgid, tracee: Tracee) -> Verdict:
        return CONTINUE if call.pid == 0 else Rewrite(call.replace(pid=0))

    @hook(openat)
    def file(self, call: openat, tracee: Tracee) -> Verdict | None:
        if tracee.read_str(call.path) != b"/virtual/file":
            return None
        return InjectFd(os.open(HERE / "services_to_outlive.py", os.O_RDONLY | os.O_CLOEXEC))
