"""From a hook's verdict, or its exception, to the kernel's answer."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final

from ..core.stats import CONTINUED, FAILED, FAULT, INJECTED, RETURNED, REWRITTEN, CallStats
from ..errors import BadAddress, Vanished
from ..verdict import CONTINUE, Continue, Errno, InjectFd, Return, Rewrite, Verdict
from .journal import Journal
from .live import Live
from .rewrite import Rewriter

log = logging.getLogger("viewosd")

EIO: Final = Errno(errno.EIO)
"""What the tracee gets for a bug of a service."""

Observer = Callable[[Live, Verdict | None, str], None]


class Answers:
    """Answers calls, once each.

    Attributes:
        rewriter: runs what a `Rewrite` asks for.
        trapped: architecture to the numbers that any installed filter traps.
        observer: told of every answer, while somebody traces.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.rewriter = Rewriter()
        self.trapped: dict[int, frozenset[int]] = {}
        self.observer: Observer | None = None

    def conclude(self, live: Live, result: Any) -> None:
        """Answer with what a ``def`` hook returned, or raised."""
        if isinstance(result, BaseException):
            result = self.verdict_of(result, live)
        self.answer(live, CONTINUE if result is None else result)

    def answer(self, live: Live, verdict: Verdict) -> None:
        listener, cookie, kind = live.listener, live.cookie, type(verdict)
        stats = live.route.stats
        if self.observer is not None:
            # Before: answered, it may execute another program or be gone.
            self.observe(live, verdict, "")
        try:
            if kind is Return:
                value: int = verdict.value  # type: ignore[union-attr]
                listener.give(cookie, _put(live, value) if live.result_at else value)
                stats.counts[RETURNED] += 1
            elif kind is Continue:
                listener.go_on(cookie)
                stats.counts[CONTINUED] += 1
            elif kind is Errno:
                listener.fail(cookie, verdict.code)  # type: ignore[union-attr]
                stats.counts[FAULT if live.next < 0 else FAILED] += 1
            else:
                self._rarely(live, verdict, stats)
        except Vanished:
            live.ended = live.ended or "vanished"
        except Exception as error:  # struct.error: a value that no register can hold
            log.error("%s: no verdict: %r (%s): %s", who(live), verdict, live, error)
            self._fault(live)
        if live.started_ns:
            stats.timed(perf_counter_ns() - live.started_ns)

    def _rarely(self, live: Live, verdict: Verdict, stats: CallStats) -> None:
        if isinstance(verdict, InjectFd):
            stats.counts[INJECTED if self._inject(live, verdict) else FAILED] += 1
        elif isinstance(verdict, Rewrite):
            if live.result_at:
                error: str | None = "the result of another call would be lost"
            else:
                error = self.rewriter.rewrite(live, verdict.call, verdict.otherwise, self.trapped)
            if error is not None:
                log.warning("%s: cannot rewrite: %s (%s)", who(live), error, live)
                if live.listener.alive(live.cookie):
                    live.listener.fail(live.cookie, verdict.otherwise)
            stats.counts[REWRITTEN if error is None else FAILED] += 1
        else:
            raise TypeError("not a verdict")

    def _inject(self, live: Live, verdict: InjectFd) -> bool:
        """ADDFD. A failure (False) is the tracee's errno, never a CONTINUE.

        In two steps, for two reasons. A supervisor that is killed within an ADDFD that answers as
        well lets the call return 0 with nothing installed, until commit 832b9b176be0; between our
        two steps the journal knows the number. And a copy of ours that can be written must be
        closed before the tracee goes on: it may execve the file next, and ETXTBSY would be our
        doing.
        """
        listener, cookie = live.listener, live.cookie
        try:
            fcntl.fcntl(verdict.fd, fcntl.F_GETFD)
        except OSError as error:
            raise ValueError(f"descriptor {verdict.fd}: {error.strerror}") from None
        try:
            number = listener.add(cookie, verdict.fd, verdict.cloexec)
            self.journal.add(live.slot, number)
        except OSError as error:
            listener.fail(cookie, error.errno or errno.EIO)
            return False
        finally:
            if not verdict.keep:
                os.close(verdict.fd)
        try:
            listener.give(cookie, number)
        finally:
            self.journal.add(live.slot, None)
        return True

    def _fault(self, live: Live) -> None:
        live.route.stats.counts[FAULT] += 1
        try:
            live.listener.fail(live.cookie, errno.EIO)
        except Vanished:
            pass

    def observe(self, live: Live, verdict: Verdict | None, note: str) -> None:
        if self.observer is not None:
            self.observer(live, verdict, note)

    def verdict_of(self, error: BaseException, live: Live) -> Verdict:
        """The one place that turns an exception of a hook into the tracee's answer."""
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]  # a hook with a nursery of its own
        if isinstance(error, Vanished) and not live.listener.alive(live.cookie):
            live.ended = "vanished"
            return CONTINUE  # to nobody
        if isinstance(error, OSError) and error.errno:
            return Errno(error.errno)
        log.error("%s: a bug of the service (%s)", who(live), live, exc_info=error)
        live.next = -1
        return EIO


def _put(live: Live, value: int) -> int:
    """Put a result where the program wants it; what the call returns."""
    if -4096 < value < 0:
        return value
    try:
        live.tracee.write(live.result_at, (value & 0xFFFF_FFFF).to_bytes(4, "little"))
    except BadAddress:
        return -errno.EFAULT
    return 0


def who(live: Live) -> str:
    """The service and the call, for the log."""
    handlers = live.route.handlers
    handler = handlers[min(live.next, len(handlers) - 1)]
    return f"service {handler.service.name}, {live.route.name}"
