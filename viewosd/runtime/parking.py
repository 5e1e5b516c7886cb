"""Where a duplicate of every listener is kept alive while no supervisor may be.

A socket pair whose both ends the keeper holds as well as the supervisor; the duplicates lie in it
as unread SCM_RIGHTS messages. So the keeper need not do anything, and can stand still (^Z) while
listeners come and go: only the supervisor puts them in and takes them out, and its successor finds
them there (docs/decisions/0004).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable
from typing import Final

_TOGETHER: Final = 200  # descriptors in one message; the kernel takes 253 (SCM_MAX_FD)
_KEY: Final = struct.Struct("=I")


class Parking:
    """The parked listeners, each with its key in the journal."""

    def __init__(self, ends: tuple[int, int]) -> None:
        self._in, self._out = (socket.socket(fileno=os.dup(end)) for end in ends)
        self._in.setblocking(False)

    def put(self, listeners: Iterable[tuple[int, int]]) -> None:
        """Park duplicates of (key, descriptor) pairs.

        Raises:
            OSError: the socket, or what the user may have in flight, is full (ETOOMANYREFS).
        """
        pairs = list(listeners)
        for start in range(0, len(pairs), _TOGETHER):
            part = pairs[start : start + _TOGETHER]
            keys = b"".join(_KEY.pack(key) for key, _ in part)
            socket.send_fds(self._in, [keys], [fd for _, fd in part])

    def take_all(self) -> list[tuple[int, int]]:
        """Take everything out; the descriptors, close-on-exec, are the caller's now."""
        found: list[tuple[int, int]] = []
        while True:
            try:
                # Not socket.recv_fds(): CPython 3.11 drops its flags, and so MSG_CMSG_CLOEXEC.
                data, rights, _, _ = self._out.recvmsg(
                    _KEY.size * _TOGETHER,
                    socket.CMSG_SPACE(4 * _TOGETHER),
                    socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC,
                )
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    return found
                raise
            fds = struct.unpack(f"={len(rights[0][2]) // 4}i", rights[0][2]) if rights else ()
            found += [(key, fd) for (key,), fd in zip(_KEY.iter_unpack(data), fds, strict=True)]

    def keep_only(self, listeners: Iterable[tuple[int, int]]) -> None:
        """Replace what is parked. Between the two steps only the caller's own copies are left."""
        for _, fd in self.take_all():
            os.close(fd)
        self.put(listeners)
