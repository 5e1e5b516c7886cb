"""Who makes network namespaces, and sockets in them, for the supervisor: one process in the view.

As the mount agent it has the view owner's rights and every capability of the view's user namespace,
does one thing at a time, and keeps nothing: namespaces come along as descriptors with each request.
It goes into one for as long as a request takes, so none lives on through it.

A namespace of an ordinary user belongs to a user namespace of its own, a child of the view's. The
programs of the view have no capability in theirs; in its children their user, who owns these, has
all (security/commoncap.c:cap_capable()): so ``ip``, ``nft`` and ``ping`` work there without root.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from . import frames, namespaces, unsafe

# include/uapi/linux/sockios.h, include/uapi/linux/if.h: a struct ifreq is 40 bytes, 32 on i386.
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP_RUNNING: Final = 0x1 | 0x40
_IFREQ: Final = struct.Struct("=16sh22x")


NO_ENTRY: Final = "this network namespace is another user namespace's"
"""The text of EPERM where we may not go, not where somebody may have no socket."""


class Maker:
    """A method for each verb, as of `viewosd.agent.agent.Agent`."""

    def __init__(self, ours: namespaces.Namespaces) -> None:
        self._ordinary = ours.user is not None
        self._native = self._home = _ours()
        if self._ordinary:
            # Into the system's there is no way back: setns(2) asks for capabilities over it.
            unsafe.unshare(unsafe.CLONE_NEWNET)
            self._home = _ours()

    def hello(self, fds: list[int]) -> tuple[Any, list[int]]:
        """Our process id."""
        return os.getpid(), []

    def create(self, fds: list[int]) -> tuple[Any, list[int]]:
        """A new namespace goes back, its loopback interface is up."""
        if self._ordinary:
            return None, [_made_below()]
        unsafe.unshare(unsafe.CLONE_NEWNET)
        try:
            return None, [_begun()]
        finally:
            unsafe.setns(self._home, unsafe.CLONE_NEWNET)

    def native(self, fds: list[int]) -> tuple[Any, list[int]]:
        """The one that the supervisor lives in."""
        return None, [os.dup(self._native)]

    def again(self, fds: list[int]) -> tuple[Any, list[int]]:
        """``fds``: a namespace; another descriptor of it, of no mount, goes back."""
        with self._in(fds[0]):
            return None, [_ours()]

    def socket(
        self, fds: list[int], family: int, type: int, protocol: int, like: list[Any] | None
    ) -> tuple[Any, list[int]]:
        """``fds``: the namespace. ``like``: uid, gid, groups and capabilities to make it with."""
        with self._in(fds[0]):
            if like is None:
                return None, [socket.socket(family, type, protocol).detach()]
            return None, [_as_another(like, family, type, protocol)]

    @contextmanager
    def _in(self, namespace: int) -> Iterator[None]:
        try:
            unsafe.setns(namespace, unsafe.CLONE_NEWNET)
        except PermissionError as error:
            raise OSError(error.errno, NO_ENTRY) from None
        try:
            yield
        finally:
            unsafe.setns(self._home, unsafe.CLONE_NEWNET)


def serve(end: socket.socket, ours: namespaces.Namespaces) -> None:
    """Answer until nobody can ask any more."""
    frames.serve(end, Maker(ours))


def _begun() -> int:
    """Our network namespace, a new one, ready for use."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", _IFF_UP_RUNNING))
    return _ours()


def _ours() -> int:
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _made_below() -> int:
    """A namespace that belongs to a user namespace below ours."""

    def body() -> int:
        namespaces.own_user(unsafe.CLONE_NEWNET)
        return _begun()

    return _in_a_child(body)


def _as_another(who: list[Any], family: int, type: int, protocol: int) -> int:
    """A socket that the kernel lets ``who`` have, and that is theirs."""
    uid, gid, groups, capabilities = who

    def body() -> int:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        unsafe.keep_capabilities(capabilities, lambda: os.setresuid(uid, uid, uid))
        return socket.socket(family, type, protocol).detach()

    return _in_a_child(body)


def _in_a_child(body: Callable[[], int]) -> int:
    """A descriptor that a child of ours makes, which may change what it is."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        pid = os.fork()
        if not pid:
            try:
                frames.send(theirs, [0, 0, "", None], [body()])
            except OSError as error:
                code = error.errno or errno.EIO
                frames.send(theirs, [0, code, error.strerror or os.strerror(code), None], [])
            finally:
                os._exit(0)
        theirs.close()
        answer = frames.receive(ours)
        os.waitpid(pid, 0)
    if answer is None:
        raise OSError(errno.EIO, "the process that was to make it was killed")
    (_, code, text, _), fds = answer
    if code:
        raise OSError(code, text)
    return fds[0]
