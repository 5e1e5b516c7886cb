"""The supervisor's loop: receive and route. One thread, trio.

Who receives: the task that has the turn (`Turn`). It answers ``def`` hooks on the spot; an ``async
def`` hook runs in the very task that received the call.

How it waits: all listeners are in one epoll set, on which trio waits when nothing happens. While
calls come fast the loop sleeps up to HOT_MS in poll(2) on them instead: going to sleep there lets
SYNC_WAKE_UP hand the processor over at once, which is faster than spinning and than trio's own
round (docs/decisions/0002). It never does so while a hook waits, and returns to trio for a moment
every TURN_NS, so that the control socket and timers have their share.

Invariant: a received cookie is answered once, or is dead. Nothing here is lost by an exception of
a service; an exception of ours ends the supervisor, and the journal hands its calls to the next.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from errno import EINTR, ENOENT
from fcntl import ioctl
from time import perf_counter_ns
from typing import Any, Final

import trio

from ..abi.arch import NATIVE, Arch
from ..abi.errno import ERESTARTNOINTR
from ..abi.seccomp import (
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE,
)
from ..core.routing import Routes
from ..core.stats import CONTINUED, RETURNED, SAMPLE
from ..errors import MustWait, Vanished
from ..verdict import Return
from . import inside, unsafe
from .answers import Answers
from .captive import will_stop
from .journal import Journal
from .listener import ANSWER, RESPONSE, Listener
from .live import NOTIF, Live
from .tracee import ThreadTracee
from .turn import Turn
from .waiting import FAULTS, Waiting

HOT_MS: Final = 5  # longer than a tick, so that no poll sets the processor's timer anew
TURN_NS: Final = 2_000_000

_ZERO: Final = bytes(80)
_IN: Final = select.EPOLLIN
_HANGUP: Final = select.EPOLLHUP | select.EPOLLERR
_ARCH: Final = {int(arch): arch for arch in Arch}
_NATIVE, _I386 = int(NATIVE), int(Arch.I386)
_2_63: Final = 1 << 63


class Pump:
    """All the listeners of one supervisor.

    Attributes:
        routes: who answers what, while there is one view.
        route_for: thread id and key of its listener to routes, while there is more than one view.
        answers, waiting: what becomes of a call after it was received.
        seized: threads whose calls are restarted: they have a stop pending.
        met: threads that `meet` was told of, when they were heard: once each, until it is emptied;
            None: nobody wants to know.
        on_gone: told when a listener's last task has ended.
    """

    def __init__(
        self, journal: Journal, on_gone: Callable[[Listener], None] = lambda listener: None
    ) -> None:
        self.journal, self.on_gone = journal, on_gone
        self.routes = Routes()
        self.route_for: Callable[[int, int], Routes] | None = None
        self.answers = Answers(journal)
        self.waiting = Waiting(self.answers, journal, self._release)
        self.answers.rewriter.let_pass = self.let_pass
        self.listeners: dict[int, Listener] = {}
        self.seized: set[int] = set()
        self.met: set[int] | None = None
        self.meet: Callable[[Listener, int, int], None] = lambda listener, cookie, tid: None
        self._epoll = select.epoll()
        self._nursery: trio.Nursery | None = None
        self._turn: Turn | None = None
        self._fast = False  # may the next call come any moment?
        self._slot_is_free = trio.Event()
        self._aim()
        self._take_slot()

    # -- listeners

    def add(self, listener: Listener) -> None:
        """Receive from this one too."""
        self.listeners[listener.fd] = listener
        self._epoll.register(listener.fd, _IN)
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

    # -- journal slots

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

    def _prepare(self, listener: Listener) -> None:
        self.journal.prepare(self._slot, listener.key)
        self._slot_key = listener.key

    # -- the loop

    async def run(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._turn = Turn(self._receive, nursery)
            nursery.start_soon(self.waiting.sweep)
            task_status.started()

    async def _receive(self) -> None:
        """Receive and answer for as long as this task has the turn."""
        assert self._turn is not None
        while not self._slot:
            await self._slot_is_free.wait()
        until = perf_counter_ns() + TURN_NS
        while True:
            if self.waiting.calls or self.seized or len(self.listeners) != 1:
                ready = self._epoll.poll(0)
            else:
                ready = self._poll.poll(HOT_MS if self._fast else 0)
            if not ready:
                self._fast = False
                self.answers.rewriter.forget()
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                continue
            for fd, events in ready:
                listener = self.listeners.get(fd)
                if listener is None:
                    continue
                if events & _IN:
                    live = self._serve(listener, until)
                    if live is not None:
                        self._turn.give()
                        await self.waiting.wait_for(live)
                        if not self._turn.take_back():
                            return  # somebody received while our hook waited
                        break  # a re-arm may have changed what these numbers are
                elif events & _HANGUP:
                    # POLLHUP, and nothing else, is the end: no task is left under this filter.
                    self.drop(listener)
                    self.on_gone(listener)
            if perf_counter_ns() > until:
                await trio.lowlevel.checkpoint()
                until = perf_counter_ns() + TURN_NS

    def _serve(self, listener: Listener, until: int) -> Live | None:
        """Answer one call, and go on while calls come fast and need nothing but a plain answer.

        The hot path: everything is a local name, the two ioctls are `Listener`'s, written out.
        Whatever is not as plain as can be goes the long way, `_take`.

        Returns:
            A call whose hook must be waited for; None: look at all listeners again.
        """
        if self._slot_key != listener.key:
            self._prepare(listener)
        fd, window, poll, alone = listener.fd, self._window, self._poll.poll, self._alone()
        routes = self.routes if self.route_for is None else None
        met = self.met
        plain = routes.plain if routes is not None and alone else {}
        while True:
            try:
                ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, window, True)
            except OSError as error:
                if error.errno in (ENOENT, EINTR):  # withdrawn between poll and RECV
                    return None
                raise
            cookie, tid, _, nr, arch, _, a, b, c, d, e, f = NOTIF(window)
            if met is not None and tid not in met:
                met.add(tid)
                self.meet(listener, cookie, tid)
            if (entry := plain.get(nr)) is not None and arch == _NATIVE:
                hook, make, stats = entry
                call = make((a, b, c, d, e, f), NATIVE)
                stats.seen += 1
                started_ns = 0 if stats.seen % SAMPLE else perf_counter_ns()
                try:
                    verdict = hook(call, ThreadTracee(listener, cookie, tid, NATIVE))
                    plain_as = -1
                    if verdict is None:
                        RESPONSE(ANSWER, 0, cookie, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE)
                        plain_as = CONTINUED
                    elif type(verdict) is Return:
                        RESPONSE(ANSWER, 0, cookie, verdict.value, 0, 0)
                        plain_as = RETURNED
                except FAULTS as error:  # struct.error too: a value that no register can hold
                    verdict, plain_as = error, -1
                if plain_as >= 0:
                    stats.counts[plain_as] += 1
                    try:
                        ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, ANSWER)
                    except OSError as error:
                        if error.errno != ENOENT:  # gone, or its call was restarted
                            raise
                    if started_ns:
                        stats.timed(perf_counter_ns() - started_ns)
                else:
                    live = Live(listener, cookie, tid, nr, self.routes[arch][nr], call)
                    live.slot, live.started_ns = self._slot, started_ns
                    if isinstance(verdict, MustWait):
                        live.wanted = verdict
                        self._take_slot()
                        return live
                    self.answers.conclude(live, verdict)
                    alone = self._alone()  # a Rewrite may be expected back
            elif not alone or not self._is_nobodys(
                listener, cookie, tid, nr, arch, (a, b, c, d, e, f)
            ):
                if (kept := self._take(listener, NOTIF(window))) is not None:
                    return kept
                self._prepare(listener)
                alone = self._alone()
            # To sleep at once: the tracee has been woken on this processor and waits for it, and
            # another one that idles would fetch it. An answered cookie in the slot is harmless.
            ready = poll(HOT_MS) if alone else None
            window[:80] = _ZERO
            if not ready or not ready[0][1] & _IN or perf_counter_ns() > until:
                self._fast = ready is None or bool(ready)
                return None

    def _alone(self) -> bool:
        """Is there nothing to look at but one listener, and nobody who looks on?"""
        return (
            len(self.listeners) == 1
            and not self.waiting.calls
            and not self.seized
            and self.answers.observer is None
            and not self.answers.rewriter.expected
        )

    def _is_nobodys(
        self, listener: Listener, cookie: int, tid: int, nr: int, arch: int, args: Any
    ) -> bool:
        """Is a path of this call hooked, and does its text alone tell that it is not this one?

        Then the call has been continued.
        """
        if self.route_for is not None or arch == _I386:  # whose registers may have another order
            return False
        route = self.routes[arch].get(nr)
        if route is None or route.under is None:
            return False
        index, prefix = route.under
        address = args[index]
        if not 0 < address < _2_63 or not (path := unsafe.vm_read_str(tid, address)):
            return False
        if path[0] != 0x2F or path.startswith(prefix) or b"/." in path or b"//" in path:
            return False
        route.stats.seen += 1
        route.stats.counts[CONTINUED] += 1
        self._go_on(listener, cookie)  # last: see the end of `_serve`
        return True

    def _take(self, listener: Listener, notif: Any) -> Live | None:
        """The long way of a received call: it is answered, or its hook must be waited for."""
        live = self._asked_for(listener, notif)
        if live is None:
            return None
        if (old := self.waiting.calls.get(live.tid)) is not None:
            self.waiting.cancel(old, "superseded")
        live.slot = self._slot
        live.route.stats.seen += 1
        live.started_ns = perf_counter_ns()
        if self.waiting.ask_and_answer(live):
            return None
        self._take_slot()  # the old one is this call's until it is answered
        return live

    def _asked_for(self, listener: Listener, notif: Any) -> Live | None:
        """A call that hooks must be asked for; None: it was answered without them."""
        cookie, tid, _, nr, arch = notif[:5]
        args = notif[6:]
        if tid in self.seized:
            if will_stop(tid):
                self._restart(listener, cookie)
                return None
            # Another thread has executed a program and got the id of one that was seized. It is not
            # seized, would not stop, and would see the number; the sweep will find it.
            self.free(tid)
        expected = self.answers.rewriter.expected
        if tid not in expected or not self.answers.rewriter.is_expected(tid, nr, args):
            routes = self.routes if self.route_for is None else self.route_for(tid, listener.key)
            if (route := routes[arch].get(nr)) is not None:
                call = route.call.decode(args, _ARCH[arch])
                return Live(listener, cookie, tid, nr, route, call)
            if arch == _I386 and (found := inside.look(routes, tid, nr, args)) is not None:
                live = Live(listener, cookie, tid, nr, found.route, found.call)
                live.result_at = found.result_at
                return live
        self._go_on(listener, cookie)
        return None

    def _go_on(self, listener: Listener, cookie: int) -> None:
        try:
            listener.go_on(cookie)
        except Vanished:
            pass

    # -- what a re-arm, or a successor, finds in flight

    def seize(self, tid: int) -> None:
        """Restart every call of a thread that was seized, until it is `free`.

        The stop swallows −ERESTARTNOINTR; a thread without one would see it. So that one is pending
        is made sure each time, after the call was received: a call that is alive has kept its
        thread, and its thread the stop, until the answer.
        """
        if not will_stop(tid):
            return
        self.seized.add(tid)
        for live in self.waiting.give_up({tid}):
            self._restart(live.listener, live.cookie)
            self._release(live.slot)

    def free(self, tid: int) -> None:
        """Answer a thread as ever."""
        self.seized.discard(tid)

    def _restart(self, listener: Listener, cookie: int) -> None:
        try:
            listener.fail(cookie, ERESTARTNOINTR)
        except Vanished:
            pass

    def let_pass(self, tid: int) -> None:
        """Continue the call that a captive makes for us, should a hook trap it.

        Nothing else is answered here: calls of others that come up are kept for later.
        """
        for listener in list(self.listeners.values()):
            while self._slot and listener.readable():
                self._prepare(listener)
                if not listener.receive(self._window):
                    continue
                cookie, who = NOTIF(self._window)[:2]
                if who == tid:
                    self._go_on(listener, cookie)
                    self._prepare(listener)
                else:
                    slot = self._slot
                    self._take_slot()
                    self.adopt(slot, listener, begun=False, attempts=0)

    def adopt(self, slot: int, listener: Listener, begun: bool, attempts: int) -> None:
        """Answer a call that was received earlier, by us or by a supervisor that died with it."""
        notif = NOTIF(self.journal.window(slot))
        live = self._asked_for(listener, notif) if listener.alive(notif[0]) else None
        if live is None:
            self._release(slot)
            return
        live.slot = slot
        if (number := self.journal.added(slot)) is not None:
            self.answers.answer(live, Return(number))
            self._release(slot)
        elif not self.waiting.refused_again(live, begun, attempts):
            assert self._nursery is not None
            self._nursery.start_soon(self.waiting.ask_again, live)
