"""Put a filter on processes that already run: re-arm a view, or attach to a stranger.

A filter can't be taken off, but it can be outgrown. The kernel allows one listener in a chain of
filters, but the listener may be closed: then a wider filter with a listener of its own can be put
on top, and as the newest of equal results wins, it hears everything. The dance:

    supervisor                           every thread of the view
    ----------                           ------------------------
    seize, interrupt                ->   stops at once, or waits for our answer
    answer what waits: −513         ->   stops
    (nobody new? else again)
    map memory, write the program   ->   one thread of each process: mmap(2)
    close the old listeners              (nobody is there to be told ENOSYS)
    install                         ->   prctl(2) if need be, seccomp(2) with TSYNC
    fetch the listener              <-   pidfd_getfd(2), then close(2) there
    let go                          ->   restarts its call, under the wider filter

All or nothing: what can fail (a debugger in the way, no memory, a foreign listener) is tried before
the old listeners are closed.

CVE-2026-89603 (until 6.18.51): a thread that TSYNC reaches while it is stopped inside a system call
entry runs that one call under the old filter. Ours are stopped on the way out, never there; the
call that they restart is looked at anew.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable
from typing import Final

from ..abi.errno import ERESTARTNOINTR
from ..abi.seccomp import (
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_TSYNC,
    SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
)
from ..keeper.unsafe import PR_SET_NO_NEW_PRIVS
from . import memory, signals, unsafe
from .captive import CannotStop, Captive
from .rewrite import Rewriter
from .sweep import Sweep

FLAGS: Final = (
    SECCOMP_FILTER_FLAG_TSYNC
    | SECCOMP_FILTER_FLAG_NEW_LISTENER
    | SECCOMP_FILTER_FLAG_TSYNC_ESRCH
    | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
)
_SET_MODE_FILTER: Final = 1


class ArmError(Exception):
    """Nothing was changed; the text names the process and the reason."""


class Armed:
    """One process under its new filter."""

    def __init__(self, pid: int, threads: int) -> None:
        self.pid, self.threads = pid, threads


def arm(
    processes: Callable[[], Iterable[int]],
    bytecode: bytes,
    rewriter: Rewriter,
    in_flight: Callable[[set[int]], None],
    close_old: Callable[[], None],
    keep: Callable[[int], None],
) -> list[Armed]:
    """Put a filter on every thread of some processes.

    Args:
        processes: asked again and again for the ids of all that shall be armed.
        bytecode: the program.
        rewriter: knows memory of the tracees that is ours to use.
        in_flight: answers calls of these threads that wait for us with −ERESTARTNOINTR.
        close_old: closes the listeners that these processes have now.
        keep: takes each new listener over, before any process goes on.

    Raises:
        ArmError: nothing was changed.
    """
    try:
        with Sweep(processes, in_flight) as sweep:
            ready = [p for p in sweep.threads.items() if p[1]]
            placed = {pid: _prepare(captives, bytecode, rewriter) for pid, captives in ready}
            close_old()
            armed = []
            for pid, captives in ready:
                chief, address = placed[pid]
                try:
                    armed.append(_install(pid, chief, address, len(captives), keep))
                except ProcessLookupError:
                    continue  # killed meanwhile: nothing can be stopped from being killed
            for captives in sweep.threads.values():
                for captive in captives.values():
                    _keep_restarting(captive)
            return armed
    except CannotStop as error:
        raise ArmError(str(error)) from None
    except OSError as error:
        raise ArmError(f"cannot arm the view: {error.strerror or error}") from None


def _prepare(
    captives: dict[int, Captive], bytecode: bytes, rewriter: Rewriter
) -> tuple[Captive, int]:
    """Write the program into one process, by one of its threads; (thread, address)."""
    chief = next(iter(captives.values()))
    address = rewriter.region(chief, len(bytecode) + 16)
    fprog = struct.pack("=HxxxxxxQ", len(bytecode) // 8, address + 16)
    memory.write(chief.tid, address, fprog + bytecode)
    return chief, address


def _install(
    pid: int, chief: Captive, address: int, threads: int, keep: Callable[[int], None]
) -> Armed:
    with chief.undisturbed():
        number = chief.syscall("seccomp", _SET_MODE_FILTER, FLAGS, address)
        if number == -errno.EACCES:
            chief.syscall("prctl", PR_SET_NO_NEW_PRIVS, 1)
            number = chief.syscall("seccomp", _SET_MODE_FILTER, FLAGS, address)
        if number < 0:
            raise OSError(-number, f"process {pid}: seccomp: {_reason(-number)}")
        pidfd = unsafe.pidfd_open(pid)
        try:
            keep(unsafe.pidfd_getfd(pidfd, number))
        finally:
            os.close(pidfd)
            chief.syscall("close", number)
    return Armed(pid, threads)


def _reason(code: int) -> str:
    if code == errno.EBUSY:
        return "a listener of somebody else is in its chain of filters"
    if code == errno.ESRCH:
        return "one of its threads has a filter of its own"
    return os.strerror(code)


def _keep_restarting(captive: Captive) -> None:
    """Some calls say EINTR to any interruption (epoll_wait, semop; signal(7)). Ours was none."""
    try:
        registers = captive.registers()
        broken_off = registers.in_call and registers.result == -errno.EINTR
        if broken_off and not signals.deliverable(captive.tid):
            registers.set_result(-ERESTARTNOINTR)
            registers.store()
    except ProcessLookupError:
        pass
