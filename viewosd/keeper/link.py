"""The conversation of keeper and supervisor: one ASCII line a datagram.

| from | line | meaning |
| --- | --- | --- |
| supervisor | `view SERVERID ID NAME` | the view exists and takes control connections |
| | `started PID` | PROG's exec succeeded |
| | `stopped SIGNAL`, `continued` | PROG stopped (waitpid(2) with WUNTRACED), went on |
| | `exited WAITSTATUS [last]` | PROG ended; `last`: and the supervisor with it |
| | `failed CODE TEXT` | PROG will not start; what to say and to exit with |
| | `serving` | a successor has taken over |
| | `signalled` | one `signal` was sent to PROG |
| | `note TEXT` | say it, unless asked to be quiet; before `started` |
| keeper | `ended` | to a successor: PROG has ended, and so will the keeper |
| | `signal SIGNAL` | send it to PROG |
| | `continue` | the keeper was continued; if PROG still stands, so must it |

SOCK_SEQPACKET keeps the lines apart and shows the end of the other side: unix(7).
"""

from __future__ import annotations

import os
import socket


class Link:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self.open = True

    @classmethod
    def pair(cls) -> tuple[Link, Link]:
        """The keeper's end and the supervisor's."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    def fileno(self) -> int:
        return self._socket.fileno()

    def tell(self, *words: object) -> None:
        """Send a line. The other side's end is no error here: hearing it is."""
        try:
            self._socket.send(os.fsencode(" ".join(map(str, words))))
        except (BrokenPipeError, ConnectionResetError):
            pass  # still open: whoever waits for the link to be readable must hear of its end

    def hear(self) -> list[str]:
        """All lines that have come, without waiting; `open` is False when no more can."""
        lines = []
        while self.open:
            try:
                line = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionResetError:
                line = b""
            if line:
                lines.append(os.fsdecode(line))
            else:
                self.open = False
        return lines

    def detach(self) -> int:
        """Its descriptor, which is the caller's from here on."""
        return self._socket.detach()

    def close(self) -> None:
        self._socket.close()
