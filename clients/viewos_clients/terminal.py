"""A terminal for a program that was started in a view from another terminal.

The user's own can't be given to it: that one controls the session of the user's shell, and the
program is of another session (credentials(7)). So the program gets a pseudo-terminal, which becomes
its controlling terminal where it is started, and all that is typed or shown goes through us. The
user's is in raw mode meanwhile: ^C and ^Z are characters, of which the inner one makes signals for
whoever is in its foreground.
"""

from __future__ import annotations

import fcntl
import os
import select
import termios
import tty
from collections.abc import Iterator
from contextlib import suppress

from viewosd.wire import Message

from .session import Session

_MORE = 1 << 16
"""Bytes that may have been typed and not been taken by the program; pasted text waits."""
_LOOK_MS = 500
"""How often a job in the background looks whether it is in the foreground again."""


class Terminal:
    """The user's terminal, descriptors 0 and 1, and the program's.

    Attributes:
        inner: the program's; ours to close once the program has it.
    """

    def __init__(self) -> None:
        """Raises OSError: no pseudo-terminal can be had."""
        self._modes = termios.tcgetattr(0)
        self._ours, self.inner = os.openpty()
        os.set_blocking(self._ours, False)
        termios.tcsetattr(self.inner, termios.TCSANOW, self._modes)
        self._typed = bytearray()
        self._shows = True
        self.resize()

    @staticmethod
    def wanted() -> bool:
        """Does somebody sit before us? Not so in a pipe, nor for a job in the background."""
        return os.isatty(0) and os.isatty(1) and _in_foreground()

    def descriptors(self) -> tuple[int, int, int]:
        """What the program gets as 0, 1, 2: errors stay where they were sent to."""
        return self.inner, self.inner, self.inner if os.isatty(2) else 2

    def resize(self) -> None:
        """The user's window has another size now; who is in the foreground gets SIGWINCH."""
        with suppress(OSError):
            size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def begin(self) -> None:
        """Take the user's terminal over: again after a stop."""
        if self._shows and _in_foreground():
            with suppress(termios.error):
                tty.setraw(0, termios.TCSADRAIN)

    def end(self) -> None:
        """Give it back as it was; again does nothing."""
        if _in_foreground():
            with suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, self._modes)

    def messages(self, session: Session) -> Iterator[Message]:
        """As `Session.messages`, while what is typed goes in and what is shown comes out."""
        coming = session.messages()
        while True:
            ready = self._wait(session.fileno())
            if self._ours in ready:
                self._show()
            if 0 in ready:
                self._type()
            self._pass_on()
            if session.fileno() in ready:
                message = next(coming, None)
                if message is None:
                    return
                while self._shows and self._show():  # what the program said last
                    pass
                yield message

    def _wait(self, control: int) -> set[int]:
        poll = select.poll()
        poll.register(control, select.POLLIN)
        background = not _in_foreground()  # to read there would stop us
        if self._shows:
            poll.register(self._ours, select.POLLIN | (select.POLLOUT if self._typed else 0))
            if len(self._typed) < _MORE and not background:
                poll.register(0, select.POLLIN)
        return {fd for fd, _ in poll.poll(_LOOK_MS if background else None)}

    def _show(self) -> bool:
        """Show what is there; False: nothing is, or nobody has the program's terminal any more."""
        try:
            data = os.read(self._ours, _MORE)
        except BlockingIOError:
            return False
        except OSError:  # EIO: closed by all. The program may run on, and ^C is for it again.
            data = b""
        if not data:
            self.end()
            self._shows = False
            return False
        with suppress(OSError):  # the user's terminal is gone, and SIGHUP comes
            while data:
                data = data[os.write(1, data) :]
        return True

    def _type(self) -> None:
        try:
            self._typed += os.read(0, _MORE)
        except OSError:
            return

    def _pass_on(self) -> None:
        """Give the program what was typed, as much as it takes now."""
        if self._typed and self._shows:
            with suppress(OSError):  # EAGAIN: it reads nothing just now
                del self._typed[: os.write(self._ours, self._typed)]

    def close(self) -> None:
        """Give the user's terminal back and take the program's away."""
        self.end()
        os.close(self._ours)


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # hung up
        return False
