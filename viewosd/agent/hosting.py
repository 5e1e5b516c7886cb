"""What a host does beside waiting: it starts the program, and looks where things are."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import signal
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shutil import which
from typing import Any, Final, NoReturn

from ..abi.capability import CAP_SYS_ADMIN
from ..keeper.unsafe import PR_SET_PDEATHSIG, prctl
from . import unsafe

FUSE_DEVICE: Final = os.makedev(10, 229)  # MISC_MAJOR, FUSE_MINOR: include/linux/miscdevice.h


@dataclass
class Job:
    """What is to be hosted.

    Attributes:
        argv, environ: of the program; it is looked for in PATH, and where administrators' are.
        target: the mountpoint, a path of the view.
        source: an absolute path of the view that the program reads; None: there is none.
        lock: what ``source`` is: fcntl.LOCK_EX, an image that will be written; LOCK_SH, one that
            will not be; 0, something else.
        what: what log lines begin with.
        marks: (offset, bytes): an image has one of them, if there are any.
    """

    argv: list[bytes]
    environ: dict[bytes, bytes]
    target: bytes
    source: bytes | None
    lock: int
    what: str
    marks: Sequence[tuple[int, bytes]] = ()


MISSING: Final = 127
"""The status with which a shell says so: sh(1)."""


def be_program(job: Job, output: int, ordinary: bool) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if ordinary and os.geteuid():
            unsafe.keep_in_programs(CAP_SYS_ADMIN)  # so libfuse can mount: here, and nowhere else
        # Left alone it would be a process of the view; told to end it writes back. (What changes
        # credentials forgets this.)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        job.environ.setdefault(b"PATH", os.defpath.encode())
        job.environ[b"PATH"] += b":/usr/sbin:/sbin"
        os.execvpe(job.argv[0], job.argv, job.environ)
    except OSError as error:
        os.write(2, (error.strerror or "").encode() + b"\n")
        # A directory of PATH that may not be searched says EACCES of a program that is nowhere.
        found = which(os.fsdecode(job.argv[0]), path=os.fsdecode(job.environ[b"PATH"]))
        os._exit(126 if found else MISSING)
    finally:
        os._exit(126)


def lock(job: Job) -> int:
    """The image, open and locked: two writers would destroy it, and a writer what a reader sees."""
    assert job.source is not None
    access = os.O_RDWR if job.lock == fcntl.LOCK_EX else os.O_RDONLY
    fd = os.open(job.source, access | os.O_CLOEXEC | os.O_NONBLOCK)
    name = text(job.source)
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EISDIR, f"{name} is a directory, no image")
        # We have every right over what is the owner's; the program has not: access(2), NOTES.
        if not os.access(f"/proc/self/fd/{fd}", os.W_OK if access == os.O_RDWR else os.R_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if job.marks and not any(os.pread(fd, len(m), at) == m for at, m in job.marks):
            raise OSError(errno.EINVAL, f"{name} is no image that {text(job.argv[0])} can read")
        fcntl.flock(fd, job.lock | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise OSError(errno.EBUSY, f"{name} is mounted already") from None
    except OSError:
        os.close(fd)
        raise
    return fd


def mounts() -> Iterator[tuple[int, bytes, bytes]]:
    """Number, mountpoint and type of each mount: proc_pid_mountinfo(5)."""
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            before, _, after = line.partition(b" - ")
            number, _, _, _, point, *_ = before.split(b" ")
            yield (
                int(number),
                point.decode("unicode_escape").encode("latin-1"),
                after.split(b" ")[0],
            )


def device_of(pids: list[int]) -> int:
    """The /dev/fuse that one of these processes has open; -1: none."""
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    if os.stat(f"/proc/{pid}/fd/{name}").st_rdev == FUSE_DEVICE:
                        return _take(pid, int(name))
    return -1


def _take(pid: int, number: int) -> int:
    pidfd = os.pidfd_open(pid)
    try:
        return unsafe.pidfd_getfd(pidfd, number)
    finally:
        os.close(pidfd)


def keep_the_log() -> None:
    """A log that is not open yet will be opened from within the view: by a way that leads out."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and handler.stream is None:
            place, name = os.path.split(handler.baseFilename)
            with contextlib.suppress(OSError):
                there = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                handler.baseFilename = f"/proc/self/fd/{there}/{name}"


def text(data: Any) -> str:
    return bytes(data).decode(errors="replace")
