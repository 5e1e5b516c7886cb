"""A service that traps much of what programs do and answers nothing: every call is continued.

What a program does in its view must not differ by it. Half of the hooks answer at once, half wait
a turn of the event loop first, so calls are in flight while others come.

Not kill(2): a call that is trapped ends with EINTR when a signal with a handler without SA_RESTART
comes before it was received (docs/write-a-service.md, "Hooks and signals"). Most programs can bear
that of open and stat; shells, whose jobs end while they signal them, say so on their output.
"""

from __future__ import annotations

import trio

from viewosd import Service, Tracee, Verdict, hook
from viewosd.syscalls import (
    Accept,
    Access,
    Chdir,
    Chmod,
    Exec,
    Fstat,
    Getdents,
    Getuid,
    Link,
    Mkdir,
    Open,
    Readlink,
    Rename,
    SetIds,
    Socket,
    SocketName,
    Stat,
    Statfs,
    Syscall,
    ToAddress,
    Uname,
    Unlink,
    Wait,
    getppid,
    ioctl,
)


class TrapAll(Service):
    """Traps much and answers nothing."""

    name = "trap_all"

    @hook(Open)
    @hook(Fstat)
    @hook(Readlink)
    @hook(Getdents)
    @hook(Getuid)
    @hook(Uname)
    @hook(getppid)
    @hook(ioctl)
    @hook(Rename)
    @hook(SocketName)
    @hook(ToAddress)
    @hook(Chmod)
    def at_once(self, call: Syscall, tracee: Tracee) -> Verdict | None:
        return None

    @hook(Stat)
    @hook(Access)
    @hook(Exec)
    @hook(Socket)
    @hook(Accept)
    @hook(Chdir)
    @hook(Mkdir)
    @hook(Unlink)
    @hook(Link)
    @hook(Statfs)
    @hook(SetIds)
    @hook(Wait)
    async def later(self, call: Syscall, tracee: Tracee) -> Verdict | None:
        await trio.lowlevel.checkpoint()
        return None
