"""All threads of one process, standing still, to be put under a filter.

What can fail is tried before anything is changed. seccomp(2) itself is tried without a program:
with a null pointer it says EFAULT, after every filter of the process's own has let it pass and the
kernel has accepted the flags.
"""

from __future__ import annotations

import errno
import os
import resource
import struct
from collections.abc import Callable
from typing import Final

from ..abi.arch import Arch
from ..abi.seccomp import (
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_TSYNC,
    SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
)
from ..core.chain import ROOM, room_for
from ..errors import Vanished
from ..keeper.unsafe import PR_SET_NO_NEW_PRIVS
from . import memory, unsafe
from .captive import CannotStop, Captive, name_of
from .injection import Injection
from .rewrite import Rewriter
from .spawn import NO_FETCH, NO_FILTER

_SET_MODE_FILTER: Final = 1
_STRICT: Final = 1  # SECCOMP_MODE_STRICT, as /proc/pid/status shows it
_NO_DESCRIPTOR: Final = 2**31 - 1
_CAP_SYS_ADMIN: Final = 21
_TOGETHER: Final = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH
PIDFD_THREAD: Final = os.O_EXCL


class Crew:
    """One process.

    Args:
        captives: its threads, by id; stopped, at least one, or soundly asleep.
        bytecode: the filter's program.
        rewriter: knows memory of the process that is ours to use.
    """

    def __init__(
        self, pid: int, captives: dict[int, Captive], bytecode: bytes, rewriter: Rewriter
    ) -> None:
        self.pid, self.captives, self._rewriter = pid, captives, rewriter
        self._bytecode = bytecode
        self._facts = {tid: _status(tid) for tid in captives}
        filters = {tid: int(facts.get("Seccomp_filters", 0)) for tid, facts in self._facts.items()}
        self.filters = min(filters.values())
        """How many filters its threads are under, the least."""
        # TSYNC makes every thread's filters those of the caller: so it may be used only where all
        # have the same, or filters that one thread put on itself would spread.
        self._most = max(filters.values())
        self._one_by_one = len(set(filters.values())) > 1
        self._chief = self._choose(
            [c for t, c in captives.items() if c.stopped and filters[t] == self.filters]
        )
        self._flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
        self._limit: tuple[int, int] | None = None
        self._address = 0

    def _choose(self, captives: list[Captive]) -> Captive:
        """Who acts for all: rather one that was stopped in a call, with no signal in hand."""
        for captive in captives:
            if not captive.signal and captive.registers().in_call:
                return captive
        if not captives:
            raise CannotStop("a thread that sleeps uninterruptibly has fewer filters than others")
        return captives[0]

    def prepare(self) -> None:
        """Try what can fail, and write the program into the process.

        Raises:
            CannotStop: it can't be put under the filter; the text says why.
            ProcessLookupError: it is gone.
        """
        try:
            if any(int(facts.get("Seccomp", 0)) == _STRICT for facts in self._facts.values()):
                raise CannotStop("it is in seccomp's strict mode: one more call would kill it")
            # Those below are no longer, if they are ours: a filter only grows.
            if (self._most + 1) * room_for(self._bytecode) > ROOM:
                raise CannotStop(
                    f"it is under {self._most} filters, and the kernel takes no more; start it anew"
                )
            self._address = self._rewriter.region(self._chief, len(self._bytecode) + 16)
            compat = self._chief.registers().mode is Arch.I386
            fprog = struct.pack(
                "=HxxI8x" if compat else "=HxxxxxxQ",
                len(self._bytecode) // 8,
                self._address + 16,
            )
            memory.write(self._chief.tid, self._address, fprog + self._bytecode)
            for captive in self.captives.values() if self._one_by_one else [self._chief]:
                with Injection(captive, self._rewriter.let_pass) as inside:
                    self._try(inside, captive)
                self._try_to_fetch(captive)
            self._make_room()
        except (Vanished, FileNotFoundError):
            raise ProcessLookupError(self.pid) from None
        except ProcessLookupError:
            raise
        except (CannotStop, OSError) as error:
            why = getattr(error, "strerror", None) or error
            raise CannotStop(f"process {self.pid} ({name_of(self.pid)}): {why}") from None

    def _try(self, inside: Injection, captive: Captive) -> None:
        code = -inside.syscall("seccomp", _SET_MODE_FILTER, self._flags, 0)
        if code == errno.EINVAL:  # Linux < 5.19
            self._flags &= ~SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
            code = -inside.syscall("seccomp", _SET_MODE_FILTER, self._flags, 0)
        if code == errno.EFAULT and self._needs_renouncing(captive):
            code = -inside.syscall("prctl", PR_SET_NO_NEW_PRIVS, 2)  # tried only: 2 is no choice
            if code == errno.EINVAL:
                return
        if code != errno.EFAULT:
            if code in NO_FILTER and self._most <= int(_status(os.getpid())["Seccomp_filters"]):
                raise CannotStop(NO_FILTER[code])  # the same for us: it is under no other filter
            raise CannotStop(f"a filter of its own forbids our calls: {os.strerror(code)}")

    def _try_to_fetch(self, captive: Captive) -> None:
        """With a number that no descriptor has: EBADF comes after the question of rights."""
        pidfd = pidfd_of(captive.tid, self.pid)
        try:
            os.close(unsafe.pidfd_getfd(pidfd, _NO_DESCRIPTOR))
        except OSError as error:
            if error.errno == errno.ESRCH:
                raise
            if error.errno != errno.EBADF:
                raise CannotStop(NO_FETCH.get(error.errno or 0, error.strerror)) from None
        finally:
            os.close(pidfd)

    def _needs_renouncing(self, captive: Captive) -> bool:
        """Must it give up new privileges, before it may install a filter? seccomp(2), EACCES."""
        facts = self._facts[captive.tid]
        return not int(facts["NoNewPrivs"]) and not int(facts["CapEff"], 16) >> _CAP_SYS_ADMIN & 1

    def _make_room(self) -> None:
        """See to it that one more descriptor fits; the limit is put back by `finish`."""
        tid = self._chief.tid
        used = len(os.listdir(f"/proc/{tid}/fd"))
        if used + 1 < _descriptors(tid):
            return
        try:
            soft, hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
            more = used + 64
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (more, max(more, hard)))
            self._limit = soft, hard
        except (PermissionError, ValueError):
            raise CannotStop("it has no descriptor left, RLIMIT_NOFILE") from None

    def renounce(self) -> None:
        """Give up new privileges where that is asked for: a call that may be trapped, and so must
        be made while the old listener is open. Raises as `install`.
        """
        for captive in self.captives.values() if self._one_by_one else [self._chief]:
            if self._needs_renouncing(captive):
                with Injection(captive, self._rewriter.let_pass) as inside:
                    inside.syscall("prctl", PR_SET_NO_NEW_PRIVS, 1)

    def install(self, keep: Callable[[int], None]) -> None:
        """Put it under the filter; ``keep`` gets its listeners, one as a rule.

        Raises:
            OSError: EBUSY, a listener of somebody else is in its chain of filters.
            CannotStop: it does not do what it is told.
            ProcessLookupError: it is gone.
        """
        if not self._one_by_one:
            try:
                self._put_on(self._chief, self._flags | _TOGETHER, keep)
                return
            except OSError as error:
                if error.errno != errno.ESRCH or isinstance(error, ProcessLookupError):
                    raise
        # A thread's own filters are not ours to spread to the others: a listener for each.
        for captive in self.captives.values():
            self._put_on(captive, self._flags, keep)

    def _put_on(self, captive: Captive, flags: int, keep: Callable[[int], None]) -> None:
        with Injection(captive, self._rewriter.let_pass) as inside:
            number = inside.syscall("seccomp", _SET_MODE_FILTER, flags, self._address)
        if number < 0:
            raise _Refused(-number, f"process {self.pid} ({name_of(self.pid)}): {_why(number)}")
        # It has its own registers meanwhile: should we be killed just now, it goes on with them.
        pidfd = pidfd_of(captive.tid, self.pid)
        try:
            keep(unsafe.pidfd_getfd(pidfd, number))
        finally:
            os.close(pidfd)
            with Injection(captive, self._rewriter.let_pass) as inside:
                inside.syscall("close", number)

    def finish(self) -> None:
        """Put back what was changed for the moment."""
        if self._limit is not None:
            try:
                resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self._limit)
            except ProcessLookupError:
                pass


class _Refused(OSError):
    """seccomp(2) said so to the process; unlike OSError never another class by its number."""


def _why(result: int) -> str:
    if result == -errno.EBUSY:
        return "a listener of somebody else is in its chain of filters"
    return NO_FILTER.get(-result, f"seccomp(2) says {os.strerror(-result)}")


def _descriptors(tid: int) -> int:
    """How many it may have: RLIMIT_NOFILE. prlimit(2) says so of others' processes to few only."""
    with open(f"/proc/{tid}/limits", encoding="ascii") as limits:
        line = next(line for line in limits if line.startswith("Max open files"))
    return int(line.split()[3])


def pidfd_of(tid: int, pid: int) -> int:
    """A descriptor of a process by one of its threads."""
    try:
        # The leader may have ended before the others, or have other descriptors.
        return unsafe.pidfd_open(tid, PIDFD_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return unsafe.pidfd_open(pid)  # Linux < 6.9


def _status(tid: int) -> dict[str, str]:
    """/proc/tid/status. Raises ProcessLookupError."""
    try:
        with open(f"/proc/{tid}/status", encoding="utf-8", errors="replace") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except FileNotFoundError:
        raise ProcessLookupError(tid) from None
