"""What supervisor and agent say to each other: one datagram a request, one an answer.

A SOCK_SEQPACKET pair; descriptors ride along. A request is ``[number, verb, args, token]``, its
answer ``[number, errno, text, result]``. The token names the call that it is done for (`effects`),
b"" for none. A supervisor that takes over from a dead one meets answers to what that had asked, and
throws them away by their numbers.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec

SIZE: Final = 1 << 17
"""Bytes of a datagram, at most."""
_FDS: Final = 253  # SCM_MAX_FD, include/net/scm.h

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode


def send(end: socket.socket, message: list[Any], fds: list[int]) -> None:
    """Send one message. Raises OSError."""
    socket.send_fds(end, [_encode(message)], fds)


def receive(end: socket.socket) -> tuple[list[Any], list[int]] | None:
    """The next message and its descriptors, close-on-exec; None: nobody will send any more."""
    data, rights, flags, _ = end.recvmsg(SIZE, socket.CMSG_SPACE(4 * _FDS), socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, raw in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds += struct.unpack(f"={len(raw) // 4}i", raw[: len(raw) // 4 * 4])
    if not data:
        return None
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(fds)
        raise ValueError("a message of the other side was cut off")
    return _decode(data), fds


def request(end: socket.socket) -> tuple[list[Any], list[int]] | None:
    """As `receive`, for who answers: None also when whoever asked was killed with an answer of ours
    unread.
    """
    try:
        return receive(end)
    except ConnectionResetError:
        return None


def close_all(fds: list[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)


def serve(end: socket.socket, who: object, keep: Callable[[], Collection[int]] = frozenset) -> None:
    """Answer until nobody can ask any more.

    Args:
        who: has a method for each verb. It gets the descriptors that came along, which are closed
            afterwards, and the arguments, and returns a result and descriptors that go back.
        keep: tells the descriptors that are not closed when they have gone back.
    """
    while (asked := request(end)) is not None:
        (number, verb, args), fds = asked
        back: list[int] = []
        try:
            method: Callable[..., tuple[Any, list[int]]] = getattr(who, verb)
            result, back = method(fds, *args)
            send(end, [number, 0, "", result], back)
        except OSError as error:
            code = error.errno or errno.EIO
            send(end, [number, code, error.strerror or os.strerror(code), None], [])
        finally:
            close_all([fd for fd in {*fds, *back} if fd not in keep()])
