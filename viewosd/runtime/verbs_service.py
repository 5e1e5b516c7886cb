"""The verb "ask": a command that is a service's own.

The service answers, or names a program that does (`viewosd.service.Work`). That one runs outside of
the view with the standard streams of whoever asked: an answer of any length needs no messages, and
a long one does not keep the supervisor.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from typing import Any

import trio

from ..service import Handed, Work
from . import working
from .verbs import HANDLERS, Ask, Refusal, Supervisor, loaded_service


async def ask(
    sv: Supervisor,
    ask: Ask,
    view: int | None,
    service: str,
    what: str,
    arguments: Mapping[str, Any],
) -> Any:
    """Ask a loaded service, and run what it answers with if that is a program."""
    answer = await loaded_service(ask.view, service).ask(what, arguments, ask.pid)
    if isinstance(answer, Handed):
        return _hand(answer.descriptors, ask)
    if not isinstance(answer, Work):
        return answer
    try:
        fds = [*ask.descriptors, *answer.descriptors]
        child = working.start(sv, list(map(os.fsencode, answer.argv)), fds)
    finally:
        for fd in answer.descriptors:
            os.close(fd)
    ask.close()  # the program has them now; a reader of its output would never see the end
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_with_asker, ask, child.pid)
        status = await child.wait()
        nursery.cancel_scope.cancel()
    return {"pid": child.pid, "status": status}


def _hand(descriptors: tuple[int, ...], ask: Ask) -> None:
    """Send descriptors through the one that the asker has given as its standard output."""
    try:
        with socket.socket(fileno=os.dup(ask.descriptors[1])) as through:
            socket.send_fds(through, [b"\0"], list(descriptors), socket.MSG_DONTWAIT)
    except OSError as error:
        raise Refusal("refused", f"descriptors can't be sent: {error.strerror}") from None
    finally:
        for fd in descriptors:
            os.close(fd)


async def _end_with_asker(ask: Ask, pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:  # it has ended already
        return
    try:
        await ask.left.wait()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    finally:
        os.close(pidfd)


HANDLERS["ask"] = ask
