"""The `Rewrite` verdict: make a notified call run as another one.

seccomp can't change arguments. But the waiting thread can be seized with ptrace, its notification
answered with −ERESTARTNOINTR (which the pending stop swallows: no program ever sees it), its
registers changed while it is stopped, and let go: the kernel restarts the call with what it finds.
Is the new call trapped too, it is notified again, recognised here, and continued.

Strings can't go below the stack pointer: small stacks (threads, Go) have other data or nothing
there (docs/decisions/0003). A region of the tracee's own memory is mapped by an injected mmap(2),
one for each thread that is alive, and found again by the random bytes at its head: after an exec,
or in another process with the same id, they are not there.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Container, Mapping
from typing import Final

from ..abi.arch import Arch
from ..abi.errno import ERESTARTNOINTR
from ..errors import BadAddress, Vanished
from ..syscalls.base import Syscall
from ..syscalls.numbers import number_of
from . import memory, unsafe
from .captive import CannotStop, Captive
from .injection import Injection
from .live import Live

REGION: Final = 0x4000  # bytes for the strings of rewritten calls, unless one needs more
PROCESSES: Final = 1024  # whose regions are remembered
EXPECTED_S: Final = 30.0  # a rewritten call that never came back was never restarted: forget it
_PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS, _MAP_32BIT = 3, 0x22, 0x40
_MMAP: Final = {arch: "mmap2" if arch.is_compat else "mmap" for arch in Arch}
_HEAD: Final = 16


class _Region:
    """Memory of a tracee that is ours to write: a head of random bytes, then ``room`` bytes."""

    def __init__(self, address: int, room: int, magic: bytes, user: int) -> None:
        self.address, self.room, self.magic, self.user = address, room, magic, user
        self.next = 0  # where the next strings go: those of the last call may still be needed


class Rewriter:
    """Rewrites calls, and knows those that will come back.

    Attributes:
        let_pass: continues a call that a captive makes for us, should a hook trap it.
    """

    def __init__(self) -> None:
        self.let_pass: Callable[[int], None] = lambda tid: None
        self.expected: dict[int, tuple[int, tuple[int, ...], float]] = {}
        """Thread id to the (number, registers) that a rewritten call will be notified with."""
        self._regions: OrderedDict[int, list[_Region]] = OrderedDict()

    def is_expected(self, tid: int, nr: int, args: list[int]) -> bool:
        """Is this the rewritten call, coming back? Asked once; it must then be continued."""
        number, registers, until = self.expected[tid]
        if time.monotonic() > until:
            del self.expected[tid]
        elif number == nr and all(a == b for a, b in zip(registers, args, strict=False)):
            del self.expected[tid]
            return True
        return False

    def forget(self) -> None:
        """Expect no longer what has not come back in time."""
        if not self.expected:
            return
        now = time.monotonic()
        for tid in [tid for tid, (_, _, until) in self.expected.items() if now > until]:
            del self.expected[tid]

    def rewrite(
        self, live: Live, call: Syscall, otherwise: int, trapped: Mapping[int, Container[int]]
    ) -> str | None:
        """Make the thread run ``call``. None: done; else why not, and the call still waits or, if
        that was found too late, fails with ``otherwise``.

        Args:
            live: the notification; answered here.
            call: what shall run, of the same architecture.
            otherwise: an errno.
            trapped: architecture to the numbers that are trapped. ``call``, if it is, will be
                notified again.

        Raises:
            Vanished: the tracee died, or its call was restarted.
            TypeError: ``call`` has a value that no register can hold.
        """
        arch = Arch(call.arch)
        if arch is not live.call.arch:
            return f"a call of {Arch(live.call.arch).name} can't become one of {arch.name}"
        number = number_of(type(call), arch)
        if number is None:
            return f"{type(call).__name__} does not exist on {arch.name}"
        trial = _Strings(0)
        call.encode(trial.place)  # it raises now or never, and tells how much room it needs
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
                try:
                    address = self.region(captive, len(trial.data)) if trial.data else 0
                    strings = _Strings(address)
                    args = call.encode(strings.place)
                    if strings.data:
                        memory.write(live.tid, address, bytes(strings.data))
                except ProcessLookupError:
                    raise
                except OSError as error:  # no memory there
                    registers = captive.registers()
                    registers.set_result(-otherwise)
                    registers.store()
                    return f"no memory for its strings: {error.strerror}"
                registers = captive.registers()
                registers.restart_with(number, args)
                registers.store()
            except (ProcessLookupError, CannotStop):
                raise Vanished from None
            if number in trapped.get(arch, ()):
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
        """The address of at least ``size`` bytes of the captive's memory that are ours to use,
        until 16 KiB more were asked for by the same thread.
        """
        owner = _memory_owner(captive.tid)
        regions = self._regions.setdefault(owner, [])
        self._regions.move_to_end(owner)
        regions[:] = [r for r in regions if _holds(captive.tid, r.address, r.magic)]
        for region in regions:
            if region.room >= size and (region.user == captive.tid or not _uses(region, owner)):
                break
        else:
            length = max(REGION, size + _HEAD + 0xFFF & ~0xFFF)
            regions.append(region := _map(captive, length, self.let_pass))
        while len(self._regions) > PROCESSES:
            self._regions.popitem(last=False)
        region.user = captive.tid
        if region.next + size > region.room:
            region.next = 0
        at = region.next
        region.next = at + size + 15 & ~15
        return region.address + _HEAD + at


def _map(captive: Captive, length: int, let_pass: Callable[[int], None]) -> _Region:
    mode = captive.registers().mode
    flags = _MAP_PRIVATE_ANONYMOUS
    if captive.arch is Arch.I386 and mode is not Arch.I386:
        flags |= _MAP_32BIT  # int 0x80 in a 64-bit program: its call has 32-bit pointers
    with Injection(captive, let_pass) as inside:
        address = inside.syscall(_MMAP[mode], 0, length, _PROT_READ_WRITE, flags, (1 << 64) - 1, 0)
    if -4096 < address < 0:
        raise OSError(-address, os.strerror(-address))
    if mode is Arch.I386:
        address &= 0xFFFF_FFFF
    magic = os.urandom(_HEAD)
    memory.write(captive.tid, address, magic)
    return _Region(address, length - _HEAD, magic, captive.tid)


class _Strings:
    """What a call's pointers point at, one after the other from an address on."""

    def __init__(self, address: int) -> None:
        self.address = address
        self.data = bytearray()

    def place(self, data: bytes) -> int:
        self.data += bytes(-len(self.data) % 16)
        at = self.address + len(self.data)
        self.data += data
        return at


def _memory_owner(tid: int) -> int:
    """The process whose memory a thread runs in: its own, or a vfork child's waiting parent."""
    with open(f"/proc/{tid}/status", "rb", 0) as status:
        lines = dict(line.split(b":\t", 1) for line in status.read().splitlines())
    process, parent = int(lines[b"Tgid"]), int(lines[b"PPid"])
    return parent if parent and unsafe.same_memory(process, parent) else process


def _uses(region: _Region, owner: int) -> bool:
    """May the thread that used this region last have a call that still needs it?"""
    user = region.user
    return os.path.exists(f"/proc/{owner}/task/{user}") or unsafe.same_memory(user, owner)


def _holds(tid: int, address: int, magic: bytes) -> bool:
    try:
        return memory.read(tid, address, len(magic)) == magic
    except (BadAddress, Vanished):
        return False
