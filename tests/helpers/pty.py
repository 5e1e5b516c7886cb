"""A terminal with a program in it, as a user sits before it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence

from viewosd.keeper.processes import descendants

from .waiting import LIMIT, until


class Terminal:
    """A pseudo-terminal whose session leader is the program.

    Leaving the context closes the terminal; whoever outlives that is killed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        rows: int = 24,
        columns: int = 80,
    ) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
                    signal.signal(number, signal.SIG_DFL)
                os.execvpe(argv[0], argv, os.environ | {"TERM": "dumb"} | dict(env or {}))
            finally:
                os._exit(127)
        self.resize(rows, columns)
        self.seen = b""
        self._from = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        # Those below a program that has ended already are nobody's children by now; they are left
        # to the tests that look for them.
        below = descendants(self.pid) if self.pid else []
        if self.fd >= 0:
            self.hang_up()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
        if self.pid:
            kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text: str) -> None:
        """Type it. Control characters are keys: "\\x03" is ^C, "\\x1a" ^Z, "\\x1c" ^\\, "\\x04" ^D."""
        os.write(self.fd, text.encode())

    def expect(self, pattern: str) -> re.Match[bytes]:
        """Wait until this appears after what was expected before."""
        end = time.monotonic() + LIMIT
        compiled = re.compile(pattern.encode())
        while not (match := compiled.search(self.seen, self._from)):
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.seen[self._from :]!r}; all: {self.seen!r}"
            ready, _, _ = select.select([self.fd], [], [], min(left, 1))
            if ready:
                more = self._read()
                assert more, f"the terminal was closed; no {pattern!r} in {self.seen!r}"
                self.seen += more
        self._from = match.end()
        return match

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, 1 << 16)
        except OSError as error:
            if error.errno != errno.EIO:  # nobody has the other side open
                raise
            return b""

    def foreground(self) -> int:
        """The foreground process group."""
        return os.tcgetpgrp(self.fd)

    def find(self, name: str) -> int:
        """Wait for a process of that name below the program; its process id."""

        def look() -> int:
            return next((p for p in descendants(self.pid) if name_of(p) == name), 0)

        return until(look, f"a process {name}")

    def hang_up(self) -> None:
        """Take the terminal away."""
        os.close(self.fd)
        self.fd = -1

    def wait(self) -> int:
        """The program's end: its wait status."""

        def ended() -> tuple[int, int] | None:
            # Whoever writes to a full terminal waits for a reader.
            if self.fd >= 0 and select.select([self.fd], [], [], 0)[0]:
                self.seen += self._read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            return (pid, status) if pid else None

        status = until(ended, "the end of the program")[1]
        self.pid = 0
        return status


def kill(pid: int, number: int) -> None:
    """kill(2) for one process. 0 and negative numbers mean groups or everybody there, and 0 is also
    what a process that has vanished meanwhile reads as: a test must never send to it.
    """
    assert pid > 1, f"{pid} is not one process of ours"
    os.kill(pid, number)


def name_of(pid: int) -> str:
    """The name of a process that runs; "" for one that is gone, or is about to be another program."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Shell(Terminal):
    """An interactive bash at its prompt. Commands are typed, so they are echoed: tests expect what
    only the output can hold, as in ``echo status-$((100 + $?))``.
    """

    def __init__(self, *, env: Mapping[str, str] | None = None) -> None:
        super().__init__(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            env={"PS1": "outer$ ", "HISTFILE": "", **(env or {})},
        )
        self.expect(r"outer\$ ")

    def status(self) -> int:
        """Exit status of the last command, once the prompt is back."""
        self.send("echo status-$((1000 + $?))\n")
        return int(self.expect(r"status-(\d{4,})").group(1)) - 1000
