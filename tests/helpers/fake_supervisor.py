"""A supervisor without a kernel: what clients can be told, kept in lists. No filter, no tracee.

`running` serves it in a thread, so that blocking clients can be tried in the test itself and in
processes that it starts.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import trio

from viewosd.errors import ServiceError, ViewError
from viewosd.keeper import place
from viewosd.runtime import control
from viewosd.service import Service, parse_options
from viewosd.space import Mounted
from viewosd.wire.verbs import STATS


class Misc(Service):
    """Host name and other names of the system."""

    name = "misc"


class Late(Service):
    """Answers late."""

    name = "late"


@dataclass
class FakeLoaded:
    service: Service
    text: str
    permanent: bool = False

    @property
    def name(self) -> str:
        return self.service.name


class FakeStats:
    def table(self) -> list[dict[str, Any]]:
        rows = [
            ("uname", 12, 2, 10, 0, 0, 0, 0, 6.0, 9.5, 40.0),
            ("openat", 3, 3, 0, 0, 0, 0, 0, None, None, None),
        ]
        return [dict(zip(STATS, row, strict=True)) for row in rows]


@dataclass
class FakeView:
    id: int
    name: str = ""
    parent: FakeView | None = None
    since: float = 1_700_000_000.0
    owner: int = field(default_factory=os.getuid)
    secure: bool = False
    services: list[FakeLoaded] = field(default_factory=list)
    stats: FakeStats = field(default_factory=FakeStats)


class FakeChild:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.pid = process, process.pid

    async def wait(self) -> int:
        pidfd = os.pidfd_open(self.pid)
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)
        code = self.process.wait()
        return -code if code < 0 else code << 8


class FakeMounts:
    """Who mounts in a view, as the control socket knows it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.mounted: list[tuple[Mounted, str]] = []

    async def request(self, type: str, options: bytes, source: bytes, target: bytes) -> None:
        if type == "nosuch":
            raise OSError(errno.ENODEV, "no such type")
        self.asked.append((type, options, source, target))

    async def umount(self, target: bytes, flags: int) -> None:
        if target == b"/busy":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        self.asked.append((target, flags))

    def listing(self) -> list[tuple[Mounted, str]]:
        return self.mounted

    def lost(self) -> dict[int, str]:
        return {3: "killed"}

    def why(self, target: bytes) -> str:
        return "fuse2fs: no superblock" if target == b"/none/x" else ""

    def alias(self, name: str, type: str) -> None:
        if name == type:
            raise OSError(errno.ELOOP, f"{type} stands for {name}")
        self.asked.append(("alias", name, type))


class FakeSpaces:
    """Which view has a file tree."""

    def __init__(self) -> None:
        self.of: dict[int, FakeMounts] = {}

    def mounting(self, view: Any) -> FakeMounts | None:
        return self.of.get(view.id)


class FakeSupervisor:
    """Offers what `viewosd.runtime.verbs.Supervisor` says."""

    def __init__(self, serverid: int | None = None) -> None:
        self.serverid = os.getpid() if serverid is None else serverid
        self.root = FakeView(0, "main")
        self.views = {0: self.root}
        self.prog: int | None = None
        self.known: dict[str, type[Service]] = {"misc": Misc, "late": Late}
        self.inside: Callable[[int], FakeView | None] = lambda pid: None
        self.spaces = FakeSpaces()
        self.said: list[tuple[Any, ...]] = []
        """What was asked of it, in order."""
        self.tracers: list[trio.MemorySendChannel[Any]] = []
        self._release = trio.Event()
        self.soon: Callable[..., None]
        """Run a function in the thread that serves."""

    def release(self) -> None:
        """Let `add_service` of "late", which waits for this, go on."""
        self.soon(self._release.set)

    def branch(self, id: int, parent: FakeView | None = None, name: str = "") -> FakeView:
        view = FakeView(id, name, parent or self.root, services=list(self.root.services))
        self.views[id] = view
        return view

    def view_of(self, pid: int) -> FakeView | None:
        return self.inside(pid)

    def find(self, name_or_id: str) -> FakeView:
        for view in self.views.values():
            if name_or_id in (str(view.id), view.name):
                return view
        raise ViewError(f"there is no view {name_or_id}")

    def processes(self, view: FakeView) -> list[int]:
        return [os.getpid()] if view is self.root else []

    async def add_service(self, view: FakeView, text: str, *, permanent: bool = False) -> None:
        name, _ = parse_options(text)
        if name not in self.known:
            raise ServiceError(f"there is no service {name}; 'viewos services' lists them")
        if name == "late":
            await self._release.wait()
        self.said.append(("add", view.id, text, permanent))
        view.services.append(FakeLoaded(self.known[name](), text, permanent))

    async def del_service(self, view: FakeView, name: str) -> None:
        loaded = next(x for x in view.services if x.name == name)
        if loaded.permanent:
            raise ServiceError(f"{name} is permanent and can't be removed")
        view.services.remove(loaded)

    def mov_service(self, view: FakeView, name: str, position: int) -> None:
        loaded = next(x for x in view.services if x.name == name)
        view.services.remove(loaded)
        view.services.insert(position, loaded)

    async def execute(self, view: Any, argv: Any, env: Any, fds: Any, cwd: Any) -> FakeChild:
        self.said.append(("exec", view.id, argv, cwd))
        stdin, stdout, stderr = fds
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr,
            start_new_session=True,
        )  # fmt: skip
        return FakeChild(process)

    async def stop(self, view: FakeView, seconds: float) -> None:
        self.said.append(("stop", view.id, seconds))

    def secure(self, view: FakeView) -> None:
        view.secure = True

    def set_name(self, view: FakeView, name: str) -> None:
        view.name = name

    async def attach(self, view: FakeView, pid: int) -> None:
        if pid == 1:
            raise ViewError("pid 1 is not yours")
        self.said.append(("attach", view.id, pid))

    def subscribe(self) -> trio.MemoryReceiveChannel[Any]:
        send, receive = trio.open_memory_channel[Any](math.inf)
        self.tracers.append(send)
        self.said.append(("subscribe",))
        return receive

    def say(self, **changes: Any) -> dict[str, Any]:
        """A trace record, given to every tracer."""
        record = {
            "tid": 7, "pid": 7, "command": b"sh", "call": "uname(buf=0x10)",
            "verdict": "Return(value=0)", "us": 6.4, "service": "misc",
        } | changes  # fmt: skip
        self.soon(self._say, record)
        return record

    def _say(self, record: dict[str, Any]) -> None:
        for tracer in self.tracers:
            with contextlib.suppress(trio.BrokenResourceError):
                tracer.send_nowait(record)

    def hush(self) -> None:
        """End every trace."""
        for tracer in self.tracers:
            self.soon(tracer.close)


@contextlib.contextmanager
def running(supervisor: FakeSupervisor) -> Iterator[FakeSupervisor]:
    """Serve it in a thread, at its socket in the runtime directory, until the block ends."""
    listening = place.listen()
    place.publish(os.getpid(), supervisor.serverid)
    started = threading.Event()
    stopping: list[Callable[[], None]] = []

    async def main() -> None:
        supervisor.soon = trio.lowlevel.current_trio_token().run_sync_soon
        async with trio.open_nursery() as nursery:
            stopping.append(lambda: supervisor.soon(nursery.cancel_scope.cancel))
            await nursery.start(control.serve, supervisor, listening)
            started.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    try:
        assert started.wait(30)
        yield supervisor
    finally:
        stopping[0]()
        thread.join(30)
        listening.close()
        place.remove(supervisor.serverid)
        assert not thread.is_alive()


def descriptors() -> set[str]:
    """What this process has open, as the kernel shows it."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(number + os.readlink(f"/proc/self/fd/{number}"))
    return {each for each in found if "/proc/" not in each}


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a SOCK_SEQPACKET connection."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def terminate(process: subprocess.Popen[Any]) -> None:
    """End one process that the test has started."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()
