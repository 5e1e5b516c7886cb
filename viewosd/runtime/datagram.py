"""What rides beside the bytes on the control socket: descriptors, memfds, and who is speaking."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import select
import socket
from collections.abc import Iterable
from typing import Final, Protocol

from ..wire import PeerError

SO_PEERPIDFD: Final = 77  # include/uapi/asm-generic/socket.h, since Linux 6.5
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE


class Socket(Protocol):
    """The part of a socket that is needed here; trio's and the library's both have it."""

    def getsockopt(self, level: int, optname: int, /) -> int: ...


def descriptors(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """Every descriptor that came along; a list that the kernel cut short is whole numbers still."""
    found: list[int] = []
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds = array.array("i")
            fds.frombytes(data[: len(data) // fds.itemsize * fds.itemsize])
            found += fds
    return found


def make_memfd(content: bytes) -> int:
    """A sealed memfd; the caller closes it."""
    memfd = os.memfd_create("viewos-control", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(memfd, "wb", closefd=False) as file:
            file.write(content)
        fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_GROW)
    except OSError:
        os.close(memfd)
        raise
    return memfd


def read_memfd(fd: int, length: int) -> bytes:
    """What a client put there. Anything but a sealed memfd could block us, or change meanwhile.

    Raises:
        PeerError: it is something else, or shorter.
    """
    try:
        sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS
        data = os.pread(fd, length, 0) if sealed else b""
    except OSError:  # EINVAL: not a memfd
        sealed, data = False, b""
    if not sealed or len(data) != length:
        raise PeerError("long parameters belong in a sealed memfd of the length that is said")
    return data


def peer_pidfd(sock: Socket, pid: int) -> int | None:
    """A pidfd of the process that connected, ``pid`` at that time. None: it is gone.

    Until Linux 6.5 is the minimum there are kernels where its number may have been given away
    before we look.
    """
    try:
        return sock.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def is_alive(pidfd: int) -> bool:
    """False once the process has ended: from then on its number may name another."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)
