"""File services for tests, by path: ``-p file_services.py:Scratch``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from viewosd.service import HookSpec, Service, hook
from viewosd.space import Mounted, MountRequest
from viewosd.syscalls import getppid
from viewosd.tracee import Tracee
from viewosd.verdict import Return


class Scratch(Service):
    """Mounts empty file systems, and what is elsewhere."""

    name = "scratch"
    mounts = ("scratch", "same")

    async def mount(self, request: MountRequest) -> int | None:
        if request.type == "scratch":
            return await request.space.create("tmpfs", [("mode", "755")])
        tree = request.open(request.source, os.O_PATH)
        try:
            return await request.space.clone(tree)
        finally:
            os.close(tree)


class Grows(Service):
    """From its first mount on getppid(2) is 7, and with ``gone`` again it is not."""

    name = "grows"
    mounts = ("grows",)

    def __init__(self) -> None:
        self.grown = False
        self.made = 0

    def hooks(self) -> list[tuple[HookSpec, Callable[[Any, Tracee], Any]]]:
        return super().hooks() if self.grown else []

    async def mount(self, request: MountRequest) -> int | None:
        self.made += 1
        if not self.grown:
            self.grown = True
            await self.rearm()
        return await request.space.create("tmpfs")

    async def umounted(self, mounted: Mounted) -> None:
        self.grown = False
        await self.rearm()

    @hook(getppid)
    def seven(self, call: getppid, tracee: Tracee) -> Return:
        return Return(7 if self.made == 1 else -self.made)
