"""The control socket: who may connect, what arrives, and that nothing a client does hurts a view.

Rules: every descriptor that arrives is closed here unless a handler took it. A client that breaks
the protocol is answered where its request can be named, and loses its connection; a slow one
loses its connection too. Decoders are made from the one table, `viewosd.wire.VERBS`.
"""

from __future__ import annotations

import array
import errno
import logging
import os
import socket
import struct
import time
from typing import Annotated, Any, Final

import msgspec
import trio

from .. import wire
from ..errors import ServiceError, ViewError
from ..wire import Message, Notification, PeerError, Response, UsageError, Verb, Who, encode
from ..wire.messages import MAX_ID, id_of
from . import datagram, guard
from . import verbs_files as verbs_files
from . import verbs_service as verbs_service
from .verbs import HANDLERS, Ask, Refusal, Supervisor, View

log = logging.getLogger("viewosd.control")

MAX_CONNECTIONS: Final = 64
MAX_IN_FLIGHT: Final = 16
"""Requests of one connection that are being worked on."""
MAX_REQUESTS: Final = 256
"""Requests of everybody, those whose client has left included."""
SEND_S: Final = 10.0
"""A client that takes nothing for so long is dropped."""
MAX_DESCRIPTORS: Final = 8
_SCARCE: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class _Request(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag=0):
    id: Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]
    verb: str
    params: msgspec.Raw


class _Notification(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag=2):
    verb: str
    params: msgspec.Raw


_Envelope = msgspec.msgpack.Decoder(_Request | _Notification)
_Length = Annotated[int, msgspec.Meta(gt=0, le=wire.MAX_BULK)]


def _hint(kind: wire.Kind) -> Any:
    """A parameter's annotation for msgspec."""
    hint: Any
    if kind.type is bool:
        hint = bool
    elif kind.type in (int, float):
        hint = Annotated[kind.type, msgspec.Meta(ge=kind.low, le=kind.high)]
    else:
        hint = Annotated[
            kind.type, msgspec.Meta(min_length=int(kind.low), max_length=int(kind.high))
        ]
    return hint | None if kind.optional else hint


class _Row:
    """A verb with its decoders: for the message itself, and for what came in a memfd."""

    def __init__(self, name: str, verb: Verb) -> None:
        fields = [(field, _hint(kind)) for field, kind in verb.params.items()]
        kind = msgspec.defstruct(name, fields, array_like=True, forbid_unknown_fields=True)
        self.verb = verb
        self.inline = msgspec.msgpack.Decoder(_Length | kind)
        self.bulk = msgspec.msgpack.Decoder(kind)


_ROWS: Final = {name: _Row(f"{name}_params", verb) for name, verb in wire.VERBS.items()}
_NOTIFICATIONS: Final = {
    name: _Row(f"{name}_params", row) for name, row in wire.FROM_CLIENT.items()
}
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, PeerError)


async def serve(
    supervisor: Supervisor,
    listening: socket.socket,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer clients until cancelled. ``listening`` is SOCK_SEQPACKET, the caller's to close."""
    listening.setblocking(False)
    sock = trio.socket.from_stdlib_socket(listening)
    async with trio.open_nursery() as nursery:
        server = Server(supervisor, nursery)
        task_status.started()
        while True:
            try:
                peer, _ = await sock.accept()
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue
                if error.errno not in _SCARCE:
                    raise
                log.warning("cannot accept a client: %s", error.strerror)
                await trio.sleep(0.1)
            else:
                await server.accept(peer)


class Server:
    """All connections of one supervisor."""

    def __init__(self, supervisor: Supervisor, nursery: trio.Nursery) -> None:
        self.supervisor, self.nursery = supervisor, nursery
        self.connections: set[Connection] = set()
        self.requests = 0

    async def accept(self, sock: trio.socket.SocketType) -> None:
        """Take a new client, for the one that has been idle for longest if there are too many."""
        connection = Connection(self, sock)
        if len(self.connections) >= MAX_CONNECTIONS:
            idle = [c for c in self.connections if not c.asks]
            if not idle:
                await connection.refuse("busy", f"{MAX_CONNECTIONS} clients are connected already")
                return
            min(idle, key=lambda c: c.active).drop()
        self.connections.add(connection)
        self.nursery.start_soon(connection.run)

    def load(self) -> tuple[int, int]:
        """Connections, and requests that are being worked on."""
        return len(self.connections), self.requests


class Connection:
    """One client."""

    def __init__(self, server: Server, sock: trio.socket.SocketType) -> None:
        self.server, self.sock = server, sock
        self.asks: dict[int, Ask] = {}
        self.active = time.monotonic()
        self.left = trio.Event()
        self.view: View | None = None
        self.pid = self.capabilities = 0
        self._scope = trio.CancelScope()
        self._sending = trio.Lock()

    async def run(self) -> None:
        """Serve until the client leaves, misbehaves, or is dropped. Raises nothing."""
        try:
            with self._scope:
                if not self._may_ask():
                    await self.refuse("refused", "this view belongs to another user")
                    return
                while await self._receive_one():
                    pass
        except OSError as error:
            log.debug("a client is gone: %s", error)
        except Exception:
            log.exception("a bug in the control protocol; the client was dropped")
        finally:
            self.server.connections.discard(self)
            self.sock.close()
            self.left.set()
            for ask in self.asks.values():
                ask.cancelled.set()

    def drop(self) -> None:
        """End the connection; requests that are being worked on go on."""
        self._scope.cancel()

    async def refuse(self, code: str, line: str) -> None:
        """Say why and hang up; nothing was sent before, so there is no wait."""
        await self.send(Notification("bye", [code, line]))
        self.sock.close()

    def _may_ask(self) -> bool:
        raw = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, _ = struct.unpack("3i", raw)
        if uid not in (0, os.getuid()):
            return False
        pidfd = datagram.peer_pidfd(self.sock, pid) if pid else None  # 0: its namespace is hidden
        if pidfd is not None:
            view = self.server.supervisor.view_of(pid)
            capabilities = guard.capabilities(pid) if view is not None else 0
            if datagram.is_alive(pidfd):
                self.view, self.pid, self.capabilities = view, pid, capabilities
            os.close(pidfd)
        return True

    async def _receive_one(self) -> bool:
        """Take one message. False: the connection has ended."""
        data, ancillary, flags, _ = await self.sock.recvmsg(
            wire.MAX_MESSAGE + 1, socket.CMSG_SPACE(4 * MAX_DESCRIPTORS), socket.MSG_CMSG_CLOEXEC
        )
        descriptors = datagram.descriptors(ancillary)
        self.active = time.monotonic()
        try:
            if not data:
                return False
            if flags & socket.MSG_TRUNC or len(data) > wire.MAX_MESSAGE:
                raise PeerError(f"a message of more than {wire.MAX_MESSAGE} bytes")
            if flags & socket.MSG_CTRUNC:
                raise PeerError(f"more than {MAX_DESCRIPTORS} descriptors, or none left here")
            message = _Envelope.decode(data)
            if isinstance(message, _Request):
                await self._request(message, descriptors)
            else:
                self._notification(message, descriptors)
        except _BROKEN as error:
            await self._broken(id_of(data), str(error))
            return False
        finally:
            for fd in descriptors:
                os.close(fd)
        return True

    async def _broken(self, id: int | None, line: str) -> None:
        error = ("bad-request", line.replace("\n", " ")[:500])
        if id is None:
            await self.send(Notification("bye", list(error)))
        else:
            await self.send(Response(id, error, None))

    async def _request(self, request: _Request, descriptors: list[int]) -> None:
        """Start a request; takes over ``descriptors`` (leaves the list empty) if it does."""
        row = _ROWS.get(request.verb)
        if row is None:
            line = f"this supervisor does not know the verb {request.verb[:40]!r}"
            await self.send(Response(request.id, ("no-such-verb", line), None))
            return
        params = _params(row, request.params, descriptors)
        if request.id in self.asks:
            raise PeerError(f"request {request.id} is being worked on already")
        try:
            if len(self.asks) >= MAX_IN_FLIGHT or self.server.requests >= MAX_REQUESTS:
                raise Refusal("busy", "too many requests at once")
            view = self._view_for(row.verb, getattr(params, "view", None))
            inside = self.view is not None and view.secure
            if inside and (why := guard.lacks(request.verb, self.capabilities)):
                raise Refusal("refused", why)
        except Refusal as refusal:
            await self.send(Response(request.id, (refusal.code, refusal.line), None))
            return
        ask = Ask(
            request.id, view, self.view, self.pid, list(descriptors), self.left, self._notify,
            self.server.load,
        )  # fmt: skip
        descriptors.clear()
        self.asks[request.id] = ask
        self.server.requests += 1
        self.server.nursery.start_soon(self._answer, ask, request.verb, params)

    def _view_for(self, verb: Verb, id: int | None) -> View:
        """The view that a request is about, if this client may ask it of that one."""
        supervisor = self.server.supervisor
        view = supervisor.views.get(id) if id is not None else self.view or supervisor.root
        if view is None:
            gone = f"view {supervisor.serverid}:{id} has ended, or never was"
            raise Refusal("no-such-view", gone)
        if verb.who is Who.INSIDE and self.view is None:
            raise Refusal("refused", "only a process inside the view may ask this")
        if verb.who is Who.OWNER and self.view is not None:
            above: View | None = view
            while above is not None and above is not self.view:
                above = above.parent
            if above is None:
                name = f"{supervisor.serverid}:{view.id}"
                raise Refusal("refused", f"view {name} is not below yours; ask from outside")
        return view

    async def _answer(self, ask: Ask, verb: str, params: msgspec.Struct) -> None:
        error: tuple[str, str] | None = None
        result: Any = None
        try:
            result = await HANDLERS[verb](
                self.server.supervisor, ask, **msgspec.structs.asdict(params)
            )
        except Refusal as refusal:
            error = (refusal.code, refusal.line)
        except (ServiceError, ViewError) as refusal:
            error = ("refused", str(refusal))
        except Exception as bug:
            log.exception("control: %s failed", verb)
            error = ("internal", f"{type(bug).__name__}: {bug} (the log has more)")
        finally:
            ask.close()
            self.server.requests -= 1
            del self.asks[ask.id]
        if error is not None:
            error = (error[0], " ".join(error[1].split())[:1000])
        await self.send(Response(ask.id, error, result))

    def _notification(self, message: _Notification, descriptors: list[int]) -> None:
        row = _NOTIFICATIONS.get(message.verb)
        if row is None:
            raise PeerError(f"no such notification: {message.verb[:40]!r}")
        params = _params(row, message.params, descriptors)
        ask = self.asks.get(params.request)
        if ask is None:
            return  # it ended while the notification was under way
        if message.verb == "signal":
            ask.on_signal(params.signo)
        else:
            ask.cancelled.set()

    async def _notify(self, verb: str, params: list[Any]) -> None:
        await self.send(Notification(verb, params))

    async def send(self, message: Message) -> None:
        """Send to the client; one that is gone or does not read is dropped. Raises nothing."""
        if self.left.is_set():
            return
        try:
            data, bulk = encode(message)
        except UsageError as bug:
            log.error("control: cannot send: %s", bug)
            if not isinstance(message, Response):
                return
            data, bulk = encode(Response(message.id, ("internal", str(bug)[:500]), None))
        with trio.move_on_after(SEND_S) as slow:
            async with self._sending:
                try:
                    await self._send_datagram(data, bulk)
                except (OSError, trio.ClosedResourceError) as error:  # also: no memfd to be had
                    log.debug("a client can't be answered: %s", error)
                    self.drop()
        if slow.cancelled_caught:
            log.debug("a client does not read; dropped")
            self.drop()

    async def _send_datagram(self, data: bytes, bulk: bytes | None) -> None:
        if bulk is None:
            await self.sock.send(data)
            return
        memfd = datagram.make_memfd(bulk)
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memfd]))
            await self.sock.sendmsg([data], [rights])
        finally:
            os.close(memfd)


def _params(row: _Row, raw: msgspec.Raw, descriptors: list[int]) -> Any:
    """Decode and validate; the memfd of long parameters is taken out of ``descriptors``."""
    params = row.inline.decode(raw)
    bulk = isinstance(params, int)
    expected = row.verb.descriptors + bulk
    if len(descriptors) != expected:
        raise PeerError(f"{len(descriptors)} descriptors where {expected} belong")
    if bulk:
        memfd = descriptors.pop()
        try:
            params = row.bulk.decode(datagram.read_memfd(memfd, params))
        finally:
            os.close(memfd)
    return params
