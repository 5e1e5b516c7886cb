"""``viewos exec``: a program in a view, with our descriptors, directory and environment.

Typed at a terminal, it gives the program a terminal of its own (`terminal`): job control, the size
of the window and ^C are as in a shell that was started here. In a pipe, with redirected input or
output, and in the background it gets our descriptors as they are.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, suppress
from types import FrameType

from viewosd.wire import Response

from .output import complain
from .session import NoView, Refused, locate, result_of
from .terminal import Terminal

_FORWARDED = {
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGWINCH, signal.SIGALRM, signal.SIGCONT, signal.SIGTSTP,
}  # fmt: skip
FAILED = 125
"""Exit status where exec itself failed, as viewos-run has it; 126 and 127 are about PROG."""


def execute(args: list[str]) -> int:
    """Run ``[VIEW] [--] PROG [ARG]...``.

    Returns:
        PROG's exit status; 128+n where signal n killed it.
    """
    view, argv = split(args)
    if not argv:
        complain("viewos exec", "which PROG? usage: viewos exec [VIEW] -- PROG [ARG]...")
        return 2
    try:
        return _execute(view, argv)
    except Refused as refused:
        if refused.code in ("not-found", "not-executable"):
            raise
        complain("viewos exec", str(refused))
        return FAILED
    except (ConnectionError, NoView) as error:
        if isinstance(error, NoView) and error.views:
            raise
        complain("viewos exec", str(error))
        return FAILED


def split(args: list[str]) -> tuple[str | None, list[str]]:
    """VIEW, and PROG with its arguments. A VIEW alone before ``--``, or first without it."""
    if args[:1] == ["--"]:
        return None, args[1:]
    view, rest = args[0] if args else None, args[1:]
    return view, rest[1:] if rest[:1] == ["--"] else rest


def _execute(view: str | None, argv: list[str]) -> int:
    session, id = locate(view)
    with session, ExitStack() as after:
        terminal = None
        with suppress(OSError):  # no pseudo-terminals here: then without
            terminal = Terminal() if Terminal.wanted() else None
        if terminal is not None:
            after.callback(terminal.close)

        def forward(signo: int, frame: FrameType | None) -> None:
            if terminal is not None and signo == signal.SIGWINCH:
                terminal.resize()
                return
            # SIGTSTP would do nothing: the program's group is orphaned, so it is not stopped by it
            # (setpgid(2), NOTES).
            stop = signo == signal.SIGTSTP
            with suppress(OSError):
                session.notify("signal", request, int(signal.SIGSTOP) if stop else signo)
            if stop:  # ourselves too, so that the shell takes its terminal back
                if terminal is not None:
                    terminal.end()
                os.kill(os.getpid(), signal.SIGSTOP)
            if terminal is not None and signo == signal.SIGCONT:
                terminal.begin()

        # None is lost: one that comes before the handlers are there waits until they are.
        signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
        request = session.start(
            "exec",
            id,
            [os.fsencode(arg) for arg in argv],
            dict(os.environb),
            _cwd(),
            fds=terminal.descriptors() if terminal is not None else (0, 1, 2),
        )
        for number in _FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, forward)
        messages = session.messages()
        if terminal is not None:
            os.close(terminal.inner)
            terminal.begin()
            messages = terminal.messages(session)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        for message in messages:
            if isinstance(message, Response) and message.id == request:
                code = os.waitstatus_to_exitcode(result_of(message)["status"])
                sys.stdout.flush()
                return code if code >= 0 else 128 - code
    raise ConnectionResetError("the view's supervisor has ended; PROG may run on")


def _cwd() -> bytes:
    """The working directory; a deleted one has no name, and PROG starts in / then."""
    try:
        return os.getcwdb()
    except FileNotFoundError:
        return b"/"
