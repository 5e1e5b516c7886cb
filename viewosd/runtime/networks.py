"""The network stacks of a view, as the supervisor has them: `viewosd.network.Networks`.

    supervisor (outside)                maker (`viewosd.agent.networks`, inside)
    --------------------                ----------------------------------------
    holds namespaces by descriptor
    sends one, and what is wanted   ->  goes in, makes a socket, comes out
    injects it into the tracee      <-  the socket, or the kernel's errno

The answer is there in microseconds, so it is waited for in place for a moment: going through trio
and back costs more than the socket. The maker keeps nothing; who kills it only has another started.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

import trio

from ..abi.capability import CAP_NET_ADMIN, CAP_NET_RAW
from ..agent import companion, frames, namespaces, networks
from ..agent.networks import NO_ENTRY
from ..tracee import Credentials
from .helpers import Helpers, pair
from .kept import Kept
from .space import ViewSpace

_NET: Final = 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW
AT_ONCE_MS: Final = 2
"""Milliseconds that an answer is waited for in place; the kernel may load a module for a family."""


class ViewNetworks:
    """One view's.

    Args:
        kept: what survives us.
        alone: tells whether nobody runs in the view.
        above: of the view that this is a branch of: an ordinary user's branch has no rights over
            namespaces that were made there, and goes to that one's maker.
    """

    def __init__(
        self,
        helpers: Helpers,
        space: ViewSpace,
        kept: Kept,
        alone: Callable[[], bool],
        above: ViewNetworks | None = None,
    ) -> None:
        self._helpers, self._space, self._kept = helpers, space, kept
        self._alone, self._above = alone, above
        self._users = 1
        if above is not None:
            above._users += 1
        # Ours: a branch may live on when the view is gone.
        user, mnt, _ = space.namespaces
        self._ours = namespaces.Namespaces(None if user is None else os.dup(user), os.dup(mnt))
        self._inherited: set[int] = set()
        """Inodes of namespaces that are not ours to enter."""
        self._native = os.stat("/proc/self/ns/net").st_ino
        self._end: socket.socket | None = None
        self._poll = select.poll()
        self._numbers = itertools.count(os.getpid() << 16)
        self._lock = trio.Lock()

    def close(self) -> None:
        """The view is gone. With the last of its branches the maker ends: nobody can ask it."""
        self._users -= 1
        if self._users:
            return
        self._hang_up()
        for fd in self._ours.fds():
            os.close(fd)
        if self._above is not None:
            self._above.close()

    def _hang_up(self) -> None:
        if self._end is not None:
            trio.lowlevel.notify_closing(self._end)
            self._end.close()
            self._end = None

    def _start(self) -> socket.socket:
        self._hang_up()
        ours = self._ours
        end, theirs = pair()

        def body() -> None:
            namespaces.come_back(ours)
            networks.serve(theirs, ours)

        with theirs:
            try:
                self._helpers.fork(b"viewos-net", body, {theirs.fileno(), *ours.fds()})
            except OSError:
                end.close()
                raise
        self._end = end
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)
        return end

    async def _ask(self, verb: str, fds: Sequence[int], *args: Any) -> list[int]:
        back: list[int] | None = None
        try:
            self._lock.acquire_nowait()  # an acquire that waits for nothing goes round trio as well
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            with trio.CancelScope(shield=True):  # or its answer would be another question's
                for _ in range(2):
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError):
                        back = await self._asked(verb, fds, args)
                        break
                    self._start()
        finally:
            self._lock.release()
        if back is None:
            raise OSError(errno.EIO, "the view's network helper ends as soon as it is asked")
        return back

    async def _ask_in(self, namespace: int, verb: str, *args: Any) -> list[int]:
        """Ask for something in a namespace: of who may go there."""
        inode = os.fstat(namespace).st_ino
        if self._above is not None and inode in self._inherited:
            return await self._above._ask_in(namespace, verb, *args)
        try:
            return await self._ask(verb, [namespace], *args)
        except PermissionError as error:
            if self._above is None or error.strerror != NO_ENTRY:
                raise
        self._inherited.add(inode)
        return await self._above._ask_in(namespace, verb, *args)

    async def _asked(self, verb: str, fds: Sequence[int], args: Any) -> list[int]:
        end = self._end or self._start()
        number = next(self._numbers)
        frames.send(end, [number, verb, args], list(fds))
        if not self._poll.poll(AT_ONCE_MS):
            await trio.lowlevel.wait_readable(end)
        answer = frames.receive(end)
        if answer is None:
            raise EOFError
        (_, code, text, _), back = answer
        if code:
            raise OSError(code, text)
        return back

    # -- viewosd.network.Networks

    async def create(self) -> int:
        return (await self._ask("create", []))[0]

    async def native(self) -> int:
        return (await self._ask("native", []))[0]

    async def again(self, namespace: int) -> int:
        return (await self._ask_in(namespace, "again"))[0]

    async def socket(
        self,
        namespace: int,
        family: int,
        type: int,
        protocol: int,
        *,
        like: Credentials | None = None,
    ) -> int:
        who = None if like is None or _ours(like) else _told(like)
        if self._space.ordinary and os.fstat(namespace).st_ino == self._native:
            # Nobody in the view's user namespace can go there; we live there.
            return socket.socket(int(family), int(type), int(protocol)).detach()
        return (
            await self._ask_in(namespace, "socket", int(family), int(type), int(protocol), who)
        )[0]

    async def live_in(self, namespace: int) -> bool:
        await self._space.live_in(namespace)
        return self._alone()

    def drop(self, number: int) -> None:
        self._kept.drop(number)

    def accompany(self, argv: Sequence[str], fds: Sequence[int], *, what: str) -> int:
        end, theirs = pair()

        def body() -> None:
            companion.serve(theirs, [os.fsencode(word) for word in argv], fds, what)

        with theirs:
            try:
                self._helpers.fork(b"viewos-beside", body, {theirs.fileno(), *fds})
            except OSError:
                end.close()
                raise
        return self._kept.keep(end.detach())

    async def ended(self, number: int) -> OSError:
        with socket.socket(fileno=os.dup(self._kept.of(number))) as end:
            await trio.lowlevel.wait_readable(end)
            answer = frames.receive(end)
        if answer is None:
            return OSError(errno.EIO, "it was killed")
        _, code, text, _ = answer[0]
        return OSError(code, text)

    def lives_in(self, tid: int) -> int:
        return os.stat(f"/proc/{tid}/ns/net").st_ino


def _ours(who: Credentials) -> bool:
    """May it make what we may, and is that its own?"""
    ids = (os.geteuid(), os.getegid())
    return (who.fsuid, who.fsgid) == ids and (ids[0] != 0 or who.cap_eff & _NET == _NET)


def _told(who: Credentials) -> list[Any]:
    return [who.fsuid, who.fsgid, list(who.groups), who.cap_eff]
