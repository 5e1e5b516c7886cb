"""A view without a network: viewos-run -p examples/no_network.py -- curl https://example.org"""

import errno
import socket

from viewosd import Errno, Service, Tracee, hook
from viewosd.syscalls import Socket


class NoNetwork(Service):
    """No Internet sockets; local ones work."""

    name = "nonetwork"

    # The condition goes into the filter: other families are never trapped.
    @hook(Socket, family=(socket.AF_INET, socket.AF_INET6, socket.AF_PACKET))
    def refuse(self, call: Socket, tracee: Tracee) -> Errno:
        return Errno(errno.ENETUNREACH)
