"""What each verb of `viewosd.wire.VERBS` does. Who may ask was decided before.

A handler runs to its end even if its client leaves: half a service must not stay loaded, and
`umshutdown` is itself a process of the view that it stops. Those that wait for somebody look at
`Ask.left`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import trio

from ..wire import PROTOCOL

TRACE_QUEUE: Final = 4096
"""Records kept for a client that reads slower than the view runs; later ones are counted only."""
TRACE_BATCH: Final = 32 * 1024
"""Bytes, about: a notification stays one datagram, which the client's buffer accounts for."""


_FROM_TERMINAL: Final = {
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGSTOP, signal.SIGCONT, signal.SIGWINCH
}  # fmt: skip
"""A terminal gives these to a whole process group; so they are given to the program's."""


class Loaded(Protocol):
    """A service in a view."""

    service: Any
    text: str
    permanent: bool

    @property
    def name(self) -> str: ...


class View(Protocol):
    """A branch of this supervisor's tree, as far as clients may know it."""

    id: int
    name: str
    owner: int
    since: float
    secure: bool

    @property
    def parent(self) -> View | None: ...
    @property
    def services(self) -> Iterable[Loaded]: ...
    @property
    def stats(self) -> Any: ...


class Child(Protocol):
    """A process started by "exec"."""

    @property
    def pid(self) -> int: ...
    async def wait(self) -> int: ...


class Supervisor(Protocol):
    """What the control socket needs of the supervisor."""

    serverid: int

    @property
    def views(self) -> Mapping[int, View]: ...
    @property
    def root(self) -> View: ...
    def view_of(self, pid: int) -> View | None: ...
    def processes(self, view: Any) -> list[int]: ...
    def set_name(self, view: Any, name: str) -> None: ...
    def secure(self, view: Any) -> None: ...
    async def branch(self, parent: Any, root: int, name: str) -> View: ...
    def mov_service(self, view: Any, name: str, position: int) -> None: ...
    def subscribe(self) -> trio.MemoryReceiveChannel[Any]: ...
    async def add_service(self, view: Any, text: str, *, permanent: bool = False) -> str: ...
    async def del_service(self, view: Any, name: str) -> None: ...
    async def execute(self, view: Any, argv: Any, env: Any, fds: Any, cwd: Any) -> Child: ...
    async def stop(self, view: Any, seconds: float) -> None: ...
    async def attach(self, view: Any, pid: int) -> str: ...


class Refusal(Exception):
    """Answered to the client as it stands: a code of `viewosd.wire.CODES`, and one line."""

    def __init__(self, code: str, line: str) -> None:
        super().__init__(line)
        self.code, self.line = code, line


class Ask:
    """One request on its way: what a handler knows about it beside the parameters.

    Attributes:
        view: the one that the request is about.
        caller: the view that the client is in, or None.
        pid: the client's process; 0 if it can't be known.
        descriptors: ours to close.
        left: set once the client is gone.
        cancelled: set when the client wants no more of this, or is gone.
        notify: sends a notification to the client; it may wait for a slow one.
        on_signal: takes the signals that the client forwards.
        load: connections and requests at this moment.
    """

    def __init__(
        self,
        id: int,
        view: View,
        caller: View | None,
        pid: int,
        descriptors: list[int],
        left: trio.Event,
        notify: Callable[[str, list[Any]], Awaitable[None]],
        load: Callable[[], tuple[int, int]],
    ) -> None:
        self.id, self.view, self.caller, self.pid = id, view, caller, pid
        self.descriptors, self.left, self.notify, self.load = descriptors, left, notify, load
        self.cancelled = trio.Event()
        self.on_signal: Callable[[int], None] = lambda signo: None

    def close(self) -> None:
        """Close the descriptors that came with the request; again does nothing."""
        while self.descriptors:
            os.close(self.descriptors.pop())


Handler = Callable[..., Awaitable[Any]]
HANDLERS: Final[dict[str, Handler]] = {}
"""Verb to handler: ``await handler(supervisor, ask, **params)`` gives the result."""


def _verb(handler: Handler) -> Handler:
    HANDLERS[handler.__name__.rstrip("_")] = handler
    return handler


@_verb
async def hello(sv: Supervisor, ask: Ask, protocol: int) -> Any:
    if protocol != PROTOCOL:
        raise Refusal("refused", f"this supervisor speaks protocol {PROTOCOL}, not {protocol}")
    return {
        "protocol": PROTOCOL,
        "serverid": sv.serverid,
        "owner": sv.root.owner,
        "view": None if ask.caller is None else ask.caller.id,
        "views": [[view.id, view.name] for view in sv.views.values()],
    }


@_verb
async def views(sv: Supervisor, ask: Ask) -> Any:
    return [
        {
            "id": f"{sv.serverid}:{view.id}",
            "view": view.id,
            "parent": None if view.parent is None else f"{sv.serverid}:{view.parent.id}",
            "name": view.name,
            "owner": view.owner,
            "processes": len(sv.processes(view)),
            "services": [loaded.name for loaded in view.services],
            "since": view.since,
        }
        for view in sv.views.values()
    ]


@_verb
async def ps(sv: Supervisor, ask: Ask, view: int | None) -> Any:
    return {"pids": sorted(sv.processes(ask.view))}


@_verb
async def list_(sv: Supervisor, ask: Ask, view: int | None) -> Any:
    return [
        {
            "name": loaded.name,
            "description": type(loaded.service).summary(),
            "options": os.fsencode(loaded.text.partition(",")[2]),
            "permanent": loaded.permanent,
        }
        for loaded in ask.view.services
    ]


@_verb
async def add(sv: Supervisor, ask: Ask, view: int | None, text: bytes, permanent: bool) -> Any:
    if b"\0" in text:
        raise Refusal("refused", "a service's options can't hold a NUL")
    return await sv.add_service(ask.view, os.fsdecode(text), permanent=permanent) or None


@_verb
async def del_(sv: Supervisor, ask: Ask, view: int | None, service: str) -> Any:
    loaded_service(ask.view, service)
    await sv.del_service(ask.view, service)


@_verb
async def mov(sv: Supervisor, ask: Ask, view: int | None, service: str, position: int) -> Any:
    loaded_service(ask.view, service)
    sv.mov_service(ask.view, service, min(position, len(list(ask.view.services)) - 1))


def loaded_service(view: View, name: str) -> Any:
    """The service of that name in a view.

    Raises:
        Refusal: it has none.
    """
    for loaded in view.services:
        if loaded.name == name:
            return loaded.service
    has = ", ".join(loaded.name for loaded in view.services) or "none"
    raise Refusal("no-such-service", f"{name} is not loaded here (loaded: {has})")


@_verb
async def name(sv: Supervisor, ask: Ask, view: int | None, name: str) -> Any:
    if not name.isprintable():
        raise Refusal("refused", "a view's name must be printable")
    if name.replace(":", "").isdecimal():
        raise Refusal("refused", f"{name} looks like a view's id and can't be a name")
    sv.set_name(ask.view, name)


@_verb
async def secure(sv: Supervisor, ask: Ask, view: int | None) -> Any:
    sv.secure(ask.view)


@_verb
async def exec_(
    sv: Supervisor,
    ask: Ask,
    view: int | None,
    argv: list[bytes],
    env: dict[bytes, bytes],
    cwd: bytes,
) -> Any:
    texts = [*argv, *env, *env.values(), cwd]
    if any(b"\0" in text for text in texts) or any(b"=" in key or not key for key in env):
        raise Refusal("refused", "an argument or a variable can't be given to a program")
    shown = argv[0].decode(errors="backslashreplace")
    try:
        child = await sv.execute(ask.view, argv, env, list(ask.descriptors), cwd)
    except OSError as error:
        if error.filename == cwd:
            raise Refusal("refused", f"{os.fsdecode(cwd)}: {error.strerror}") from error
        # errno 0: the child has said it all, its own name included.
        line = f"{shown}: {error.strerror}" if error.errno else str(error.strerror or error)
        missing = isinstance(error, FileNotFoundError)
        raise Refusal("not-found" if missing else "not-executable", line) from error
    # The program has them now. Kept open here, a reader of its output would never see the end.
    ask.close()
    try:
        pidfd = os.pidfd_open(child.pid)
    except OSError:  # already reaped
        return {"pid": child.pid, "status": await child.wait()}

    def forward(signo: int) -> None:
        with contextlib.suppress(OSError):  # ESRCH: ended meanwhile
            signal.pidfd_send_signal(pidfd, 0)
            # Not reaped, and nobody but us could do that just now: its number is its own still.
            if signo in _FROM_TERMINAL and os.getpgid(child.pid) == child.pid:
                os.killpg(child.pid, signo)
            else:
                signal.pidfd_send_signal(pidfd, signo)

    async def hang_up() -> None:
        await ask.left.wait()
        forward(signal.SIGHUP)
        forward(signal.SIGCONT)

    try:
        ask.on_signal = forward
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang_up)
            status = await child.wait()
            nursery.cancel_scope.cancel()
    finally:
        ask.on_signal = lambda signo: None
        os.close(pidfd)
    return {"pid": child.pid, "status": status}


@_verb
async def branch(sv: Supervisor, ask: Ask, name: str) -> Any:
    if ask.caller is None or not ask.pid:
        raise Refusal("refused", "only a process of a view can begin a branch of it")
    return {"view": (await sv.branch(ask.caller, ask.pid, name)).id}


@_verb
async def stop(sv: Supervisor, ask: Ask, view: int | None, seconds: float) -> Any:
    await sv.stop(ask.view, seconds)


@_verb
async def attach(sv: Supervisor, ask: Ask, view: int | None, pid: int) -> Any:
    return await sv.attach(ask.view, pid) or None


@_verb
async def trace(sv: Supervisor, ask: Ask, view: int | None) -> Any:
    """The channel is always read at once, so that the supervisor never waits for a client."""
    queue: deque[dict[str, Any]] = deque()
    lost, ended, more, wanted = 0, False, trio.Event(), ask.view.id

    async def read() -> None:
        nonlocal lost, ended
        async with channel:
            async for record in channel:
                if "lost" in record:
                    lost += record["lost"]
                elif record.get("view", wanted) == wanted:
                    if len(queue) < TRACE_QUEUE:
                        queue.append(record)
                    else:
                        lost += 1
                more.set()
        ended = True
        more.set()

    async def send() -> None:
        nonlocal lost, more
        while not ended:
            await more.wait()
            more = trio.Event()
            while queue or lost:
                batch, room = [], TRACE_BATCH
                while queue and room > 0:
                    batch.append(_sendable(queue.popleft()))
                    room -= 200 + len(batch[-1]["call"]) + len(batch[-1]["verdict"])
                told, lost = (0, lost) if queue else (lost, 0)
                await ask.notify("trace", [ask.id, batch, told])
        nursery.cancel_scope.cancel()

    async def until_cancelled() -> None:
        await ask.cancelled.wait()
        nursery.cancel_scope.cancel()

    channel = sv.subscribe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_cancelled)
        nursery.start_soon(send)
        nursery.start_soon(read)


def _sendable(record: Mapping[str, Any]) -> dict[str, Any]:
    """Texts of tracees may be no UTF-8; a client shows them, nothing more."""
    return {
        key: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for key, value in record.items()
    }


@_verb
async def stats(sv: Supervisor, ask: Ask, view: int | None) -> Any:
    return ask.view.stats.table()


@_verb
async def probe(sv: Supervisor, ask: Ask) -> Any:
    connections, requests = ask.load()
    return {
        "pid": os.getpid(),
        "memory_kb": _resident_kb(),
        "connections": connections,
        "requests": requests,
    }


def _resident_kb() -> int:
    """proc(5), /proc/pid/statm: the second number is the resident set in pages."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
