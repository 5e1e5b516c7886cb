"""The supervisor's loop: receive, route, answer. One thread, trio.

Who receives: one task at a time has *the turn*. It receives, and answers ``def`` hooks on the
spot. An ``async def`` hook runs in the very task that received the call, after the turn was given
away; if the hook did not wait after all, the task takes the turn back before anybody else ran.
So a hook that does not wait costs no task, and one that waits costs one wake-up of a parked task.

How it waits: all listeners are in one epoll set, on which trio waits when nothing happens. While
calls come fast the loop sleeps up to HOT_MS in poll(2) on them instead: going to sleep there lets
SYNC_WAKE_UP hand the processor over at once, which is faster than spinning and than trio's own
round (docs/decisions/0002). It never does so while a hook waits, and returns to trio for a moment
every TURN_NS, so that the control socket and timers have their share.

Invariant: a received cookie is answered once, or is dead. Nothing here is lost by an exception of
a service; an exception of ours ends the supervisor, and the journal hands its calls to the next.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import select
from collections.abc import Callable, Container
from math import inf
from time import perf_counter_ns
from typing import Any

import trio

from ..abi.arch import Arch
from ..abi.errno import ERESTARTNOINTR, ERESTARTSYS
from ..core.routing import Handler, Route, Routes
from ..core.stats import (
    CONTINUED,
    FAILED,
    FAULT,
    INJECTED,
    RETURNED,
    REWRITTEN,
    SAMPLE,
    CallStats,
)
from ..errors import Vanished
from ..syscalls.base import Syscall
from ..syscalls.numbers import number_of
from ..verdict import CONTINUE, Continue, Errno, InjectFd, Return, Rewrite, Verdict
from . import memory, paths
from .journal import Journal
from .listener import Listener
from .live import NOTIF, Live
from .rewrite import Rewriter
from .signals import interrupted

log = logging.getLogger("viewosd")

FAULTS = (Exception, SystemExit)
"""What a hook may raise without ending more than its call. Not trio.Cancelled."""

HOT_MS = 1
TURN_NS = 2_000_000
SWEEP_S = 0.05
SPARE_TASKS = 8

_ZERO = bytes(80)
_HANGUP = select.EPOLLHUP | select.EPOLLERR
_ARCH = {int(arch): arch for arch in Arch}
_I386, _SOCKETCALL = int(Arch.I386), 102
_EIO = Errno(errno.EIO)
_NOTHING_TO_ANSWER = ("vanished", "superseded", "restarted")

Held = dict[int, tuple[Listener, int, int]]
"""Thread id to (listener, slot, cookie) of a call that was received and is kept back."""
Observer = Callable[[Live, Verdict | None, str], None]


class Pump:
    """All the listeners of one supervisor, and the calls in hand."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.routes = Routes()
        self.route_for: Callable[[int], Routes] | None = None
        """Thread id to routes, while there is more than one view; else `routes` serves all."""
        self.observer: Observer | None = None
        self.rewriter = Rewriter()
        self.trapped: dict[int, frozenset[int]] = {}
        """Architecture to the numbers that any installed filter traps."""
        self.listeners: dict[int, Listener] = {}
        self.live: dict[int, Live] = {}  # by thread id: one request each
        self.on_gone: Callable[[Listener], None] = lambda listener: None
        self._epoll = select.epoll()
        self._poll = select.poll()
        self._poll.register(self._epoll.fileno(), select.POLLIN)
        self._nursery: trio.Nursery | None = None
        self._turn: trio.lowlevel.Task | None = None
        self._parked: list[trio.lowlevel.Task] = []
        self._waking = False
        self._somebody_waits = trio.Event()
        self._slot_is_free = trio.Event()
        self._take_slot()

    # -- listeners

    def add(self, listener: Listener) -> None:
        """Receive from this one too."""
        self.listeners[listener.fd] = listener
        self._epoll.register(listener.fd, select.EPOLLIN)
        self._aim()

    def drop(self, listener: Listener) -> None:
        """Stop receiving from it, and close our copy."""
        if self.listeners.pop(listener.fd, None):
            self._epoll.unregister(listener.fd)
            self._aim()
            listener.close()

    def _aim(self) -> None:
        """With one listener, poll(2) looks at it itself: cheaper than through the epoll set."""
        self._poll = select.poll()
        fds = list(self.listeners)
        self._poll.register(fds[0] if len(fds) == 1 else self._epoll.fileno(), select.POLLIN)

    def _take_slot(self) -> None:
        """Choose the slot of the next call. With none free, calls wait in the kernel."""
        self._slot = self.journal.take()
        self._window = self.journal.window(self._slot)
        self._slot_key = 0

    def _release(self, slot: int) -> None:
        self.journal.release(slot)
        if not self._slot:
            self._take_slot()
            self._slot_is_free.set()
            self._slot_is_free = trio.Event()

    # -- the loop

    async def run(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._sweep)
            nursery.start_soon(self._worker)
            task_status.started()

    async def _worker(self) -> None:
        me = trio.lowlevel.current_task()
        while True:
            self._waking = False
            if self._turn is not None:
                if len(self._parked) >= SPARE_TASKS:
                    return
                await self._park(me)
                continue
            self._turn = me
            try:
                await self._receive(me)
            finally:
                if self._turn is me:
                    self._turn = None

    async def _park(self, me: trio.lowlevel.Task) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked.remove(me)
            return trio.lowlevel.Abort.SUCCEEDED

        self._parked.append(me)
        await trio.lowlevel.wait_task_rescheduled(abort)

    def _give_turn(self) -> None:
        """Let somebody else receive as soon as this task waits."""
        self._turn = None
        if not self._waking:
            self._waking = True
            if self._parked:
                trio.lowlevel.reschedule(self._parked.pop())
            else:
                assert self._nursery is not None
                self._nursery.start_soon(self._worker)

    async def _receive(self, me: trio.lowlevel.Task) -> None:
        """Receive and answer for as long as we have the turn."""
        while not self._slot:
            await self._slot_is_free.wait()
        until = perf_counter_ns() + TURN_NS
        while True:
            if self.live or not self.listeners:
                ready = self._epoll.poll(0)
                if not ready:
                    await trio.lowlevel.wait_readable(self._epoll.fileno())
            elif not (ready := self._poll.poll(HOT_MS)):
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            elif len(self.listeners) > 1:
                ready = self._epoll.poll(0)
            for fd, events in ready:
                listener = self.listeners.get(fd)
                if listener is None:
                    continue
                if events & select.EPOLLIN:
                    live = self._take(listener)
                    if live is not None:
                        self._give_turn()
                        await self._wait_for(live)
                        if self._turn is not None:
                            return  # somebody received while our hook waited
                        self._turn = me
                elif events & _HANGUP:
                    # POLLHUP, and nothing else, is the end: no task is left under this filter.
                    self.drop(listener)
                    self.on_gone(listener)
            if perf_counter_ns() > until:
                await trio.lowlevel.checkpoint()
                until = perf_counter_ns() + TURN_NS

    def _take(self, listener: Listener) -> Live | None:
        """Receive one call and answer it, or say that its hook must be waited for."""
        window = self._window
        if self._slot_key != listener.key:
            self.journal.prepare(self._slot, listener.key)
            self._slot_key = listener.key
        if not listener.receive(window):
            return None
        cookie, tid, _, nr, arch, _, *args = NOTIF(window)
        if tid in self.rewriter.expected and self.rewriter.is_expected(tid, nr, args):
            self._finish_unclaimed(listener, cookie)
            return None
        routes = self.routes if self.route_for is None else self.route_for(tid)
        route = routes[arch].get(nr)
        if route is None and arch == _I386 and nr == _SOCKETCALL:
            return self._keep(self._socketcall(listener, cookie, tid, args, routes))
        if route is None or route.inline is None or self.observer or tid in self.live:
            if route is None:
                self._finish_unclaimed(listener, cookie)
                return None
            call = route.call.decode(tuple(args), _ARCH[arch])
            return self._keep(Live(listener, cookie, tid, nr, route, call))
        live = Live(listener, cookie, tid, nr, route, route.call.decode(tuple(args), _ARCH[arch]))
        stats = route.stats
        stats.seen += 1
        if not stats.seen % SAMPLE:
            live.started_ns = perf_counter_ns()
        live.slot = self._slot
        try:
            verdict = route.inline(live.call, live.tracee)
        except FAULTS as error:
            verdict = self._verdict_of(error, live)
        self._answer(live, CONTINUE if verdict is None else verdict)
        window[:80] = _ZERO
        return None

    def _finish_unclaimed(self, listener: Listener, cookie: int) -> None:
        try:
            listener.go_on(cookie)
        except Vanished:
            pass
        self._window[:80] = _ZERO

    def _keep(self, live: Live | None) -> Live | None:
        """The way of calls that are not answered by one plain hook: ask ``def`` hooks, in order."""
        if live is None:
            self._window[:80] = _ZERO
            return None
        if (old := self.live.get(live.tid)) is not None:
            self.cancel(old, "superseded")
        live.slot = self._slot
        live.route.stats.seen += 1
        live.started_ns = perf_counter_ns()
        try:
            verdict = self._ask_now(live)
        except FAULTS as error:
            verdict = self._verdict_of(error, live)
        if verdict is not None:
            self._answer(live, verdict)
            self._window[:80] = _ZERO
            return None
        self._take_slot()  # the old one is this call's until it is answered
        return live

    def _socketcall(
        self, listener: Listener, cookie: int, tid: int, args: list[int], routes: Routes
    ) -> Live | None:
        """Unpack an i386 socketcall(2); None: nobody wants what is inside, it goes on."""
        route = routes.inside.get(args[0] & 0xFFFF_FFFF)
        if route is not None:
            inner = route.call
            try:
                block = memory.read(tid, args[1], 4 * len(inner.registers))
            except (OSError, Vanished):
                block = b""  # the kernel says EFAULT itself
            if block:
                given = [
                    int.from_bytes(block[i : i + 4], "little") for i in range(0, len(block), 4)
                ]
                call = inner.decode(tuple(given + [0] * (6 - len(given))), Arch.I386)
                return Live(listener, cookie, tid, _SOCKETCALL, route, call)
        try:
            listener.go_on(cookie)
        except Vanished:
            pass
        return None

    # -- hooks

    def _ask_now(self, live: Live) -> Verdict | None:
        """Ask ``def`` hooks until one answers. None: the next is an ``async def``, `Live.next`."""
        handlers = live.route.handlers
        while live.next < len(handlers):
            handler = handlers[live.next]
            if handler.plain or self._accepts(handler, live):
                if not handler.spec.idempotent:
                    self.journal.begin(live.slot)
                    self._slot_key = 0  # the mark must not be read as the next call's
                if handler.is_async:
                    return None
                verdict: Verdict | None = handler.method(live.call, live.tracee)
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
            handler = live.route.handlers[live.next]
            deadline_s = handler.spec.deadline_s
            live.scope.deadline = inf if deadline_s is None else trio.current_time() + deadline_s
            verdict: Verdict | None = await handler.method(live.call, live.tracee)
            if verdict is None:
                live.next += 1
                verdict = self._ask_now(live)
            if verdict is not None:
                return verdict

    async def _wait_for(self, live: Live) -> None:
        """Run the hook that may wait, and answer."""
        self.live[live.tid] = live
        self._somebody_waits.set()
        verdict: Verdict | None = None
        live.scope = trio.CancelScope()
        try:
            with live.scope:
                verdict = await self._ask(live)
        except FAULTS as error:  # out here: a group may have held our Cancelled beside it
            verdict = self._verdict_of(error, live)
        if self.live.get(live.tid) is live:
            del self.live[live.tid]
        if live.ended in _NOTHING_TO_ANSWER:
            # Whatever the hook said in its last moment: its listener may be closed by now.
            if isinstance(verdict, InjectFd) and not verdict.keep:
                os.close(verdict.fd)
            self._observe(live, None, live.ended)
        elif verdict is not None:
            self._answer(live, verdict)
        elif live.ended == "signal":
            self._break_off(live)
        else:
            limit = live.route.handlers[live.next].spec.deadline_s
            log.error("%s: no verdict within %s s (%s)", _who(live), limit, live)
            live.next = -1
            self._answer(live, _EIO)
        if live.ended != "restarted":
            self._release(live.slot)

    def _break_off(self, live: Live) -> None:
        """A signal is there that the call shall not keep waiting: EINTR, or a restart."""
        try:
            error = self.rewriter.restart(live, ERESTARTSYS)
        except Vanished:
            return
        if error is not None:
            self._answer(live, Errno(errno.EINTR))

    def cancel(self, live: Live, why: str) -> None:
        """End a waiting hook; ``why`` is `Live.ended`."""
        if live.ended is None and live.scope is not None:
            live.ended = why
            live.scope.cancel()

    def _verdict_of(self, error: BaseException, live: Live) -> Verdict:
        """The one place that turns an exception of a hook into the tracee's answer."""
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]  # a hook with a nursery of its own
        if isinstance(error, Vanished) and not live.listener.alive(live.cookie):
            live.ended = "vanished"
            return CONTINUE  # to nobody
        if isinstance(error, OSError) and error.errno:
            return Errno(error.errno)
        log.error("%s: a bug of the service (%s)", _who(live), live, exc_info=error)
        live.next = -1
        return _EIO

    # -- answers

    def _answer(self, live: Live, verdict: Verdict) -> None:
        listener, cookie, kind = live.listener, live.cookie, type(verdict)
        stats = live.route.stats
        try:
            if kind is Return:
                listener.give(cookie, verdict.value)  # type: ignore[union-attr]
                stats.counts[RETURNED] += 1
            elif kind is Continue:
                listener.go_on(cookie)
                stats.counts[CONTINUED] += 1
            elif kind is Errno:
                listener.fail(cookie, verdict.code)  # type: ignore[union-attr]
                stats.counts[FAULT if live.next < 0 else FAILED] += 1
            else:
                self._answer_rarely(live, verdict, stats)
        except Vanished:
            live.ended = live.ended or "vanished"
        except Exception as error:  # struct.error: a value that no register can hold
            log.error("%s: no verdict: %r (%s): %s", _who(live), verdict, live, error)
            self._fault(live)
        if live.started_ns:
            stats.timed(perf_counter_ns() - live.started_ns)
            if self.observer is not None:
                self._observe(live, verdict, live.ended or "")

    def _answer_rarely(self, live: Live, verdict: Verdict, stats: CallStats) -> None:
        if isinstance(verdict, InjectFd):
            stats.counts[INJECTED if self._inject(live, verdict) else FAILED] += 1
        elif isinstance(verdict, Rewrite):
            trapped = self._is_trapped(verdict.call)
            error = self.rewriter.rewrite(live, verdict.call, trapped)
            if error is not None:
                log.warning("%s: cannot rewrite: %s (%s)", _who(live), error, live)
                live.listener.fail(live.cookie, verdict.otherwise)
            stats.counts[REWRITTEN if error is None else FAILED] += 1
        else:
            raise TypeError("not a verdict")

    def _is_trapped(self, call: Syscall) -> bool:
        number = number_of(type(call), Arch(call.arch))
        return number in self.trapped.get(call.arch, ())

    def _inject(self, live: Live, verdict: InjectFd) -> bool:
        """ADDFD. A failure (False) is the tracee's errno, never a CONTINUE."""
        listener, cookie = live.listener, live.cookie
        try:
            writable = fcntl.fcntl(verdict.fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        except OSError as error:
            raise ValueError(f"descriptor {verdict.fd}: {error.strerror}") from None
        try:
            if verdict.keep or not writable:
                listener.inject(cookie, verdict.fd, verdict.cloexec)
            else:
                # Our writable copy must be closed before the tracee goes on: it may execve the
                # file next, and ETXTBSY would be our doing.
                number = listener.add(cookie, verdict.fd, verdict.cloexec)
                os.close(verdict.fd)
                verdict = InjectFd(verdict.fd, keep=True)
                listener.give(cookie, number)
        except OSError as error:
            listener.fail(cookie, error.errno or errno.EIO)
            return False
        finally:
            if not verdict.keep:
                os.close(verdict.fd)
        return True

    def _fault(self, live: Live) -> None:
        live.route.stats.counts[FAULT] += 1
        try:
            live.listener.fail(live.cookie, errno.EIO)
        except Vanished:
            pass

    def _observe(self, live: Live, verdict: Verdict | None, note: str) -> None:
        if self.observer is not None:
            self.observer(live, verdict, note)

    # -- calls that wait

    def restart_in_flight(self, seized: Container[int], held: Held) -> None:
        """Answer every call that waits for us with −ERESTARTNOINTR.

        Only threads in ``seized`` have a stop pending that swallows it; a program must never see
        it. Calls of others go to ``held``, until they are seized or `serve_held`.
        """
        for listener in list(self.listeners.values()):
            while self._slot and _readable(listener.fd):
                if self._slot_key != listener.key:
                    self.journal.prepare(self._slot, listener.key)
                    self._slot_key = listener.key
                if listener.receive(self._window):
                    cookie, tid = NOTIF(self._window)[:2]
                    held[tid] = (listener, self._slot, cookie)
                    self._take_slot()
        for live in [live for tid, live in self.live.items() if tid in seized]:
            self.cancel(live, "restarted")
            del self.live[live.tid]
            held[live.tid] = (live.listener, live.slot, live.cookie)
        for tid in [tid for tid in held if tid in seized]:
            listener, slot, cookie = held.pop(tid)
            try:
                listener.fail(cookie, ERESTARTNOINTR)
            except Vanished:
                pass
            self._release(slot)

    async def _sweep(self) -> None:
        """Look after waiting hooks: we are not told when a tracee dies or is interrupted (T17)."""
        while True:
            await self._somebody_waits.wait()
            await trio.sleep(SWEEP_S)
            if not self.live:
                self._somebody_waits = trio.Event()
            for live in [one for one in self.live.values() if one.scope is not None]:
                spec = live.route.handlers[live.next].spec
                if not live.listener.alive(live.cookie):
                    self.cancel(live, "vanished")
                elif spec.interruptible and interrupted(live.tid):
                    self.cancel(live, "signal")

    def serve_held(self, held: Held) -> None:
        """Answer what was held back after all, in the ordinary way."""
        for listener, slot, _ in held.values():
            self.adopt(slot, listener, begun=False, attempts=0)
        held.clear()

    def adopt(self, slot: int, listener: Listener, begun: bool, attempts: int) -> None:
        """Answer what a dead supervisor had received: ask its hooks again, where that may be.

        A call that two supervisors died with gets EFAULT: it is what killed them.
        """
        window = self.journal.window(slot)
        cookie, tid, _, nr, arch, _, *args = NOTIF(window)
        routes = self.routes if self.route_for is None else self.route_for(tid)
        route: Route | None = routes[arch].get(nr)
        if route is None or not listener.alive(cookie):
            self._release(slot)
            if route is None and listener.alive(cookie):
                listener.go_on(cookie)
            return
        live = Live(listener, cookie, tid, nr, route, route.call.decode(tuple(args), Arch(arch)))
        live.slot = slot
        strict = next((h.spec for h in route.handlers if not h.spec.idempotent), None)
        if attempts:
            log.error("%s: two supervisors died with it (%s); it fails", _who(live), live)
            self._answer(live, Errno(errno.EFAULT))
        elif begun and strict is not None:
            log.error("%s: was perhaps done, and may not be done twice (%s)", _who(live), live)
            self._answer(live, Errno(strict.otherwise))
        else:
            assert self._nursery is not None
            self._nursery.start_soon(self._ask_again, live)
            return
        self._release(slot)

    async def _ask_again(self, live: Live) -> None:
        try:
            verdict = self._ask_now(live)
        except FAULTS as error:
            verdict = self._verdict_of(error, live)
        if verdict is None:
            await self._wait_for(live)
        else:
            self._answer(live, verdict)
            self._release(live.slot)


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))


def _who(live: Live) -> str:
    handlers = live.route.handlers
    handler = handlers[min(live.next, len(handlers) - 1)]
    return f"service {handler.service.name}, {live.route.name}"
