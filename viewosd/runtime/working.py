"""Programs of a service (`viewosd.service.Work`): outside of the view, and none of its processes.

Forked from the supervisor as the other helpers are: nothing arms it, and the view ends without it.
"""

from __future__ import annotations

import fcntl
import os
import signal
from typing import Any

from .children import Executed


def start(supervisor: Any, argv: list[bytes], fds: list[int]) -> Executed:
    """Execute a program.

    Args:
        fds: what becomes its descriptors 0, 1, 2 and so on; they stay the caller's.

    Returns:
        The child; one that can't be executed ends with status 127.
    """

    def body() -> None:
        above = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(fds)) for fd in fds]
        for number, fd in enumerate(above):
            os.dup2(fd, number)
        os.chdir("/")
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            os.execve(argv[0], argv, os.environb)
        except OSError as error:
            os.write(2, b"viewosd: %s: %s\n" % (argv[0], os.strerror(error.errno or 0).encode()))
            os._exit(127)

    pid = supervisor.members.helpers.fork(b"viewos-work", body, fds)
    supervisor.children.expect(pid)
    return Executed(supervisor.children, pid)
