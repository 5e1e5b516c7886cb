"""Internet sockets and the machine's names.

Left to the kernel: every other address family (a Unix socket tells its peer who connected),
connect(2) on a socket that would wait, other namespaces, a personality that changes the names.
"""

from __future__ import annotations

import fcntl
import os
import socket as sockets
import struct
from typing import Final

from ...service import hook
from ...syscalls.host import uname
from ...syscalls.sockets import bind, connect, socket
from ...tracee import Tracee
from ...verdict import InjectFd, Return, Verdict
from .. import unsafe
from .aim import Doubt, or_kernel, same_namespace
from .opening import has_room
from .served import Served

_INTERNET: Final = (sockets.AF_INET, sockets.AF_INET6)


class Others(Served):
    """socket, bind, connect; uname."""

    @hook(socket, family=_INTERNET)
    @or_kernel
    def socket(self, call: socket, tracee: Tracee) -> Verdict | None:
        if not same_namespace(tracee, "net") or not has_room(tracee):
            return None
        with self.identity.of(tracee):
            fd = unsafe.call("socket", call.family, call.type | sockets.SOCK_CLOEXEC, call.protocol)
        return InjectFd(fd, cloexec=bool(call.type & sockets.SOCK_CLOEXEC))

    @hook(bind)
    @or_kernel
    def bind(self, call: bind, tracee: Tracee) -> Verdict | None:
        address = _address(call, tracee)
        with tracee.fd(call.fd) as fd, self.identity.of(tracee):
            tracee.check()
            unsafe.bind(fd, address)
        return Return(0)

    @hook(connect)
    @or_kernel
    def connect(self, call: connect, tracee: Tracee) -> Verdict | None:
        address = _address(call, tracee)
        with tracee.fd(call.fd) as fd, self.identity.of(tracee):
            if not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK:
                return None
            tracee.check()
            unsafe.connect(fd, address)
        return Return(0)

    @hook(uname)
    @or_kernel
    def uname(self, call: uname, tracee: Tracee) -> Verdict | None:
        if tracee.personality or not same_namespace(tracee, "uts"):
            return None
        tracee.write(call.buf, unsafe.filled("uname", 390, None))
        return Return(0)


def _address(call: bind | connect, tracee: Tracee) -> bytes:
    """An Internet address as it lies in the tracee."""
    if not 2 <= call.addrlen <= 128:  # sizeof(struct sockaddr_storage)
        raise Doubt
    address = tracee.read(call.addr, call.addrlen)
    if struct.unpack_from("=H", address)[0] not in _INTERNET:
        raise Doubt
    return address
