"""viewos-run -d: a keeper that nobody sees."""

from __future__ import annotations

import os
import select
import stat

from .keeper import Keeper

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable

    from .plan import Plan


def run_detached(plan: Plan, announce: Callable[[int, str], None]) -> int:
    """Run a keeper in a session of its own; print the view's id when PROG runs, or say why not.

    A terminal as standard input becomes /dev/null for PROG, and so does a pipe as standard output
    or error: ``id=$(viewos-run -d PROG)`` reads that until its last writer has closed it. The
    keeper stays.
    """
    reader, writer = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        try:
            os.close(reader)
            _leave_terminal()

            def report(code: int, text: str) -> None:
                if code or not text:
                    os.write(writer, os.fsencode(f"{code} {text or plan.view_id}"))
                    os.close(writer)
                else:
                    announce(0, text)

            Keeper(plan, report).run()
        finally:
            os._exit(0)
    # Not until the pipe ends: the supervisor has a copy of the other side.
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    poller.register(os.pidfd_open(keeper), select.POLLIN)
    if reader not in dict(poller.poll()):
        announce(125, "the keeper died")
        return 125
    code, _, text = os.fsdecode(os.read(reader, 1 << 16)).partition(" ")
    if code == "0":
        os.write(1, f"{text}\n".encode())
    else:
        announce(int(code), text)
    return int(code)


def _leave_terminal() -> None:
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for number in (1, 2):
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            os.dup2(null, number)
    if os.isatty(0):
        os.dup2(null, 0)
    os.close(null)
