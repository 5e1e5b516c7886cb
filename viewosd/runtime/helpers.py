"""Processes of ours beside the supervisor: agents, and servers of file trees.

They are forked from the supervisor, so what is loaded is shared. They are below it like the
programs of the view and are none of them: nothing counts them, arms them or waits for them.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import socket
from collections.abc import Callable, Iterable
from typing import NoReturn

import trio

from ..agent import host
from ..keeper import unsafe
from ..keeper.processes import lives, start_of

log = logging.getLogger("viewosd")


class Helpers:
    """Those that run, by process id, with their start times: an id may become another's."""

    def __init__(self) -> None:
        self._starts: dict[int, int] = {}
        self._copies: list[int] = []  # pipes that end when a child has closed what is not its
        self._settling = trio.Lock()

    def __contains__(self, pid: int) -> bool:
        start = self._starts.get(pid)
        return start is not None and start_of(pid) in (start, 0)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def fork(self, name: bytes, body: Callable[[], object], keep: Iterable[int]) -> int:
        """Run ``body`` in a process of its own.

        Args:
            name: as ps(1) shows it.
            keep: the descriptors that it needs; all others are closed.

        Returns:
            Its process id. Whoever collects children collects it.
        """
        copy, childs = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
        except OSError:
            os.close(copy)
            raise
        else:
            if pid == 0:
                _be(name, body, set(keep), childs)
        finally:
            os.close(childs)
        if not self._settling.locked():
            self._copies = [fd for fd in self._copies if not _has_ended(fd)]
        self._copies.append(copy)
        self.add(pid)
        return pid

    async def settled(self) -> bool:
        """Wait until no helper has a copy of what was open here when it was forked: a mount that
        one has open is busy. False: none had any.
        """
        waits = bool(self._copies) or self._settling.locked()
        async with self._settling:
            while self._copies:
                await trio.lowlevel.wait_readable(self._copies[0])
                os.close(self._copies.pop(0))
        return waits

    def add(self, pid: int) -> None:
        """A process that is a helper: one that a dead supervisor has forked."""
        self._starts[pid] = start_of(pid)

    def may_take_long(self, pid: int) -> bool:
        """Does it host a program that may have much to write back?"""
        try:
            with open(f"/proc/{pid}/comm", "rb") as comm:
                return comm.read().rstrip() == host.NAME
        except OSError:
            return False

    def forget_ended(self) -> None:
        """Drop those that have ended. Those of a supervisor that died are the keeper's to collect:
        who waits for them must not wait for that.
        """
        self._starts = {p: at for p, at in self._starts.items() if start_of(p) == at and lives(p)}

    def pids(self) -> list[int]:
        """Process ids, for a successor to `add`."""
        self.forget_ended()
        return list(self._starts)


def pair() -> tuple[socket.socket, socket.socket]:
    """Ours, and a helper's: a pair that keeps the limits of messages."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _be(name: bytes, body: Callable[[], object], keep: set[int], copies: int) -> NoReturn:
    """The forked child. It never returns into the supervisor's code, whatever happens."""
    status = 1
    try:
        gc.freeze()  # nothing of the supervisor's is tidied up here: its descriptors are closed
        os.setsid()
        unsafe.set_name(name)
        keep |= {fd for fd in map(_file_of, logging.getLogger().handlers) if fd > 2}
        _close_others(keep | {copies})
        os.close(copies)
        body()
        status = 0
    except Exception:
        log.exception("%s ends", name.decode())
    finally:
        os._exit(status)


def _has_ended(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe)
    if ended := bool(poll.poll(0)):
        os.close(pipe)
    return ended


def _file_of(handler: logging.Handler) -> int:
    try:
        return int(getattr(handler, "stream", None).fileno())  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        return -1  # it has no file, or not yet


def _close_others(keep: set[int]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    before = 2
    for fd in sorted(keep):
        os.closerange(before + 1, fd)
        before = max(before, fd)
    os.closerange(before + 1, os.sysconf("SC_OPEN_MAX"))
