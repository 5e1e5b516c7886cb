"""Serve a file tree to the kernel: read requests from /dev/fuse, ask the tree, write the answers.

One task at a time reads. It runs the tree's method itself; only if that really waits, another task
reads on meanwhile, and this one ends after its answer or, if it is needed, reads again. So a method
that does not wait costs no task, be it ``def`` or ``async def``.

Source: fs/fuse/dev.c; fuse(4).
"""

from __future__ import annotations

import errno
import logging
import os
import types
from collections.abc import Coroutine, Generator
from time import perf_counter_ns
from typing import Any, Final

import trio

from ..abi import fuse as abi
from ..filetree import Data, FileTree
from . import codec, inhand, init
from .calls import CALLS, value, waits
from .dying import is_dying
from .life import Life
from .notify import Notifier
from .session import Session

log = logging.getLogger("viewosd")

TURN_NS: Final = 2_000_000
"""So long one mount may be served before others get their turn."""
SPARE_TASKS: Final = 4
"""How many tasks may wait for their turn to read with nothing to do; more end."""
LOOK_S: Final = 0.05
"""How often it is looked whether the caller of an interrupted call is being killed."""
DESTROY_S: Final = 30.0

_NEVER = {abi.FUSE_FLUSH, abi.FUSE_RELEASE, abi.FUSE_RELEASEDIR, abi.FUSE_DESTROY}
_ALWAYS = {abi.FUSE_SETLKW, abi.FUSE_SETLK}
_GONE = {errno.ENODEV, errno.ECONNABORTED}


async def serve(device: int, tree: FileTree, life: Life | None = None) -> None:
    """Serve a tree until its last mount is gone.

    Args:
        device: /dev/fuse, of a file system that has been created. It stays the caller's to close;
            it becomes non-blocking.
        life: where a successor finds what it needs; None: there will be none.

    Raises:
        OSError: the device can't be read (EPERM: no file system has been created on it).
    """
    server = _Server(device, tree, life or Life())
    tree.kernel = server.notifier
    os.set_blocking(device, False)
    try:
        server.begin()
        async with trio.open_nursery() as nursery:
            server.nursery = nursery
            nursery.start_soon(server.work)
        if server.error is not None:
            raise server.error
    finally:
        server.notifier.close()
        with trio.move_on_after(DESTROY_S, shield=True):
            await _destroy(tree)


async def _destroy(tree: FileTree) -> None:
    try:
        await value(tree.destroy())
    except Exception:
        log.exception("%s: destroy: a bug of the tree", type(tree).__name__)


class _Buffers:
    """Where requests are read into, shared by all mounts of a process: few are used at a time."""

    def __init__(self) -> None:
        self._free: dict[int, list[bytearray]] = {}

    def take(self, size: int) -> bytearray:
        free = self._free.setdefault(size, [])
        return free.pop() if free else bytearray(size)

    def give(self, buffer: bytearray) -> None:
        free = self._free[len(buffer)]
        if len(free) < SPARE_TASKS:  # many are used at a time only while many calls wait
            free.append(buffer)


_buffers = _Buffers()


class _Server:
    """One mount."""

    nursery: trio.Nursery
    error: OSError | None = None
    """Why it can't go on."""

    def __init__(self, device: int, tree: FileTree, life: Life) -> None:
        self._device, self._tree, self._life = device, tree, life
        self.notifier = Notifier(device)
        self._session = Session(tree, device, life, self.notifier)
        self._size = max(init.max_write(tree), abi.FUSE_MIN_READ_BUFFER) + 4096
        self._reader: trio.lowlevel.Task | None = None
        self._parked: list[trio.lowlevel.Task] = []
        self._scopes: dict[int, tuple[trio.CancelScope, codec.Request]] = {}

    def begin(self) -> None:
        """Have what a dead server had in hand sent again, by a kernel that can; else it fails."""
        if not self._life.resumed:
            return
        self._session.resume()
        try:
            os.write(self._device, codec.header(0, 0, abi.FUSE_NOTIFY_RESEND))
        except OSError as error:
            if error.errno != errno.EINVAL:
                return  # the mount is gone, as reading will tell
            # Until Linux 6.9 is the minimum.
            for unique in self._life.lost:
                self._write(codec.header(unique, 0, -errno.EIO))

    # -- whose turn it is to read

    async def work(self) -> None:
        """A task that reads when it is its turn."""
        me = trio.lowlevel.current_task()
        while True:
            if self._reader is not None:
                if len(self._parked) >= SPARE_TASKS:
                    return
                await self._park(me)
                continue
            self._reader = me
            try:
                await self._read()
            finally:
                if self._reader is me:
                    self._reader = None

    async def _park(self, me: trio.lowlevel.Task) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked.remove(me)
            return trio.lowlevel.Abort.SUCCEEDED

        self._parked.append(me)
        await trio.lowlevel.wait_task_rescheduled(abort)

    def _give_turn(self) -> None:
        """The reading task begins to wait for a tree: another one reads."""
        self._reader = None
        if self._parked:
            trio.lowlevel.reschedule(self._parked.pop())
        else:
            self.nursery.start_soon(self.work)

    # -- reading

    async def _read(self) -> None:
        """Answer requests until this task has lost its turn, or the mount is gone."""
        me = trio.lowlevel.current_task()
        while self._reader is me:
            await trio.lowlevel.wait_readable(self._device)
            until = perf_counter_ns() + TURN_NS
            buffer, slot = _buffers.take(self._size), self._life.inhand.take(self._device)
            try:
                while self._reader is me:
                    soon = self._answer_what_is_plain(slot, buffer, until)
                    if soon is None:
                        break
                    await self._wait_for(slot, *soon)
            finally:
                self._life.inhand.give(slot)
                _buffers.give(buffer)

    def _answer_what_is_plain(
        self, slot: inhand.Slot, buffer: bytearray, until: int
    ) -> tuple[codec.Request, Any] | None:
        """Answer requests as long as there are some and none has to wait.

        Returns:
            One that perhaps has to; its data is in the buffer.
        """
        device, session, head, window = self._device, self._session, slot.head, memoryview(buffer)
        into: list[Any] = [head, buffer]
        while perf_counter_ns() < until:
            head[:4] = inhand.EMPTY  # what was there is answered
            try:
                length = os.readv(device, into)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):  # withdrawn while it was read
                    continue
                if error.errno not in _GONE:
                    self.error = error
                self.nursery.cancel_scope.cancel()
                return None
            try:
                request = codec.decode(head, window, length)
            except codec.Malformed as error:
                self._refuse(error)
                return None
            call = CALLS.get(request.opcode)
            if call is None:
                self._other(request)
                continue
            if request.unique >= abi.FUSE_UNIQUE_RESEND and not self._may_ask(request):
                continue
            try:
                result = call.ask(session, request)
                if waits(result):
                    return request, result
                self._send(request, call.answer(session, request, result))
            except Exception as error:
                self._fail(request, error)
        return None

    def _refuse(self, error: codec.Malformed) -> None:
        """What came is no request: that one fails; or else nothing can be believed any more."""
        log.error("%s: malformed request: %s", self._name, error)
        if error.unique:
            self._write(codec.header(error.unique, 0, -errno.EIO))
        else:
            self.nursery.cancel_scope.cancel()

    def _may_ask(self, request: codec.Request) -> bool:
        """May what a dead server had in hand be asked of the tree again?"""
        if self._life.may_ask(request.opcode, request.unique):
            return True
        self._write(codec.header(request.unique, 0, -errno.EIO))
        return False

    # -- requests that are no calls of the tree

    def _other(self, request: codec.Request) -> None:
        if request.opcode == abi.FUSE_INIT:
            try:
                answer, flags = init.init_out(self._tree, request.args)
            except ValueError as error:
                log.error("%s: %s", self._name, error)
                self._write(codec.header(request.unique, 0, -errno.EPROTO))
                return
            self._session.agree(flags)
            self._send(request, answer)
        elif request.opcode == abi.FUSE_INTERRUPT:
            self._interrupt(request.args[0])
        elif request.opcode == abi.FUSE_NOTIFY_REPLY:
            self.notifier.retrieved(request.unique, bytes(request.data))
        else:
            self._write(codec.header(request.unique, 0, -errno.ENOSYS))

    def _interrupt(self, unique: int) -> None:
        """A signal came to who waits for a request. (It may have been answered meanwhile.)"""
        scope, request = self._scopes.get(unique, (None, None))
        if scope is None or request is None or request.opcode in _NEVER:
            return
        if self._tree.interruptible or request.opcode in _ALWAYS or is_dying(request.pid):
            scope.cancel()
        else:
            # The kernel tells of the first signal only; a later one may kill.
            self.nursery.start_soon(self._watch, request)

    async def _watch(self, request: codec.Request) -> None:
        while (found := self._scopes.get(request.unique)) is not None:
            if is_dying(request.pid):
                found[0].cancel()
                return
            await trio.sleep(LOOK_S)

    # -- methods that are awaited

    async def _wait_for(self, slot: inhand.Slot, request: codec.Request, soon: Any) -> None:
        """Run a method in this task; when it waits for the first time, the turn is given away."""
        call, session = CALLS[request.opcode], self._session
        scope = trio.CancelScope()
        self._scopes[request.unique] = scope, request
        try:
            with scope:
                plain = soon if type(soon) is types.CoroutineType else value(soon)
                result = await _in_place(plain, lambda: self._begins_to_wait(slot))
                answer = call.answer(session, request, result)
            if scope.cancelled_caught:
                raise InterruptedError(errno.EINTR, "interrupted")
            self._send(request, answer)
        except Exception as error:
            self._fail(request, error)
        finally:
            del self._scopes[request.unique]

    def _begins_to_wait(self, slot: inhand.Slot) -> None:
        inhand.waits(slot)
        self._give_turn()

    # -- answers

    def _send(self, request: codec.Request, answer: Data) -> None:
        """Raises TypeError if a tree returned something else than data: nothing is sent then."""
        if request.opcode in codec.UNANSWERED:
            return
        length = len(answer)
        head = codec.header(request.unique, length)
        if length <= 4096:
            self._write(head + answer)
        else:
            self._write(head, answer)

    def _fail(self, request: codec.Request, error: Exception) -> None:
        """An exception to an answer: OSError is one, anything else is a bug of the tree."""
        code = error.errno if isinstance(error, OSError) else None
        if code is None or not 0 < code < 512:  # others are the kernel's own: fuse_dev_do_write()
            code = errno.EIO
            log.error(
                "%s, opcode %d: a bug of the tree (node %d)",
                self._name, request.opcode, request.node, exc_info=error,
            )  # fmt: skip
        if request.opcode not in codec.UNANSWERED:
            self._write(codec.header(request.unique, 0, -code))

    def _write(self, *parts: Data) -> None:
        try:
            os.writev(self._device, parts)
        except OSError as error:
            # ENOENT: nobody waits for it any more; the others: the mount is gone.
            if error.errno not in (errno.ENOENT, *_GONE, errno.EPIPE):
                log.error("%s: an answer is refused: %s", self._name, error)

    @property
    def _name(self) -> str:
        return type(self._tree).__name__


@types.coroutine
def _in_place(coroutine: Coroutine[Any, Any, Any], begins: Any) -> Generator[Any, Any, Any]:
    """Await in this task, and say when it waits for the first time."""
    try:
        wanted = coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    begins()
    while True:
        thrown: BaseException | None = None
        got = None
        try:
            got = yield wanted
        except BaseException as error:  # noqa: ASYNC103
            thrown = error  # it goes on in the coroutine
        try:
            wanted = coroutine.throw(thrown) if thrown else coroutine.send(got)
        except StopIteration as stop:
            return stop.value
