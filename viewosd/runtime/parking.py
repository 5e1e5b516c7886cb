"""Where a duplicate of every listener is kept alive while no supervisor may be.

A socket pair whose both ends the keeper holds as well as the supervisor; the duplicates lie in it
as unread SCM_RIGHTS messages. So the keeper need not do anything, and can stand still (^Z) while
listeners come and go: only the supervisor puts them in and takes them out, and its successor finds
them there (docs/decisions/0004).

A supervisor may be killed between any two steps, so nothing is ever taken out to be put back: a
successor peeks (MSG_PEEK hands out duplicates too, and SO_PEEK_OFF walks along the queue), and to
make room the living ones are first put on the other of the pair's two lanes.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final

_TOGETHER: Final = 200  # descriptors in one message; the kernel takes 253 (SCM_MAX_FD)
_KEY: Final = struct.Struct("=I")
_SO_PEEK_OFF: Final = 42  # socket(7); include/uapi/asm-generic/socket.h

Parked = Iterable[tuple[int, int]]
"""Pairs of a listener's key in the journal and its descriptor."""


class Parking:
    """The parked listeners. ``ends`` stay the caller's."""

    def __init__(self, ends: tuple[int, int]) -> None:
        one, other = (socket.socket(fileno=os.dup(end)) for end in ends)
        for end in (one, other):
            end.setblocking(False)
        self._lanes = [(one, other), (other, one)]
        """(into, out of): what goes into the first end comes out of the second, and vice versa."""

    def put(self, listeners: Parked) -> None:
        """Park duplicates.

        Raises:
            OSError: the socket (EAGAIN), or what the user may have in flight, is full
                (ETOOMANYREFS). Then `keep_only` what is still alive.
        """
        pairs = list(listeners)
        into = self._lanes[0][0]
        for start in range(0, len(pairs), _TOGETHER):
            part = pairs[start : start + _TOGETHER]
            keys = b"".join(_KEY.pack(key) for key, _ in part)
            socket.send_fds(into, [keys], [fd for _, fd in part])

    def look(self) -> list[tuple[int, int]]:
        """New duplicates of everything that is parked, each key once; they are the caller's."""
        found: dict[int, int] = {}
        for _, out in self._lanes:
            for message in _peek(out):
                for key, fd in message:
                    if key in found:  # whoever was killed while it made room left two
                        os.close(fd)
                    else:
                        found[key] = fd
        return list(found.items())

    def keep_only(self, listeners: Parked) -> None:
        """Replace what is parked. At every moment these are parked, here or on the other lane.

        Raises:
            OSError: as `put`; then nothing was changed for the worse.
        """
        old, new = (out for _, out in self._lanes)
        # Something is there already if a supervisor was killed just here, or used this lane.
        before = 0
        for message in _peek(new):
            _close_all(message)
            before += 1
        self._lanes.reverse()
        try:
            self.put(listeners)
        except OSError:
            self._lanes.reverse()
            raise
        while (taken := _receive(old, 0)) is not None:
            _close_all(taken)
        for _ in range(before):
            _close_all(_receive(new, 0) or [])

    def close(self) -> None:
        """Our duplicates of the ends."""
        for end in self._lanes[0]:
            end.close()


def _peek(end: socket.socket) -> Iterator[list[tuple[int, int]]]:
    """Every message, as if it were taken out."""
    end.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, 0)
    while (message := _receive(end, socket.MSG_PEEK)) is not None:
        yield message
    end.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, -1)


def _close_all(message: list[tuple[int, int]]) -> None:
    for _, fd in message:
        os.close(fd)


def _receive(end: socket.socket, flags: int) -> list[tuple[int, int]] | None:
    """One message, or None: there is no more. The descriptors are close-on-exec."""
    try:
        # Not socket.recv_fds(): CPython 3.11 drops its flags, and so MSG_CMSG_CLOEXEC.
        data, rights, _, _ = end.recvmsg(
            _KEY.size * _TOGETHER,
            socket.CMSG_SPACE(4 * _TOGETHER),
            flags | socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC,
        )
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return None
        raise
    fds = struct.unpack(f"={len(rights[0][2]) // 4}i", rights[0][2]) if rights else ()
    return [(key, fd) for (key,), fd in zip(_KEY.iter_unpack(data), fds, strict=True)]
