"""The seccomp filter of a view, compiled from what its services trap.

A call that no hook asks for meets nothing but loads of ``nr`` and ``arch``, so the kernel finds out
at installation that it is always allowed, and never runs the program for it
(kernel/seccomp.c:seccomp_is_const_allow(), Linux 5.11).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import Final

from ..abi.arch import SUPPORTED, X32_SYSCALL_BIT, Arch
from ..abi.bpf import BPF_MAXINSNS
from ..abi.seccomp import SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF
from ..abi.sysno import SYSNO
from .bpf import Label, Program, runs_of
from .traps import FilterError as FilterError
from .traps import Term as Term
from .traps import Traps as Traps
from .traps import covers as covers
from .traps import simplified
from .traps import traps_of as traps_of
from .traps import union as union


def compile_filter(traps: Traps, *, refuse: Iterable[str] = ()) -> bytes:
    """The program that notifies of all that ``traps`` names and allows the rest.

    Args:
        traps: architectures of `SUPPORTED` that it lacks are there all the same, with no trap.
        refuse: names of calls that get ENOSYS, also where they are trapped.

    Returns:
        An array of struct sock_filter, for seccomp(2). Unknown architectures and x32 get ENOSYS.

    Raises:
        FilterError: the program would be longer than the kernel takes; no architecture has a call
            that shall be refused.
    """
    names = set(refuse)
    arches = list(dict.fromkeys((*SUPPORTED, *traps)))
    if unknown := names - {name for arch in arches for name in SYSNO[arch]}:
        raise FilterError(f"no such system call: {', '.join(sorted(unknown))}")
    program = Program()
    # Back to front: the first architecture's part ends up next to the program's beginning.
    parts = {
        arch: _part(program, arch, traps.get(arch, {}), {SYSNO[arch].get(name) for name in names})
        for arch in reversed(arches)
    }
    label = program.ret(SECCOMP_RET_ERRNO | errno.ENOSYS)
    for arch in reversed(arches):
        label = program.equal(arch, parts[arch], label)
    program.load(_ARCH, label)
    if len(program) > BPF_MAXINSNS:
        raise FilterError(
            f"the filter has {len(program)} instructions, the kernel takes {BPF_MAXINSNS}: "
            "fewer services, or conditions with fewer values"
        )
    return program.assemble()


# Offsets in struct seccomp_data (include/uapi/linux/seccomp.h). `Arch` is little-endian throughout.
_NR: Final = 0
_ARCH: Final = 4
_ARGS: Final = 16
_32: Final = 0xFFFF_FFFF


def _part(
    program: Program,
    arch: Arch,
    traps: Mapping[int, tuple[Term, ...]],
    refused: set[int | None],
) -> Label:
    """Everything about one architecture; starts by loading the number."""
    tested: dict[int, Label] = {}
    always: list[int] = []
    for number, terms in traps.items():
        simple = simplified(terms)
        if Term() in simple:
            always.append(number)
        elif simple:
            tested[number] = _any(program, simple)
    # Taken once, after all that was just written: neighbouring numbers then share a label.
    notify = program.ret(SECCOMP_RET_USER_NOTIF)
    enosys = program.ret(SECCOMP_RET_ERRNO | errno.ENOSYS)
    allow = program.ret(SECCOMP_RET_ALLOW)
    targets = tested | dict.fromkeys(always, notify)
    runs = runs_of(targets | {n: enosys for n in refused if n is not None})
    if arch is Arch.X86_64:
        # -1 is not x32: a tracer wrote it to have the call skipped, with a result of its own.
        runs.append((X32_SYSCALL_BIT, 0xFFFF_FFFE, enosys))
    return program.load(_NR, program.search(runs, allow))


def _any(program: Program, terms: tuple[Term, ...]) -> Label:
    notify, no = program.ret(SECCOMP_RET_USER_NOTIF), program.ret(SECCOMP_RET_ALLOW)
    for term in reversed(terms):
        yes = notify
        for index, mask, values in reversed(term.tests):
            yes = _test(program, index, mask, values, yes, no)
        no = yes
    return no


def _test(
    program: Program, index: int, mask: int, values: frozenset[int], yes: Label, no: Label
) -> Label:
    low, high = _ARGS + 8 * index, _ARGS + 8 * index + 4
    if not mask >> 32:
        return _half(program, low, mask, dict.fromkeys(values, yes), no)
    lows: dict[int, dict[int, Label]] = {}
    for value in values:
        lows.setdefault(value >> 32, {})[value & _32] = yes
    highs = {
        half: _half(program, low, mask & _32, targets, no) for half, targets in sorted(lows.items())
    }
    return _half(program, high, mask >> 32, highs, no)


def _half(
    program: Program, offset: int, mask: int, targets: Mapping[int, Label], no: Label
) -> Label:
    found = program.search(runs_of(targets), no)
    return program.load(offset, found if mask == _32 else program.mask(mask, found))
