"""What a view traps: call numbers, and the register values on which it does.

A condition on a register is tested at the width at which the kernel looks at that register: who
compares 64 bits of an ``int`` is passed by anyone who sets the upper half (CVE-2019-7303). Traps
may be wider than the hooks ask for, never narrower: the supervisor looks at every condition again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

from ..abi.arch import SUPPORTED, Arch
from ..abi.sysno import SYSNO
from ..errors import ServiceError
from ..service import Bits, Condition, HookSpec, Under
from ..syscalls.base import Syscall, members
from ..syscalls.ipccall import IPC
from ..syscalls.kinds import Uid
from ..syscalls.numbers import number_of
from ..syscalls.socketcall import SOCKETCALL

_16: Final = 0xFFFF
_32: Final = 0xFFFF_FFFF

Test = tuple[int, int, frozenset[int]]
"""A register's index in the program's own order; a mask of its bits that count; the values of these
bits that pass."""


@dataclass(frozen=True, slots=True)
class Term:
    """One way to be trapped: every test holds. Without tests it always holds."""

    tests: tuple[Test, ...] = ()


Traps = Mapping[Arch, Mapping[int, tuple[Term, ...]]]
"""Architecture to call number to the terms of which any one traps the call."""


class FilterError(ServiceError):
    """The hooks can't be made a filter; the text names the call or the figure in the way."""


def traps_of(specs: Iterable[HookSpec], arches: Iterable[Arch] = SUPPORTED) -> Traps:
    """What the hooks ``specs`` need trapped, on each of ``arches``.

    Conditions that a register can't tell (`Under`) are left to the supervisor. A call that an
    architecture does not have is left out there.

    Raises:
        FilterError: a hook on a call that is never trapped, or on a value that its register can't
            hold.
    """
    found: dict[Arch, dict[int, list[Term]]] = {arch: {} for arch in arches}
    for spec in specs:
        for name, call in members(spec.call).items():
            for arch, numbers in found.items():
                terms = _terms(call, spec.conditions, arch)
                if terms and (why := never_trapped(name, conditional=Term() not in terms)):
                    raise FilterError(f"{name} can't be hooked: {why}")
                if (number := number_of(call, arch)) is not None:
                    numbers.setdefault(number, []).extend(terms)
                if arch is Arch.I386 and terms:
                    for number, inside in _inside(call):
                        numbers.setdefault(number, []).append(inside)
    return union({a: {n: tuple(terms) for n, terms in ns.items()} for a, ns in found.items()})


# A trapped call waits, until the supervisor has received it, in a way that any signal may end: a
# handler without SA_RESTART then makes it fail with EINTR though it did not run. Who calls one of
# these can't handle that, for the kernel never says it.
_EINTR: Final = "a signal would make it fail with EINTR, which its callers can't handle"
_NEVER: Final = (
    # A closed descriptor stays open, a child is not made, a lock is thought to be held.
    (r"close|close_range|dup|dup2|dup3|fork|vfork|clone|clone3|futex.*", _EINTR),
    # Shells give up a pipeline (dash: "Pipe call failed"), which loses a process meanwhile.
    (r"pipe|pipe2", _EINTR),
    (r"exit|exit_group|restart_syscall", "it must not wait: it can't be asked again"),
    # Not signalfd, which makes a descriptor, nor rt_sigqueueinfo, which is a kill.
    (r"rt_sig(?!queueinfo).*|sig(action|altstack|nal|pending|procmask|return|suspend)", _EINTR),
    (r"nanosleep", _EINTR),
    # glibc's brk(3) takes the errno for an address; malloc(3) is out of memory without the others;
    # the dynamic linker ends the program: elf/dl-load.c, elf/dl-reloc.c.
    (r"brk|munmap|mremap|(pkey_)?mprotect|old_mmap", _EINTR),
    # A thread's first calls. glibc takes the errno for its thread's id; without its thread pointer
    # a program ends; a robust mutex is not one any more: sysdeps/nptl/dl-tls_init_tp.c.
    (r"set_tid_address|set_thread_area|set_robust_list|rseq", _EINTR),
)
_ONLY_IN_PART: Final = (
    (r"clock_nanosleep(_time64)?", "flags, clockid"),
    (r"mmap2?", "prot, flags, fd"),
    (r"arch_prctl", "code"),
    (r"fcntl(64)?", "cmd"),  # F_DUPFD is a dup, and F_SETFD is in every start of a program
)
"""Calls of which one use is of the kind above and others are not; and what tells them apart."""


def never_trapped(name: str, *, conditional: bool = False) -> str:
    """Why the call ``name`` must not be trapped; "" if it may be.

    ``conditional``: its registers decide, so that the ordinary use of it stays untrapped.
    """
    for pattern, why in _NEVER:
        if re.fullmatch(pattern, name):
            return why
    for pattern, registers in _ONLY_IN_PART:
        if re.fullmatch(pattern, name) and not conditional:
            return f"{_EINTR}; with a condition on a register ({registers}) it can"
    return ""


def _inside(call: type[Syscall]) -> Iterator[tuple[int, Term]]:
    """What traps ``call`` inside i386's socketcall(2) and ipc(2), whatever its arguments.

    They lie in memory, where BPF can't look, or in another order.
    """
    for door, calls, mask in (("socketcall", SOCKETCALL, _32), ("ipc", IPC, _16)):
        if numbers := frozenset(number for number, inner in calls.items() if inner is call):
            yield SYSNO[Arch.I386][door], Term(((0, mask, numbers),))


def _terms(call: type[Syscall], conditions: Mapping[str, Condition], arch: Arch) -> list[Term]:
    """The terms of one hook on one call; none if it can't ever hold."""
    alternatives: list[tuple[Test, ...]] = [()]
    for name, condition in conditions.items():
        if isinstance(condition, Under):
            continue
        if name not in call.registers:  # implied by the call, so decided here
            ways: list[tuple[Test, ...]] = [()] if fulfils(condition, getattr(call, name)) else []
        elif isinstance(condition, Bits):
            ways = _bits(call, name, condition.mask, arch)
        else:
            values = {condition} if isinstance(condition, int) else set(condition)
            ways = _ways(call, name, values, arch)
        alternatives = [(*a, *b) for a in alternatives for b in ways]
    return [Term(tuple(sorted(tests, key=lambda test: test[:2]))) for tests in alternatives]


def fulfils(condition: Condition, value: int) -> bool:
    """Does a value that is known when the hook is looked at fulfil a register condition?"""
    if isinstance(condition, Bits):
        return bool(value & condition.mask)
    if isinstance(condition, int):
        return value == condition
    return not isinstance(condition, Under) and value in condition


def _bits(call: type[Syscall], name: str, mask: int, arch: Arch) -> list[tuple[Test, ...]]:
    """One test for each bit, of which any one suffices."""
    width = call.kinds[call.registers.index(name)].width
    if mask >= 1 << width:
        raise FilterError(f"{call.__name__}: {name}=Bits({mask:#x}) does not fit {width} bits")
    slots = call.order(arch)
    found: list[tuple[Test, ...]] = []
    for bit in (1 << i for i in range(width) if mask >> i & 1):
        slot, here = name, bit
        if name + ":lo" in slots:
            slot, here = (name + ":hi", bit >> 32) if bit > _32 else (name + ":lo", bit)
        if slot in slots and not (arch.is_compat and here > _32):
            found.append(((slots.index(slot), here, frozenset({here})),))
    return found


def _ways(call: type[Syscall], name: str, values: set[int], arch: Arch) -> list[tuple[Test, ...]]:
    """The tests, any one group of which says that the register holds one of ``values``."""
    kind = call.kinds[call.registers.index(name)]
    width = kind.width
    mask = (1 << width) - 1
    for value in values:
        if not -(1 << width - 1) <= value < 1 << width:
            raise FilterError(f"{call.__name__}: {name}={value:#x} does not fit {width} bits")
    slots = call.order(arch)
    if name + ":lo" in slots:
        low, high = slots.index(name + ":lo"), slots.index(name + ":hi")
        halves: dict[int, set[int]] = {}
        for value in values:
            halves.setdefault(value >> 32 & _32, set()).add(value & _32)
        return [
            ((low, _32, frozenset(lows)), (high, _32, frozenset({half})))
            for half, lows in halves.items()
        ]
    if name not in slots:  # this architecture does not pass it: it reads as 0
        return [()] if 0 in values else []
    if arch.is_compat and call.uid16 and issubclass(kind, Uid):
        # The kernel makes 0xFFFF -1 and leaves the others as they are (kernel/uid16.c).
        mask, values = _16, {v & _32 for v in values if v & _32 < _16 or v & _32 == _32}
    elif arch.is_compat and width == 64:
        # An i386 call has half the bits; what needs more it can't ask for. A 64-bit program that
        # does int 0x80 shows its upper halves to seccomp nevertheless, so they aren't looked at.
        mask, values = _32, {value for value in values if -(1 << 31) <= value < 1 << 32}
    passing = frozenset(value & mask for value in values)
    return [((slots.index(name), mask, passing),)] if passing else []


def union(*traps: Traps) -> Traps:
    """What traps all that any of ``traps`` does."""
    out: dict[Arch, dict[int, tuple[Term, ...]]] = {}
    for one in traps:
        for arch, numbers in one.items():
            into = out.setdefault(arch, {})
            for number, terms in numbers.items():
                if together := simplified((*into.get(number, ()), *terms)):
                    into[number] = together
    return out


def covers(wide: Traps, narrow: Traps) -> bool:
    """Does ``wide`` trap all that ``narrow`` does? If so, nothing need be installed for it.

    True is certain. False may be said of a ``narrow`` that only several terms of ``wide`` together
    cover: the processes are then re-armed without need.
    """
    return all(
        _within(point, wide.get(arch, {}).get(number, ()))
        for arch, numbers in narrow.items()
        for number, terms in numbers.items()
        for term in terms
        for point in _points(term)
    )


def simplified(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The same in fewer terms; those that differ in the last test's values alone become one."""
    merged: dict[tuple[tuple[Test, ...], int, int], frozenset[int]] = {}
    for term in terms:
        if not term.tests:
            return (Term(),)
        *rest, (index, mask, values) = term.tests
        key = tuple(rest), index, mask
        merged[key] = merged.get(key, frozenset()) | values
    return tuple(
        Term((*rest, (index, mask, values)))
        for (rest, index, mask), values in merged.items()
        if values and all(test[2] for test in rest)
    )


def _points(term: Term) -> Iterator[list[tuple[int, int, int]]]:
    """Every combination of values that passes: (register, mask, value) per test."""
    for values in product(*(sorted(test[2]) for test in term.tests)):
        yield [(i, m, v) for (i, m, _), v in zip(term.tests, values, strict=True)]


def _within(point: list[tuple[int, int, int]], terms: tuple[Term, ...]) -> bool:
    return any(
        all(
            any(i == index and not mask & ~m and v & mask in passing for i, m, v in point)
            for index, mask, passing in term.tests
        )
        for term in terms
    )
