"""open(2) and its like, served with a descriptor of ours.

Left to the kernel: O_PATH (SECCOMP_IOCTL_NOTIF_ADDFD takes no such descriptor), O_TMPFILE, whatever
is no regular file or directory (a FIFO or a terminal may block, a device may be told who opens it),
procfs, openat2(2) with RESOLVE_*, an i386 program's open without O_LARGEFILE, and any open while
the tracee's table of descriptors is full: it would fail before the file is looked at.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from ...abi.arch import Arch
from ...abi.fcntl import FASYNC, O_LARGEFILE, O_TMPFILE
from ...abi.files import open_how
from ...service import hook
from ...syscalls.paths import Open, creat, openat2
from ...tracee import Tracee
from ...verdict import InjectFd, Verdict
from .aim import Doubt, aimed, faithful, or_kernel
from .served import Served

_VALID: Final = (
    os.O_ACCMODE | os.O_CREAT | os.O_EXCL | os.O_NOCTTY | os.O_TRUNC | os.O_APPEND | os.O_NONBLOCK
    | os.O_SYNC | os.O_DSYNC | os.O_DIRECT | O_LARGEFILE | os.O_DIRECTORY | os.O_NOFOLLOW
    | os.O_NOATIME | os.O_CLOEXEC
)  # fmt: skip
"""What open(2) looks at and openat2(2) accepts: VALID_OPEN_FLAGS of include/linux/fcntl.h."""

_KERNELS: Final = os.O_PATH | O_TMPFILE & ~os.O_DIRECTORY | FASYNC


class Opening(Served):
    """The family `Open`."""

    @hook(Open)
    @or_kernel
    def open(self, call: Open, tracee: Tracee) -> Verdict | None:
        flags, mode = _how(call, tracee)
        large = flags & O_LARGEFILE or not Arch(call.arch).is_compat
        if flags & _KERNELS or flags & os.O_ACCMODE == os.O_ACCMODE or not large:
            return None
        flags &= _VALID
        path = tracee.read_str(call.path)
        if not path or not has_room(tracee):
            return None
        creating = bool(flags & os.O_CREAT)
        with self.identity.of(tracee, creating=creating):
            if not (creating and flags & os.O_EXCL):
                _look(tracee, call.dirfd, path, flags)
            tracee.check()
            with faithful(tracee, call.dirfd, path):
                fd = tracee.open(call.dirfd, path, flags, mode & 0o7777 if creating else 0)
        return InjectFd(fd, cloexec=bool(flags & os.O_CLOEXEC))


def _how(call: Open, tracee: Tracee) -> tuple[int, int]:
    """Flags and mode, wherever the call has them."""
    if isinstance(call, openat2):
        if call.usize != open_how.sizeof:
            raise Doubt
        how = tracee.read_struct(call.how, open_how)
        if how.resolve or how.flags & ~_VALID or how.mode & ~0o7777:
            raise Doubt
        if how.mode and not how.flags & os.O_CREAT:
            raise Doubt
        return how.flags, how.mode
    if isinstance(call, creat):
        return call.flags | (0 if Arch(call.arch).is_compat else O_LARGEFILE), call.mode
    return call.flags, call.mode  # type: ignore[attr-defined]


def _look(tracee: Tracee, dirfd: int, path: bytes, flags: int) -> None:
    """Doubt unless what is there can be opened without waiting."""
    try:
        with aimed(tracee, dirfd, path, follow=not flags & os.O_NOFOLLOW) as fd:
            mode = os.fstat(fd).st_mode
    except OSError:
        if flags & os.O_CREAT:
            return  # perhaps it can be made; and where not, another reason may come first
        raise
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Doubt


def has_room(tracee: Tracee) -> bool:
    """Has its table a free number below RLIMIT_NOFILE?"""
    table = f"/proc/{tracee.tid}/fd"
    try:
        # Until Linux 6.2 is the minimum the size is 0, and they have to be counted.
        used = os.stat(table).st_size or len(os.listdir(table))
    except OSError as error:
        raise Doubt from error
    limit = soft_limit(tracee, b"Max open files")
    return limit is None or used < limit


def soft_limit(tracee: Tracee, name: bytes) -> int | None:
    """One of getrlimit(2)'s, as proc(5) calls it in /proc/pid/limits; None: unlimited.

    prlimit(2) would want CAP_SYS_RESOURCE for a tracee with other ids.
    """
    try:
        with open(f"/proc/{tracee.tid}/limits", "rb", 0) as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise Doubt from error
    found = next(line for line in lines if line.startswith(name))
    soft = found[len(name) :].split()[0]
    return None if soft == b"unlimited" else int(soft)
