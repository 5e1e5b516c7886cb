"""A real mount namespace with its agent, and the mount calls of a view in it, without a view.

    async with namespace(ordinary=True, services=[Mine()]) as here:
        assert await here.mount("x", here.point, "tmpfs") == 0

The tracee is a fake: its memory is what the test puts there, its paths are the namespace's.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from viewosd.abi.arch import NATIVE, Arch
from viewosd.abi.fcntl import AT_FDCWD
from viewosd.errors import ViewError
from viewosd.runtime.helpers import Helpers
from viewosd.runtime.mounting import Mounting
from viewosd.runtime.mounting.mountinfo import Line, parse
from viewosd.runtime.space import ViewSpace
from viewosd.service import Service
from viewosd.space import Mounted, MountRequest
from viewosd.syscalls import mount, umount2
from viewosd.testing.tracee import FakeTracee
from viewosd.tracee import Credentials
from viewosd.verdict import Continue, Errno, InjectFd, Return

ALL = (1 << 41) - 1


class Inside(FakeTracee):
    """A thread of the namespace, with its working directory at the test's place."""

    def __init__(self, here: Here, arch: Arch = NATIVE) -> None:
        super().__init__(arch, cwd=bytes(here.place))
        self._space = here.space
        uid = os.geteuid()
        self.credentials = Credentials(uid, uid, uid, uid, uid, uid, uid, uid, (), ALL)

    def open(
        self, dirfd: int, path: bytes, flags: int = 0, mode: int = 0, *, resolve: int = 0
    ) -> int:
        self.check()
        if not path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self._space.open(self.path_of(dirfd, path), flags)

    def path_of(self, dirfd: int, path: bytes) -> bytes:
        if dirfd == AT_FDCWD or path.startswith(b"/"):
            return super().path_of(dirfd, path)
        return os.readlink(b"/proc/self/fd/%d" % self.descriptors[dirfd]) + b"/" + path


class Binder(Service):
    """Shows what is elsewhere; nothing, if its source is "none"; fails if that is an errno."""

    name = "binder"
    mounts = ("binder", "fuse.binder")

    def __init__(self) -> None:
        self.requests: list[MountRequest] = []
        self.gone: list[Mounted] = []
        self.wait = trio.Event()
        self.wait.set()

    async def mount(self, request: MountRequest) -> int | None:
        self.requests.append(request)
        await self.wait.wait()
        if request.source == b"none":
            return None
        if request.source.isdigit():
            raise OSError(int(request.source), "as the test wants it")
        tree = request.open(request.source, os.O_PATH)
        try:
            return await request.space.clone(tree)
        finally:
            os.close(tree)

    async def umounted(self, mounted: Mounted) -> None:
        self.gone.append(mounted)


class Here:
    """The namespace, from a test's side."""

    def __init__(self, space: ViewSpace, services: Sequence[Service], place: Path) -> None:
        self.space, self.place = space, place
        space.inhabits = lambda tid: True  # type: ignore[method-assign]
        self.view = SimpleNamespace(
            secure=False, services=[SimpleNamespace(service=s) for s in services]
        )
        self.mounting = Mounting(self.view, space)
        self.tracee = Inside(self)
        self.point = place / "point"
        self.point.mkdir()

    def text(self, value: str | bytes | Path | None) -> int:
        return 0 if value is None else self.tracee.put(os.fsencode(value) + b"\0")

    async def ask(self, hook: Any, call: Any, tracee: FakeTracee | None = None) -> Any:
        """An errno, 0 or what the call returns; "continue"; a descriptor of ours."""
        try:
            verdict = await hook(call, tracee or self.tracee)
        except OSError as error:
            return error.errno
        if isinstance(verdict, Errno):
            return verdict.code
        if isinstance(verdict, InjectFd):
            return verdict
        return "continue" if isinstance(verdict, Continue) else verdict.value

    async def mount(
        self,
        source: str | Path | None,
        target: str | Path | None,
        type: str | None = None,
        flags: int = 0,
        data: str | bytes | None = None,
    ) -> Any:
        registers = *(self.text(t) for t in (source, target, type)), flags, self.text(data), 0
        return await self.ask(self.mounting.on_mount, mount(registers))

    async def umount(self, target: str | Path, flags: int = 0) -> Any:
        call = umount2((self.text(target), flags, 0, 0, 0, 0))
        return await self.ask(self.mounting.on_umount, call)

    def give(self, number: int, answer: Any) -> int:
        """The tracee has got a descriptor; its number."""
        assert isinstance(answer, InjectFd), answer
        self.tracee.descriptors[number] = answer.fd
        return number

    def take(self, number: int) -> None:
        """The tracee closes a descriptor."""
        os.close(self.tracee.descriptors.pop(number))

    def listing(self, path: Path | str) -> list[str]:
        fd = self.space.open(os.fsencode(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def lines(self) -> list[Line]:
        """The mounts below the test's place."""
        found = parse(self.space.mountinfo()).values()
        return [line for line in found if line.point.startswith(bytes(self.place))]

    def options(self, path: Path) -> str:
        """What mountinfo says of the mountpoint and of its file system."""
        text = self.space.mountinfo().decode()
        line = [line for line in text.splitlines() if line.split()[4] == str(path)][-1]
        return line.split()[5] + " " + line.split(" - ")[1]


@asynccontextmanager
async def namespace(
    ordinary: bool, services: Sequence[Service] = (), parent: ViewSpace | None = None
) -> AsyncIterator[Here]:
    """A namespace until the block ends. Skips the test where there is none to be had."""
    helpers = Helpers()
    if not ordinary and os.geteuid():
        pytest.skip("needs root")
    try:
        space = await ViewSpace._make(helpers, parent and parent.namespaces, ordinary)
    except (OSError, ViewError) as error:
        pytest.skip(f"needs namespaces: {error}")
    pid = space.pid
    place = Path(tempfile.mkdtemp(prefix="viewos-mounting-")).resolve()
    try:
        here = Here(space, services, place)
        yield here
        for number in list(here.tracee.descriptors):
            here.take(number)
        await here.mounting.stop()
    finally:
        # First what needs nobody: a test that is ended because the agent does not end leaves no
        # directory. To remove a mountpoint takes away what another namespace has mounted on it.
        space.close()
        try:
            shutil.rmtree(place)
        finally:
            os.waitpid(pid, 0)


__all__ = ["Binder", "Here", "Inside", "Return", "namespace"]
