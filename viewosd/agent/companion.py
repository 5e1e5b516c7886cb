"""A companion: a program of somebody else's that runs beside a view for as long as that needs it.

    companion (outside of the view)
     └── program      ends when told to, and with us

It outlives supervisors: it ends when nobody holds the other end of its conversation any more, one
duplicate of which lies in the parking place. It logs what the program says, and tells how it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from typing import Final, NoReturn

from ..keeper.unsafe import PR_SET_PDEATHSIG, prctl
from . import frames
from .hosting import MISSING, text

log = logging.getLogger("viewosd")

KILL_S: Final = 2.0
"""Seconds that a program which is told to end is given."""
KEPT: Final = 2048
"""Bytes of what it said last that are told when it ends."""


def serve(end: socket.socket, argv: Sequence[bytes], fds: Sequence[int], what: str) -> None:
    """Run a program until it ends, or nobody wants it any more.

    Args:
        argv: looked for in PATH, and where administrators' programs are.
        fds: become its descriptors 3, 4 and so on.
        what: what lines of the log begin with.
    """
    said, output = os.pipe2(os.O_CLOEXEC)
    program = os.fork()
    if not program:
        _be(argv, fds, output)
    os.close(output)
    for fd in fds:
        os.close(fd)
    pidfd = os.pidfd_open(program)
    poll = select.poll()
    for fd in (end.fileno(), said, pidfd):
        poll.register(fd, select.POLLIN)
    last = b""
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if said in ready:
            data = os.read(said, 1 << 14)
            last = (last + data)[-KEPT:]
            for line in filter(bytes.strip, data.split(b"\n")):
                log.debug("%s: %s", what, text(line))
            if not data:
                poll.unregister(said)
        elif pidfd in ready:
            code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
            how = f"status {code}" if code >= 0 else f"signal {-code}"
            lines = [line.strip() for line in text(last).splitlines() if line.strip()]
            why = "; ".join([f"it has ended with {how}", *lines[-3:]])
            log.error("%s: %s", what, why)
            with contextlib.suppress(OSError):  # nobody listens
                frames.send(end, [0, errno.ENOPKG if code == MISSING else errno.EIO, why, None], [])
            return
        elif end.fileno() in ready:
            _end(pidfd)
            return


def _end(pidfd: int) -> None:
    """Tell it to end, and see to it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        signal.pidfd_send_signal(pidfd, number)
        until = time.monotonic() + KILL_S
        while time.monotonic() < until:
            if select.select([pidfd], [], [], 0.1)[0]:
                return


def _be(argv: Sequence[bytes], fds: Sequence[int], output: int) -> NoReturn:
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        above = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3 + len(fds)) for fd in fds]
        output = fcntl.fcntl(output, fcntl.F_DUPFD_CLOEXEC, 3 + len(fds))
        for place, fd in enumerate(above, 3):
            os.dup2(fd, place)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir("/")
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        path = os.environb.get(b"PATH", os.defpath.encode()) + b":/usr/sbin:/sbin"
        os.execvpe(argv[0], list(argv), {**os.environb, b"PATH": path})
    except OSError as error:
        os.write(2, (error.strerror or "").encode() + b"\n")
    finally:
        os._exit(MISSING)
