"""What can be answered to a notification. There is no sixth answer.

Verdicts are values: nobody changes one. They are not declared frozen, for a frozen dataclass takes
three times as long to make, and one is made for every call.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .syscalls.base import Syscall


@dataclass(slots=True)
class Continue:
    """Let the kernel run the call as asked: `CONTINUE`.

    For correctness, never for security: the kernel reads every pointer again, and another thread
    may have changed what is there (seccomp_unotify(2)).
    """


CONTINUE: Final = Continue()


@dataclass(slots=True)
class Return:
    """Skip the call; it returns ``value`` (a signed 64-bit number)."""

    value: int = 0


@dataclass(slots=True)
class Errno:
    """Skip the call; it fails. ``code`` is positive, as in the `errno` module: 0 < code < 4096."""

    code: int


@dataclass(slots=True)
class InjectFd:
    """Skip the call; it returns a new descriptor in the tracee, a duplicate of our ``fd``.

    The supervisor closes ``fd`` afterwards unless ``keep``. A full table in the tracee is its
    EMFILE. An O_PATH descriptor can't be handed over: EBADF.
    """

    fd: int
    cloexec: bool = False
    keep: bool = False


@dataclass(slots=True)
class Rewrite:
    """Run another call, or the same one with other arguments, instead.

    ``call`` comes from `Syscall.replace` or `Syscall.make`. Where the tracee can't be taken (a
    debugger holds it) the call fails with ``otherwise`` and the log says why.
    """

    call: Syscall
    otherwise: int = errno.EPERM


Verdict = Continue | Return | Errno | InjectFd | Rewrite
