"""FUSE programs of others that serve a view, as the supervisor starts and awaits them.

Each has a host (`viewosd.agent.host`), a helper that goes on without us. What a service is told of
it suffices to find it again, in a successor too.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio

from ..agent import frames, host, namespaces
from ..agent.hosting import Job
from ..keeper.processes import start_of, state_of
from . import unsafe
from .helpers import Helpers, pair

log = logging.getLogger("viewosd")

STUCK_S: Final = host.START_S + 2 * host.KILL_S + 5.0
"""Seconds after which a host that does not answer is ended: it opens an image that hangs."""
FLUSH_S: Final = 60.0
"""Seconds that a program may write back. It is not killed then: what it has would be lost."""
ANSWER_S: Final = 5.0

_numbers = itertools.count(os.getpid() << 16)


async def start(
    helpers: Helpers, ours: namespaces.Namespaces, job: Job
) -> tuple[int, dict[str, int]]:
    """Start a program, and wait until it has mounted.

    Returns:
        A descriptor of the tree, attached nowhere, and where its host is found: for `ended`.

    Raises:
        OSError: it has not mounted anything; its text has what the program said.
    """
    end, theirs = pair()
    with end:
        keep = {end.fileno(), theirs.fileno(), *ours.fds()}
        with theirs:
            number = end.fileno()
            pid = helpers.fork(b"viewos-mount", lambda: host.serve(theirs, number, ours, job), keep)
        try:
            with trio.fail_after(STUCK_S):
                (tree,) = await _said(end)
                try:
                    await _said(end)  # it has let go of the tree
                except BaseException:
                    os.close(tree)
                    raise
        except trio.TooSlowError:
            os.kill(pid, signal.SIGKILL)
            text = "its image does not let itself be opened"
            raise OSError(errno.ETIMEDOUT, text) from None
        except OSError:  # it has ended, or does
            raise
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
    return tree, {"pid": pid, "start": start_of(pid), "end": number}


async def _said(end: socket.socket) -> list[int]:
    """What came with a host's next message. Raises OSError: why there is no mount."""
    await trio.lowlevel.wait_readable(end)
    answer = frames.receive(end)
    if answer is None:
        raise OSError(errno.EIO, "its host was killed")
    (_, code, text, _), fds = answer
    if code:
        raise OSError(code, text)
    return fds


async def ended(where: Mapping[str, int]) -> bool:
    """Wait until a program that nothing is mounted of any more has written back and ended.

    Returns:
        False: it goes on, as the file system is in use elsewhere (a branch, an open file), or it
        takes longer than `FLUSH_S`.
    """
    pid = where["pid"]
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        if start_of(pid) != where["start"] or state_of(pid) in ("", "Z", "X"):
            return True
        if await _is_gone(pidfd, where["end"]) is False:
            return False
        with trio.move_on_after(FLUSH_S):
            await trio.lowlevel.wait_readable(pidfd)
            return True
        log.error("process %d is still writing back what was in its file system", pid)
        return False
    finally:
        os.close(pidfd)


async def _is_gone(pidfd: int, number: int) -> bool | None:
    """The host's word for it; None: it is ending, or can't tell."""
    try:
        end = socket.socket(fileno=unsafe.pidfd_getfd(pidfd, number))
    except OSError:
        return None
    asked = next(_numbers)
    with end, trio.move_on_after(ANSWER_S):
        try:
            frames.send(end, [asked, host.GONE, []], [])
        except BrokenPipeError:
            return None
        while True:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_either, end.fileno(), nursery.cancel_scope)
                nursery.start_soon(_either, pidfd, nursery.cancel_scope)
            try:
                end.setblocking(False)
                answer = frames.receive(end)
            except (BlockingIOError, ConnectionResetError):  # it has ended, our question unread
                return None
            if answer is None:
                return None
            (of, _, _, result), _ = answer
            if of == asked:
                return None if result is None else bool(result)
    return None


async def _either(fd: int, scope: trio.CancelScope) -> None:
    await trio.lowlevel.wait_readable(fd)
    scope.cancel()


def job(
    argv: Any,
    target: bytes,
    source: bytes | None,
    lock: int,
    what: str,
    marks: Sequence[tuple[int, bytes]],
) -> Job:
    """A job with the environment of the view's owner."""
    return Job([os.fsencode(a) for a in argv], dict(os.environb), target, source, lock, what, marks)
