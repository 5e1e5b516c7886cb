"""Path work that may wait for a program of the view, done in a thread.

A program of the view that serves a file system (FUSE) may be asleep, dead, or waiting for us: its
own calls are trapped. Whoever follows a path that it serves waits for it, and may be kept waiting
for ever; the supervisor must not. So while anybody serves files, paths are followed here in two
steps: what the kernel knows already it tells at once (RESOLVE_CACHED), everything else is done in
a thread, for as long as it takes. Only the call that asked waits, as it would natively; who dies
meanwhile leaves the thread behind. Nothing but such leaves is done in threads: every decision is
made in the one thread.

`Served` knows whether anybody serves. Its sources are the mount tables of the views and our own;
poll(2) says when one has changed (proc_pid_mountinfo(5)). File systems of our own tree servers do
not count: those ask nobody of the view, unless they lie on one that counts.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import trio

from ..agent.unsafe import CLONE_FS, unshare

T = TypeVar("T")

MOST: Final = 1000
"""Threads. A call more than that waits for one of the others."""


class Served:
    """Does a program serve files to anybody whose paths we follow?

    Args:
        ours: mount types that services offer: a tree server has them as FUSE's subtype.
    """

    def __init__(self, ours: Callable[[], set[str]]) -> None:
        self._ours = ours
        self._poll = select.poll()
        self._tables: dict[int, bool] = {}
        self._is = False
        self.elsewhere = False
        """Somebody serves in a mount namespace of its own, which we do not watch."""
        self.watch("/proc/self/mountinfo")

    def __call__(self) -> bool:
        for fd, _ in self._poll.poll(0):
            self._look(fd)
        return self._is or self.elsewhere

    def watch(self, table: str) -> int:
        """One table more; a number for `forget`. Raises OSError."""
        fd = os.open(table, os.O_RDONLY | os.O_CLOEXEC)
        self._poll.register(fd, select.POLLPRI)
        self._look(fd)
        return fd

    def forget(self, number: int) -> None:
        """Watch a table no more."""
        if self._tables.pop(number, None) is not None:
            self._poll.unregister(number)
            os.close(number)
            self._is = any(self._tables.values())

    def _look(self, fd: int) -> None:
        ours, text = self._ours(), b""
        os.lseek(fd, 0, os.SEEK_SET)
        with suppress(OSError):
            while more := os.read(fd, 1 << 16):
                text += more
        self._tables[fd] = any(_is_served(line, ours) for line in text.splitlines())
        self._is = any(self._tables.values())


def _is_served(line: bytes, ours: set[str]) -> bool:
    kind = line.partition(b" - ")[2].partition(b" ")[0]
    if not kind.startswith(b"fuse"):
        return False
    family, _, subtype = kind.partition(b".")
    return family in (b"fuse", b"fuseblk") and os.fsdecode(subtype) not in ours


def _nobody() -> bool:
    return False


_served: Callable[[], bool] = _nobody
_limiter: trio.CapacityLimiter | None = None


def served() -> bool:
    """May a path wait for a program of the view?"""
    return _served()


def somebody_serves_elsewhere() -> None:
    """In a mount namespace of its own, which nobody watches: from now on every path may wait."""
    if isinstance(_served, Served):
        _served.elsewhere = True


def ask(somebody: Callable[[], bool]) -> None:
    """Have `served` ask this."""
    global _served
    _served = somebody


async def aside(function: Callable[..., T], *args: Any) -> T:
    """Call what follows paths: in a thread, if they may wait. `viewosd.space.Space.aside`."""
    return await in_thread(function, *args) if served() else function(*args)


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call it in a thread, and wait. Cancelled, the thread is left behind; a descriptor that it
    returns too late is closed.
    """
    global _limiter
    _limiter = _limiter or trio.CapacityLimiter(MOST)
    done: list[T] = []
    late = False

    def body() -> None:
        unshare(CLONE_FS)  # a umask of its own
        done.append(function(*args))
        if late and done:
            _close(done.pop())

    try:
        await trio.to_thread.run_sync(body, abandon_on_cancel=True, limiter=_limiter)
    except BaseException:
        late = True
        while done:
            _close(done.pop())
        raise
    return done.pop()


def _close(result: object) -> None:
    if type(result) is int and result > 2:
        with suppress(OSError):
            os.close(result)


class Aside:
    """What was done aside for one call, by what it was: it is asked for again and again, for the
    hook begins anew after each.
    """

    def __init__(self) -> None:
        self._done: dict[Any, tuple[Any, BaseException | None]] = {}

    def __contains__(self, key: Any) -> bool:
        return key in self._done

    def outcome(self, key: Any) -> Any:
        """What it returned; raises what it raised."""
        value, error = self._done[key]
        if error is not None:
            raise error
        return value

    async def do(self, key: Any, function: Callable[[], Any]) -> None:
        """Do it, in a thread."""
        try:
            self._done[key] = await in_thread(function), None
        except (OSError, ValueError) as error:
            self._done[key] = None, error

    def close(self) -> None:
        """The call has been answered."""
        for key, (value, _) in self._done.items():
            if key[0] == "open":
                _close(value)
        self._done.clear()


def would_wait(error: OSError) -> bool:
    """Did the kernel not know the path by heart (RESOLVE_CACHED)?"""
    return error.errno == errno.EAGAIN
