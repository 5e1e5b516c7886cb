"""What PROG inherits: read before anything of ours could change it, given up once PROG has it.

PROG gets what a plain exec would have given it. Two things Python has changed before its first
line runs: it ignores SIGPIPE and SIGXFSZ, and what they were before can't be known any more. PROG
gets their default, so a shell that ignores SIGPIPE on purpose does not pass that on.
"""

from __future__ import annotations

import fcntl
import os
import signal

_PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}


def guard_standard() -> None:
    """Occupy closed descriptors 0, 1 and 2, so that none of ours gets such a number.

    With close-on-exec: in PROG they are closed, as they were for us.
    """
    while True:
        number = _null()
        if number > 2:
            os.close(number)
            return


def _null() -> int:
    try:
        return os.open("/dev/null", os.O_RDWR)
    except OSError:  # a root directory without devices; this one fails every read and write
        return os.open("/", os.O_PATH)


def inherited() -> list[int]:
    """The descriptors that came from whoever started us: of all that are open, those that an exec
    keeps. Ours are all close-on-exec.

    Raises:
        OSError: /proc is not there.
    """
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if not fcntl.fcntl(int(name), fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
                found.append(int(name))
        except OSError:
            pass  # the one that listed the directory
    return sorted(found)


def let_go(numbers: list[int]) -> None:
    """Close what PROG inherited, and leave its directory.

    Whoever reads the other end of a pipe sees its end when PROG's processes have closed it, not
    when we end; and a file system that PROG has left can be unmounted.
    """
    null = _null()
    for number in numbers:
        if number <= 2:
            os.dup2(null, number)
        else:
            os.close(number)
    os.close(null)
    os.chdir("/")


def status() -> tuple[set[int], int]:
    """The signals that are ignored, and the umask: SigIgn and Umask of proc_pid_status(5).

    Raises:
        OSError: /proc is not there.
    """
    ignored, umask = set[int](), 0o022
    with open("/proc/self/status", "rb") as file:
        for line in file:
            key, _, value = line.partition(b":")
            if key == b"SigIgn":
                bits = int(value, 16)
                ignored = {n for n in range(1, 65) if bits >> n - 1 & 1} - _PYTHON_IGNORES
            elif key == b"Umask":
                umask = int(value, 8)
    return ignored, umask


def environment() -> list[bytes]:
    """The environment as execve(2) passed it. os.environb is another: Python sets LC_CTYPE in the C
    locale, and drops entries that have no "=" or come twice.
    """
    try:
        with open("/proc/self/environ", "rb") as file:
            raw = file.read()
    except PermissionError:  # we are not dumpable: a file capability, a privileged parent
        return [name + b"=" + value for name, value in os.environb.items()]
    return raw[:-1].split(b"\0") if raw else []
