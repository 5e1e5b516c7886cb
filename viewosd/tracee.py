"""The thread that asked, as a hook sees it. The supervisor and the test kit both offer this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from .abi.arch import Arch
from .abi.layout import Struct
from .syscalls.kinds import In, InOut, Out

S = TypeVar("S", bound=Struct)
T = TypeVar("T")

AT_FDCWD = -100
ARGS_MAX = 0x60_0000
"""Bytes of arguments and environment that execve(2) takes at most (fs/exec.c, _STK_LIM)."""


@dataclass(frozen=True)
class Credentials:
    """Who the tracee is, for the kernel; ids as the supervisor's user namespace shows them.

    Source: proc(5), /proc/pid/status.
    """

    uid: int
    euid: int
    suid: int
    fsuid: int
    gid: int
    egid: int
    sgid: int
    fsgid: int
    groups: tuple[int, ...]
    cap_eff: int
    """The effective capabilities, a bit mask."""


class Tracee(Protocol):
    """One thread with one unanswered call. Of no use once the call is answered.

    Memory and descriptors are looked at without waiting, so a ``def`` hook may use everything here.

    Raises (any method):
        Vanished: the cookie died meanwhile; nothing was changed.
    """

    @property
    def tid(self) -> int:
        """The thread's id, in the supervisor's pid namespace."""

    @property
    def pid(self) -> int:
        """Its process's id (thread group leader)."""

    def ancestors(self) -> Iterator[tuple[int, int]]:
        """Its process, the parent of that, and so on: process ids, and when each was started (clock
        ticks since boot: an id may be another's later), up to the supervisor or out of sight.
        """

    @property
    def cookie(self) -> int:
        """Names the call while it waits, for a supervisor and its successor alike."""

    @property
    def arch(self) -> Arch:
        """What it runs as; decides which layout of a structure it uses."""

    def check(self) -> None:
        """Raise `Vanished` unless the call still waits: ask before what can't be undone."""

    def read(self, address: int, length: int) -> bytes:
        """Read exactly ``length`` bytes. Raises BadAddress as the kernel would EFAULT."""

    def read_str(self, address: int, limit: int = 4096) -> bytes:
        """Read to the NUL, which is not returned.

        Raises:
            BadAddress: not mapped.
            OSError: ENAMETOOLONG, no NUL within ``limit`` bytes (fs/namei.c:getname_flags()).
        """

    def read_strs(self, address: int, limit: int = ARGS_MAX) -> list[bytes]:
        """Read a NULL-terminated array of strings (argv, envp); none at NULL.

        Raises:
            OSError: E2BIG, pointers and strings have more than ``limit`` bytes together.
        """

    def read_struct(self, where: In[S] | InOut[S] | Out[S], kind: type[S]) -> S:
        """Read a structure in the tracee's own layout; a 32-bit one is widened to ``kind``."""

    def write(self, address: int, data: bytes) -> None:
        """Write all of ``data``. Raises BadAddress where the tracee itself could not write."""

    def write_struct(self, where: Out[S] | InOut[S], what: S) -> None:
        """Write a structure, narrowed to the 32-bit layout for a 32-bit program.

        Raises:
            OSError: EOVERFLOW, a value does not fit there.
        """

    def fd(self, number: int) -> AbstractContextManager[int]:
        """Our duplicate of a descriptor of the tracee, closed at the end of the ``with``.

        It shares the tracee's offset and flags: never block on it (pidfd_getfd(2)).

        Raises:
            OSError: EBADF.
        """

    def open(
        self, dirfd: int, path: bytes, flags: int = 0, mode: int = 0, *, resolve: int = 0
    ) -> int:
        """openat(2) as the tracee would: its root, working directory, ``dirfd``, umask.

        ``resolve`` is openat2(2)'s. Magic links are not followed (ELOOP), except that
        ``/proc/self`` and ``/proc/thread-self`` mean the tracee. The rights are the supervisor's,
        which are the view owner's; as root they are not the tracee's own.

        It never waits: of a FIFO, unless with O_NONBLOCK, it says EAGAIN. Continue such a call.
        Where the path may lead to what a program of the view serves, the hook ends here (MustWait,
        which is not for it to catch), and is asked again once it is known where that leads: so
        open first, and change afterwards.

        Returns:
            A descriptor of ours, close-on-exec.
        """

    def aside(self, function: Callable[..., T], *args: Any) -> T:
        """Call what may wait for a program of the view: for a file that one serves.

        While anybody of the view serves files it is called in a thread, and the hook ends here and
        is asked again afterwards, as in `open`. So a hook asks for a ``function`` once. That may
        use `fd`, and nothing else of the tracee.
        """

    def let_go(self) -> None:
        """Close what was opened aside: before a change that open files would be in the way of."""

    def path_of(self, dirfd: int, path: bytes) -> bytes:
        """``path`` made absolute, in the tracee's root; symbolic links as they are."""

    @property
    def cwd(self) -> bytes:
        """The working directory as a path in the supervisor's root."""

    @property
    def umask(self) -> int:
        """The file mode creation mask."""

    @property
    def credentials(self) -> Credentials:
        """Real, effective, saved and file-system ids, groups, effective capabilities."""

    @property
    def personality(self) -> int:
        """PER_* and its flags, personality(2): what uname tells and where memory lies."""

    @property
    def command(self) -> bytes:
        """The program's short name, /proc/pid/comm."""
