"""Asking hooks, and the calls whose hooks wait."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Container
from math import inf
from typing import Final

import trio

from ..abi.errno import ERESTARTSYS
from ..core.routing import Handler
from ..errors import MustWait, Vanished
from ..verdict import CONTINUE, Errno, InjectFd, Verdict
from . import paths
from .answers import EIO, Answers, who
from .aside import Aside
from .journal import Journal
from .live import Live
from .signals import interrupted

log = logging.getLogger("viewosd")

SWEEP_S: Final = 0.05
"""How often waiting calls are looked after."""

FAULTS: Final = (Exception, SystemExit)
"""What a hook may raise without ending more than its call. Not trio.Cancelled."""
_NOTHING_TO_ANSWER: Final = ("vanished", "superseded", "restarted")


class Waiting:
    """The calls in hand whose hooks wait: at most one for each thread.

    Attributes:
        calls: by thread id.
        release: gives a journal slot back.
    """

    def __init__(self, answers: Answers, journal: Journal, release: Callable[[int], None]) -> None:
        self.answers, self.journal, self.release = answers, journal, release
        self.calls: dict[int, Live] = {}
        self._somebody_waits = trio.Event()

    def ask_now(self, live: Live) -> Verdict | None:
        """Ask ``def`` hooks until one answers. None: the next, `Live.next`, must be waited for."""
        handlers = live.route.handlers
        while live.next < len(handlers):
            handler = handlers[live.next]
            if handler.plain or self._accepts(handler, live):
                if not handler.spec.idempotent:
                    self.journal.begin(live.slot)
                if handler.is_async:
                    return None
                try:
                    verdict: Verdict | None = handler.method(live.call, live.tracee)
                except MustWait as wanted:
                    live.wanted = wanted
                    return None
                if verdict is not None:
                    return verdict
            live.next += 1
        return CONTINUE

    def _accepts(self, handler: Handler, live: Live) -> bool:
        if not handler.accepts(live.call.args):
            return False
        return all(paths.lies_under(live.tracee, live.call, n, p) for n, p in handler.under)

    async def _ask(self, live: Live) -> Verdict:
        while True:
            if live.wanted is not None:
                await self._do_aside(live, live.wanted)
            handler = live.route.handlers[live.next]
            deadline_s = handler.spec.deadline_s
            live.scope.deadline = inf if deadline_s is None else trio.current_time() + deadline_s
            try:
                verdict: Verdict | None = handler.method(live.call, live.tracee)
                if handler.is_async:
                    verdict = await verdict  # type: ignore[misc]
            except MustWait as wanted:
                live.wanted = wanted
                continue
            if verdict is None:
                live.next += 1
                verdict = self.ask_now(live)
            if verdict is not None:
                return verdict

    async def _do_aside(self, live: Live, wanted: MustWait) -> None:
        """It takes as long as it takes, as it would natively; who is killed is let go."""
        live.scope.deadline = inf
        if live.tracee.done is None:
            live.tracee.done = Aside()
        await live.tracee.done.do(wanted.key, wanted.function)
        live.wanted = None

    async def wait_for(self, live: Live) -> None:
        """Run the hook that may wait, and answer."""
        self.journal.wait(live.slot)
        self.calls[live.tid] = live
        self._somebody_waits.set()
        verdict: Verdict | None = None
        live.scope = trio.CancelScope()
        try:
            with live.scope:
                verdict = await self._ask(live)
        except FAULTS as error:  # out here: a group may have held our Cancelled beside it
            verdict = self.answers.verdict_of(error, live)
        live.tracee.let_go()
        if self.calls.get(live.tid) is live:
            del self.calls[live.tid]
        if live.ended in _NOTHING_TO_ANSWER:
            # Whatever the hook said in its last moment: its listener may be closed by now.
            if isinstance(verdict, InjectFd) and not verdict.keep:
                os.close(verdict.fd)
            self.answers.observe(live, None, live.ended)
        elif verdict is not None:
            self.answers.answer(live, verdict)
        elif live.ended == "signal":
            self._break_off(live)
        else:
            limit = live.route.handlers[live.next].spec.deadline_s
            log.error("%s: no verdict within %s s (%s)", who(live), limit, live)
            live.next = -1
            self.answers.answer(live, EIO)
        if live.ended != "restarted":
            self.release(live.slot)

    def _break_off(self, live: Live) -> None:
        """A signal is there that the call shall not keep waiting: EINTR, or a restart."""
        try:
            error = self.answers.rewriter.restart(live, ERESTARTSYS)
        except Vanished:
            return
        if error is not None:
            self.answers.answer(live, Errno(errno.EINTR))

    def cancel(self, live: Live, why: str) -> None:
        """End a waiting hook; ``why`` is `Live.ended`."""
        if live.ended is None and live.scope is not None:
            live.ended = why
            live.scope.cancel()

    async def sweep(self) -> None:
        """Look after waiting hooks: we are not told when a tracee dies or is interrupted (T17)."""
        while True:
            await self._somebody_waits.wait()
            await trio.sleep(SWEEP_S)
            if not self.calls:
                self._somebody_waits = trio.Event()
            for live in [one for one in self.calls.values() if one.scope is not None]:
                spec = live.route.handlers[live.next].spec
                if not live.listener.alive(live.cookie):
                    self.cancel(live, "vanished")
                elif spec.interruptible and interrupted(live.tid):
                    self.cancel(live, "signal")

    def give_up(self, seized: Container[int]) -> list[Live]:
        """Cancel the hooks of these threads' calls, for somebody else to answer them."""
        found = [live for tid, live in self.calls.items() if tid in seized]
        for live in found:
            self.cancel(live, "restarted")
            del self.calls[live.tid]
        return found

    def refused_again(self, live: Live, begun: bool, attempts: int) -> bool:
        """Is this call of a dead supervisor one that must not be asked again? Then it is answered.

        A call that two supervisors hung or crashed with gets EFAULT: it is what ended them.
        """
        strict = next((h.spec for h in live.route.handlers if not h.spec.idempotent), None)
        if attempts:
            log.error("%s: two supervisors hung or crashed with it (%s); it fails", who(live), live)
            self.answers.answer(live, Errno(errno.EFAULT))
        elif begun and strict is not None:
            log.error("%s: was perhaps done, and may not be done twice (%s)", who(live), live)
            self.answers.answer(live, Errno(strict.otherwise))
        else:
            return False
        self.release(live.slot)
        return True

    def ask_and_answer(self, live: Live) -> bool:
        """Ask ``def`` hooks and answer; False: the next hook must be waited for."""
        try:
            verdict = self.ask_now(live)
        except FAULTS as error:
            verdict = self.answers.verdict_of(error, live)
        if verdict is not None:
            self.answers.answer(live, verdict)
        return verdict is not None

    async def ask_again(self, live: Live) -> None:
        """Answer a call that was received earlier."""
        if self.ask_and_answer(live):
            self.release(live.slot)
        else:
            await self.wait_for(live)
