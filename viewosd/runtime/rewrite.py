"""The `Rewrite` verdict: make a notified call run as another one.

seccomp can't change arguments. But the waiting thread can be seized with ptrace, its notification
answered with −ERESTARTNOINTR (which the pending stop swallows: no program ever sees it), its
registers changed while it is stopped, and let go: the kernel restarts the call with what it finds.
Is the new call trapped too, it is notified again, recognised here, and continued.

Strings can't go below the stack pointer: small stacks (threads, Go) have other data or nothing
there (docs/decisions/0003). A region of the tracee's own memory is mapped by an injected mmap(2),
once for each thread, and found again by the random bytes at its head: after an exec, or in another
process with the same id, they are not there.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from typing import Final

from ..abi.arch import Arch
from ..abi.errno import ERESTARTNOINTR
from ..errors import BadAddress, Vanished
from ..syscalls.base import Syscall
from ..syscalls.numbers import number_of
from . import memory, unsafe
from .captive import CannotStop, Captive
from .live import Live

REGION: Final = 0x4000  # bytes for the strings of one rewritten call, unless it needs more
REGIONS: Final = 1024  # remembered regions
EXPECTED_S: Final = 30.0  # a rewritten call that never came back was never restarted: forget it
_PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS = 3, 0x22


class Rewriter:
    """Rewrites calls, and knows those that will come back."""

    def __init__(self) -> None:
        self.expected: dict[int, tuple[int, tuple[int, ...], float]] = {}
        """Thread id to the (number, registers) that a rewritten call will be notified with."""
        self._regions: OrderedDict[int, tuple[int, int, bytes]] = OrderedDict()

    def is_expected(self, tid: int, nr: int, args: list[int]) -> bool:
        """Is this the rewritten call, coming back? Asked once; it must then be continued."""
        number, registers, until = self.expected[tid]
        if time.monotonic() > until:
            del self.expected[tid]
        elif number == nr and all(a == b for a, b in zip(registers, args, strict=False)):
            del self.expected[tid]
            return True
        return False

    def rewrite(self, live: Live, call: Syscall, trapped: bool) -> str | None:
        """Make the thread run ``call``. None: done; else why not, and the call still waits.

        Args:
            live: the notification; answered here if all goes well.
            call: what shall run, of the same architecture.
            trapped: ``call``'s number is trapped, so it will be notified again.

        Raises:
            Vanished: the tracee died, or its call was restarted.
        """
        arch = Arch(call.arch)
        number = number_of(type(call), arch)
        if number is None:
            return f"{type(call).__name__} does not exist on {arch.name}"
        try:
            captive = Captive(live.tid, arch)
        except CannotStop as error:
            return str(error)
        except ProcessLookupError:
            raise Vanished from None
        with captive:
            # From here on the call is answered: whatever goes wrong, the thread restarts it, and
            # without an expectation the hook is asked again.
            live.listener.fail(live.cookie, ERESTARTNOINTR)
            try:
                captive.wait()
                registers = captive.registers()
                args = call.encode(_Strings(self, captive).place)
                registers.restart_with(number, args)
                registers.store()
            except (ProcessLookupError, CannotStop):
                raise Vanished from None
            if trapped:
                self.expected[live.tid] = (number, args, time.monotonic() + EXPECTED_S)
        return None

    def restart(self, live: Live, code: int) -> str | None:
        """Answer a call with a restart code, which only a thread that is being stopped may get.

        None: done; else why not, and the call still waits. Raises Vanished.
        """
        try:
            captive = Captive(live.tid, Arch(live.call.arch))
        except CannotStop as error:
            return str(error)
        except ProcessLookupError:
            raise Vanished from None
        with captive:
            live.listener.fail(live.cookie, code)
            try:
                captive.wait()
            except (ProcessLookupError, CannotStop):
                raise Vanished from None
        return None

    def region(self, captive: Captive, size: int) -> int:
        """The address of at least ``size`` bytes of the captive's memory that are ours to use."""
        owner = _memory_owner(captive.tid)
        known = self._regions.get(owner)
        if known is not None and known[1] >= size and _holds(captive.tid, known[0], known[2]):
            self._regions.move_to_end(owner)
            return known[0] + 16
        length = max(REGION, size + 16 + 0xFFF & ~0xFFF)
        compat = captive.registers().mode is Arch.I386
        name = "mmap2" if compat else "mmap"
        with captive.undisturbed():
            address = captive.syscall(
                name, 0, length, _PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS, (1 << 64) - 1, 0
            )
        if -4096 < address < 0:
            raise OSError(-address, os.strerror(-address))
        if compat:
            address &= 0xFFFF_FFFF
        magic = os.urandom(16)
        memory.write(captive.tid, address, magic)
        self._regions[owner] = (address, length - 16, magic)
        while len(self._regions) > REGIONS:
            self._regions.popitem(last=False)
        return address + 16


class _Strings:
    """Puts what a call's pointers point at into the captive's region, one after the other."""

    def __init__(self, rewriter: Rewriter, captive: Captive) -> None:
        self._rewriter, self._captive = rewriter, captive
        self._base = self._used = self._size = 0

    def place(self, data: bytes) -> int:
        start = self._used + 15 & ~15
        if start + len(data) > self._size:
            # A fresh region: what was placed so far stays where it is, and stays valid.
            self._size = max(REGION - 16, 2 * self._size, len(data))
            self._base = self._rewriter.region(self._captive, self._size)
            start = 0
        memory.write(self._captive.tid, self._base + start, data)
        self._used = start + len(data)
        return self._base + start


def _memory_owner(tid: int) -> int:
    """Who a region is remembered for: the thread, or for a vfork child its waiting parent."""
    with open(f"/proc/{tid}/stat", "rb", 0) as stat:
        parent = int(stat.read().rpartition(b")")[2].split()[1])
    return -parent if parent and unsafe.same_memory(tid, parent) else tid


def _holds(tid: int, address: int, magic: bytes) -> bool:
    try:
        return memory.read(tid, address, len(magic)) == magic
    except (BadAddress, Vanished):
        return False
