"""A real pump with services over real tracees, inside a test's own trio loop.

    async with rig(MyService()) as view:
        tracee = view.call(lambda: os.getppid())    # a closure, in a forked child under the filter
        assert await tracee.result() == 7

What the supervisor does around the pump (views, control, keeper) is not here.
"""

from __future__ import annotations

import ctypes
import inspect
import os
import pickle
import signal
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from viewosd.abi.arch import NATIVE
from viewosd.abi.seccomp import SECCOMP_FILTER_FLAG_NEW_LISTENER
from viewosd.abi.sysno import SYSNO
from viewosd.core.filter import compile_filter
from viewosd.core.traps import traps_of
from viewosd.core.view import Loaded, View
from viewosd.keeper.unsafe import PR_SET_NO_NEW_PRIVS, prctl
from viewosd.runtime import spawn, unsafe
from viewosd.runtime.journal import Journal
from viewosd.runtime.listener import Listener
from viewosd.runtime.live import Live
from viewosd.runtime.pump import Pump
from viewosd.service import Service, hook
from viewosd.syscalls.base import Syscall

LIMIT_S = 60.0
"""Until a test gives up on something that always happens."""

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def nr(name: str) -> int:
    """A system call's number on this machine."""
    return SYSNO[NATIVE][name]


def syscall(number: int | str, *args: Any) -> int:
    """Make a raw system call; negative errno as the kernel says it."""
    number = nr(number) if isinstance(number, str) else number
    raw = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = libc.syscall(ctypes.c_long(number), *raw)
    return -ctypes.get_errno() if result == -1 else result


class Tracee:
    """One child under the rig's filter."""

    def __init__(self, rig: Rig, child: spawn.Child, output: int) -> None:
        self.rig, self.pid, self.pidfd, self._output = rig, child.pid, child.pidfd, output
        self.child = child
        self._status: int | None = None

    async def wait(self) -> int:
        """Its wait status."""
        if self._status is None:
            with trio.fail_after(LIMIT_S):
                await trio.lowlevel.wait_readable(self.pidfd)
            _, self._status = os.waitpid(self.pid, 0)
        return self._status

    @property
    def output(self) -> bytes:
        """What it wrote to its descriptors 1 and 2, or a closure's pickled result."""
        size = os.fstat(self._output).st_size
        return os.pread(self._output, size, 0)

    async def result(self) -> Any:
        """What the closure returned; its exception as an AssertionError with the traceback."""
        status = await self.wait()
        if status:
            raise AssertionError(
                f"wait status {status:#x}\n" + self.output.decode(errors="replace")
            )
        return pickle.loads(self.output)

    async def text(self) -> str:
        """What a program wrote, if it ended well."""
        status = await self.wait()
        text = self.output.decode(errors="replace")
        assert status == 0, f"wait status {status:#x}: {text}"
        return text

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def close(self) -> None:
        if self._status is None:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            self._status = os.waitpid(self.pid, 0)[1]
        self.child.failure()
        os.close(self.pidfd)
        os.close(self._output)


class Rig:
    """The pump and what runs under it."""

    def __init__(self, services: Sequence[Service], killable: bool = True) -> None:
        self._killable = killable
        self.view = View(0, "rig", 0.0)
        for service in services:
            self.view.insert(Loaded(service, service.name))
        self.traps = traps_of(self.view.specs())
        self.filter = compile_filter(self.traps)
        self._journal_fd = os.memfd_create("journal", os.MFD_CLOEXEC)
        self.journal = Journal(self._journal_fd)
        self.pump = Pump(self.journal)
        self.tell()
        self.tracees: list[Tracee] = []
        self.gone = 0
        self.pump.on_gone = self._count_gone

    def tell(self) -> None:
        """Hand the view's table to the pump, after its services changed."""
        self.pump.routes = self.view.routes
        self.pump.answers.trapped = {
            arch: frozenset(numbers) for arch, numbers in self.traps.items()
        }

    @property
    def live(self) -> dict[int, Live]:
        """Calls whose hooks wait, by thread id."""
        return self.pump.waiting.calls

    def _count_gone(self, listener: Listener) -> None:
        self.gone += 1

    def run(
        self,
        argv: Sequence[str | bytes],
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> Tracee:
        """Start a program; its output is kept."""
        output = os.memfd_create("output", os.MFD_CLOEXEC)
        entries = [f"{k}={v}".encode() for k, v in (os.environ if env is None else env).items()]
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        directory = os.open(cwd, os.O_PATH) if cwd else None
        try:
            program = spawn.Program(
                [os.fsencode(a) for a in argv], entries, fds={0: null, 1: output, 2: output},
                cwd=directory,
            )  # fmt: skip
            return self._started(program, output)
        finally:
            os.close(null)
            if directory is not None:
                os.close(directory)

    def call(self, closure: Callable[[], Any]) -> Tracee:
        """Run a closure in a forked child, where a program would be executed."""
        output = os.memfd_create("output", os.MFD_CLOEXEC)

        def instead_of_exec(*_: Any) -> int:
            try:
                data, code = pickle.dumps(closure()), 0
            except BaseException:
                data, code = traceback.format_exc().encode(), 1
            os.pwrite(output, data, 0)
            os._exit(code)

        with _replaced("_exec", instead_of_exec):
            return self._started(spawn.Program([b"closure"], []), output)

    def _started(self, program: spawn.Program, output: int) -> Tracee:
        install = spawn._install if self._killable else _install_interruptibly
        with _replaced("_install", install):
            child = spawn.start(program, self.filter)
        assert child.listener is not None
        self.pump.add(Listener(child.listener, self.journal.next_key()))
        tracee = Tracee(self, child, output)
        self.tracees.append(tracee)
        return tracee

    async def ask(self, closure: Callable[[], Any]) -> Any:
        """What a closure returns under the filter."""
        return await self.call(closure).result()

    def close(self) -> None:
        for tracee in self.tracees:
            tracee.close()
        for listener in list(self.pump.listeners.values()):
            self.pump.drop(listener)
        self.pump._epoll.close()
        self.pump._window.release()
        self.journal.close()
        os.close(self._journal_fd)


@contextmanager
def _replaced(name: str, function: Callable[..., Any]) -> Iterator[None]:
    """What a child that is forked meanwhile runs in place of a part of `spawn`."""
    original = getattr(spawn, name)
    setattr(spawn, name, function)
    try:
        yield
    finally:
        setattr(spawn, name, original)


def _install_interruptibly(program: bytes) -> int:
    """As on a kernel without WAIT_KILLABLE_RECV: a signal takes back a received call."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    return unsafe.seccomp_install(program, SECCOMP_FILTER_FLAG_NEW_LISTENER)


@asynccontextmanager
async def rig(*services: Service, killable: bool = True) -> AsyncIterator[Rig]:
    """A running pump; at the end every tracee is killed."""
    made = Rig(services, killable)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(made.pump.run)
            yield made
            nursery.cancel_scope.cancel()
    finally:
        made.close()


def serve(
    call: type[Syscall], function: Callable[[Any, Any], Any], *, name: str = "test", **mark: Any
) -> Service:
    """A service with one hook: ``function(call, tracee)``, plain or async."""
    if inspect.iscoroutinefunction(function):

        async def answer(self: Service, call: Any, tracee: Any) -> Any:
            return await function(call, tracee)

    else:

        def answer(self: Service, call: Any, tracee: Any) -> Any:
            return function(call, tracee)

    body = {"name": name, "answer": hook(call, **mark)(answer)}
    return type("Served", (Service,), body)()


async def until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """What the condition returns when it is true at last; the loop turns meanwhile."""
    end = time.monotonic() + LIMIT_S
    while not (value := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        await trio.sleep(0.01)
    return value
