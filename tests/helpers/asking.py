"""A tracee that was made ready, and what a hook finds of it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from helpers.rig import rig, serve, syscall
from viewosd.syscalls.process import getpgid
from viewosd.verdict import Return


async def ask(prepare: Callable[[], Any], look: Callable[[Any, int], Any]) -> Any:
    """What ``look(tracee, n)`` finds when the tracee calls getpgid(n), n what prepare() returned;
    an OSError as its name."""
    found: list[Any] = []

    def answer(call: Any, tracee: Any) -> Return:
        try:
            found.append(look(tracee, int(call.pid)))
        except OSError as error:
            found.append(errno.errorcode[error.errno or 0])
        return Return(0)

    def closure() -> None:
        syscall("getpgid", prepare() or 0)

    async with rig(serve(getpgid, answer)) as view:
        await view.ask(closure)
    return found[0]
