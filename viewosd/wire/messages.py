"""Messages to bytes and back. Pure: descriptors and memfds are the caller's business."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgpack

from .errors import CODES, PeerError, UsageError
from .verbs import FROM_CLIENT, FROM_SUPERVISOR, VERBS

MAX_MESSAGE: Final = 64 * 1024
"""Bytes of one datagram. A default send buffer (net.core.wmem_default) holds three of them."""
MAX_BULK: Final = 8 * 1024 * 1024
"""Bytes in a memfd; argv and environ of an exec are at most 6 MiB together (execve(2))."""
MAX_ID: Final = (1 << 32) - 1


class Bulk(NamedTuple):
    """Stands where params or a result belong: they are in the last descriptor."""

    length: int


class Request(NamedTuple):
    """``id`` is the client's choice and comes back in the response."""

    id: int
    verb: str
    params: list[Any] | Bulk


class Response(NamedTuple):
    """``error``: None, or a code of `CODES` and one line for the user."""

    id: int
    error: tuple[str, str] | None
    result: Any


class Notification(NamedTuple):
    """Answered by nobody."""

    verb: str
    params: list[Any] | Bulk


Message = Request | Response | Notification


def encode(message: Message) -> tuple[bytes, bytes | None]:
    """The datagram, and what the caller must put into a sealed memfd and send along (or None).

    Raises:
        UsageError: not in the table, wrong parameters, or too long for a memfd even.
    """
    _check(message)
    data = _pack(_array(message, message[-1]))
    if len(data) <= MAX_MESSAGE:
        return data, None
    bulk = _pack(message[-1])
    if len(bulk) > MAX_BULK:
        raise UsageError(f"{len(bulk)} bytes in one message; at most {MAX_BULK} can be sent")
    return _pack(_array(message, len(bulk))), bulk


def _array(message: Message, last: Any) -> list[Any]:
    kind = {Request: 0, Response: 1, Notification: 2}[type(message)]
    return [kind, *message[:-1], last]


def _pack(what: object) -> bytes:
    try:
        packed: bytes = msgpack.packb(what)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"can't be sent: {error}") from error
    return packed


def _check(message: Message) -> None:
    if not isinstance(message, Notification) and not 0 <= message.id <= MAX_ID:
        raise UsageError(f"id {message.id} has more than 32 bits")
    if isinstance(message, Response):
        if message.error is not None and message.error[0] not in CODES:
            raise UsageError(f"no such error code: {message.error[0]}")
        if isinstance(message.result, int):
            raise UsageError("a bare number as result would be taken for a memfd's length")
        return
    table = VERBS if isinstance(message, Request) else FROM_CLIENT | FROM_SUPERVISOR
    if (row := table.get(message.verb)) is None:
        raise UsageError(f"no such verb: {message.verb}")
    params, kinds = message.params, row.params
    if len(params) != len(kinds):
        raise UsageError(f"{message.verb} takes {len(kinds)} parameters, not {len(params)}")
    for (name, kind), value in zip(kinds.items(), params, strict=True):
        if not kind.accepts(value):
            raise UsageError(f"{message.verb}: {name} can't be {value!r:.60}")


def decode(data: bytes) -> Message:
    """What a datagram says; its envelope is checked, params and results are not.

    Raises:
        PeerError: not one message, in one line.
    """
    if len(data) > MAX_MESSAGE:
        raise PeerError(f"a message of {len(data)} bytes; at most {MAX_MESSAGE} are allowed")
    message = _unpack(data)
    match message:
        case [0, int(id), str(verb), list() | int() as params] if _is_id(id):
            return Request(id, verb, _or_bulk(params))
        case [1, int(id), None | [str(), str()] as error, result] if _is_id(id):
            return Response(id, error and (error[0], error[1]), _or_bulk(result))
        case [2, str(verb), list() | int() as params]:
            return Notification(verb, _or_bulk(params))
    raise PeerError("neither a request, nor a response, nor a notification")


def fill(message: Message, bulk: bytes) -> Message:
    """The message with what came in its memfd.

    Raises:
        PeerError: it is not MessagePack, or not what belongs there.
    """
    content = _unpack(bulk)
    if not isinstance(message, Response) and not isinstance(content, list):
        raise PeerError("the parameters in the memfd are no array")
    return message._replace(**{message._fields[-1]: content})


def id_of(data: bytes) -> int | None:
    """The id of what may be a broken request, so that it can be answered all the same."""
    try:
        message = _unpack(data)
    except PeerError:
        return None
    if isinstance(message, list) and len(message) > 1 and message[0] == 0 and _is_id(message[1]):
        return int(message[1])
    return None


def _is_id(id: object) -> bool:
    return type(id) is int and 0 <= id <= MAX_ID


def _or_bulk(last: Any) -> Any:
    if type(last) is not int:
        if isinstance(last, bool):
            raise PeerError("a truth value where parameters or a result belong")
        return last
    if not 0 < last <= MAX_BULK:
        raise PeerError(f"{last} bytes in a memfd; at most {MAX_BULK} are allowed")
    return Bulk(last)


def _unpack(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, max_ext_len=0)
    except (msgpack.UnpackException, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise PeerError(f"not MessagePack: {str(error) or type(error).__name__}") from error
