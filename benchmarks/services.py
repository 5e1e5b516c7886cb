"""The services that the rows of `run.py` load, one each: ``-p services.py:Returns``."""

from __future__ import annotations

import os

import trio

from viewosd import InjectFd, Return, Service, Tracee, Under, hook
from viewosd.syscalls import getppid, openat


class Returns(Service):
    """getppid(2) returns 42."""

    name = "returns"

    @hook(getppid)
    def answer(self, call: getppid, tracee: Tracee) -> Return:
        return Return(42)


class Elsewhere(Service):
    """Asks for the opens of a tree that nobody opens: every open is looked at and goes on."""

    name = "elsewhere"

    @hook(openat, path=Under(b"/nowhere"))
    def refuse(self, call: openat, tracee: Tracee) -> None:
        raise FileNotFoundError(2, "nothing is here")


class Opens(Service):
    """openat(2) gets a descriptor that was opened here."""

    name = "opens"

    @hook(openat)
    def open(self, call: openat, tracee: Tracee) -> InjectFd:
        path = tracee.read_str(call.path)
        return InjectFd(os.open(path, os.O_RDONLY | os.O_CLOEXEC), cloexec=True)


class Async(Service):
    """The same as `Returns`, from a hook that could wait and does not."""

    name = "async"

    @hook(getppid)
    async def answer(self, call: getppid, tracee: Tracee) -> Return:
        return Return(42)


class Waits(Service):
    """The same, from a hook that lets others go first."""

    name = "waits"

    @hook(getppid)
    async def answer(self, call: getppid, tracee: Tracee) -> Return:
        await trio.lowlevel.checkpoint()
        return Return(42)
