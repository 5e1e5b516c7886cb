"""Another /etc/motd: viewos-run -p 'examples/motd.py,text=Hello!' -- cat /etc/motd"""

import os

from viewosd import InjectFd, Service, Tracee, Under, Verdict, hook
from viewosd.syscalls import Open, openat2


class Motd(Service):
    """/etc/motd with other contents, for whoever opens it to read."""

    name = "motd"

    def __init__(self, text: str = "Welcome to the view.") -> None:
        self.text = text

    @hook(Open, path=Under(b"/etc/motd"))
    def open(self, call: Open, tracee: Tracee) -> Verdict | None:
        if isinstance(call, openat2) or call.flags & (os.O_ACCMODE | os.O_PATH):  # type: ignore[attr-defined]
            return None
        fd = os.memfd_create("motd")
        os.write(fd, self.text.encode() + b"\n")
        readable = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)  # from its start, and not writable
        os.close(fd)
        return InjectFd(readable, cloexec=bool(call.flags & os.O_CLOEXEC))  # type: ignore[attr-defined]
