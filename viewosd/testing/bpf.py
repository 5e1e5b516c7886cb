"""Runs a seccomp filter without installing it: which call is trapped, and at what cost.

    program = compile_filter(traps_of([HookSpec(ioctl, {"request": BLKGETSIZE})]))
    assert trapped(program, "ioctl", Arch.X86_64, (3, BLKGETSIZE))

Takes what the kernel takes and refuses what it refuses, for the kernel's reasons.
Source: kernel/seccomp.c:seccomp_check_filter(); net/core/filter.c:bpf_check_classic(),
check_load_and_stores(), bpf_convert_filter().
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from ..abi.arch import NATIVE, Arch
from ..abi.bpf import (
    BPF_A,
    BPF_ABS,
    BPF_ADD,
    BPF_ALU,
    BPF_AND,
    BPF_DIV,
    BPF_IMM,
    BPF_JA,
    BPF_JEQ,
    BPF_JGE,
    BPF_JGT,
    BPF_JMP,
    BPF_JSET,
    BPF_K,
    BPF_LD,
    BPF_LDX,
    BPF_LEN,
    BPF_LSH,
    BPF_MAXINSNS,
    BPF_MEM,
    BPF_MISC,
    BPF_MUL,
    BPF_NEG,
    BPF_OR,
    BPF_RET,
    BPF_RSH,
    BPF_ST,
    BPF_STX,
    BPF_SUB,
    BPF_TAX,
    BPF_TXA,
    BPF_W,
    BPF_X,
    BPF_XOR,
)
from ..abi.seccomp import SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF
from ..abi.sysno import SYSNO

BPF_MEMWORDS: Final = 16
"""Words of scratch memory. Source: include/uapi/linux/filter.h."""

_DATA: Final = struct.Struct("<IIQ6Q")
"""struct seccomp_data, include/uapi/linux/seccomp.h."""
_LINE: Final = struct.Struct("<HBBI")
_WORD: Final = struct.Struct("<I")
_32: Final = 0xFFFF_FFFF
_64: Final = 0xFFFF_FFFF_FFFF_FFFF

_OPERATORS: Final[dict[int, Callable[[int, int], int]]] = {
    BPF_ADD: lambda a, v: a + v,
    BPF_SUB: lambda a, v: a - v,
    BPF_MUL: lambda a, v: a * v,
    BPF_DIV: lambda a, v: a // v,
    BPF_OR: lambda a, v: a | v,
    BPF_AND: lambda a, v: a & v,
    BPF_XOR: lambda a, v: a ^ v,
    # The shift count is masked, as the converted program does it (kernel/bpf/core.c, Linux 5.13).
    BPF_LSH: lambda a, v: a << (v & 31),
    BPF_RSH: lambda a, v: a >> (v & 31),
}
_COMPARISONS: Final[dict[int, Callable[[int, int], bool]]] = {
    BPF_JEQ: lambda a, v: a == v,
    BPF_JGT: lambda a, v: a > v,
    BPF_JGE: lambda a, v: a >= v,
    BPF_JSET: lambda a, v: bool(a & v),
}
_ALU: Final = {BPF_ALU | op | src for op in _OPERATORS for src in (BPF_K, BPF_X)}
_JUMPS: Final = {BPF_JMP | op | src for op in _COMPARISONS for src in (BPF_K, BPF_X)}
_LOAD: Final = BPF_LD | BPF_W | BPF_ABS
_ACCEPTED: Final = frozenset(
    _ALU
    | _JUMPS
    | {_LOAD, BPF_LD | BPF_W | BPF_LEN, BPF_LDX | BPF_W | BPF_LEN, BPF_LD | BPF_IMM}
    | {BPF_LDX | BPF_IMM, BPF_LD | BPF_MEM, BPF_LDX | BPF_MEM, BPF_ST, BPF_STX}
    | {BPF_ALU | BPF_NEG, BPF_JMP | BPF_JA, BPF_MISC | BPF_TAX, BPF_MISC | BPF_TXA}
    | {BPF_RET | BPF_K, BPF_RET | BPF_A}
)


class Rejected(ValueError):
    """The kernel would not take this program (EINVAL)."""


class Line(NamedTuple):
    """One struct sock_filter."""

    code: int
    jt: int
    jf: int
    k: int


class Outcome(NamedTuple):
    """What a program said, and after how many instructions."""

    action: int
    steps: int


def run(program: bytes, nr: int, arch: int, args: Sequence[int] = (0,) * 6, ip: int = 0) -> int:
    """The action (SECCOMP_RET_* with its data) for one call.

    Args:
        program: an array of struct sock_filter, as `compile_filter` makes it.
        nr: the number; negative and x32 ones too.
        arch: AUDIT_ARCH_*, also one that is not in `Arch`.
        args: up to six raw registers, taken modulo 2**64.
        ip: the instruction pointer.

    Raises:
        Rejected: the kernel would not take the program.
    """
    return _execute(program, nr, arch, args, ip).action


def steps(program: bytes, nr: int, arch: int, args: Sequence[int] = (0,) * 6, ip: int = 0) -> int:
    """How many instructions the program runs for one call; arguments as of `run`."""
    return _execute(program, nr, arch, args, ip).steps


def trapped(program: bytes, name: str, arch: Arch = NATIVE, args: Sequence[int] = ()) -> bool:
    """Does the call notify the supervisor? ``name`` as in the kernel's table for ``arch``."""
    return run(program, SYSNO[arch][name], arch, args) == SECCOMP_RET_USER_NOTIF


def always_allowed(program: bytes, nr: int, arch: int) -> bool:
    """Would the kernel skip the program for this call, whatever its arguments?

    Source: kernel/seccomp.c:seccomp_is_const_allow(), Linux 5.11. Such a call costs nothing.
    """
    lines, pc, a = parse(program), 0, 0
    while True:
        code, jt, jf, k = lines[pc]
        pc += 1
        if code == _LOAD and k in (0, 4):
            a = (nr & _32) if k == 0 else arch
        elif code == BPF_RET | BPF_K:
            return k == SECCOMP_RET_ALLOW
        elif code == BPF_JMP | BPF_JA:
            pc += k
        elif code in _JUMPS and not code & BPF_X:
            pc += jt if _COMPARISONS[code & 0xF0](a, k) else jf
        elif code == BPF_ALU | BPF_AND | BPF_K:
            a &= k
        else:
            return False


@lru_cache(maxsize=32)
def parse(program: bytes) -> tuple[Line, ...]:
    """The instructions of a program that the kernel takes.

    Raises:
        Rejected: it does not, and why.
    """
    if len(program) % _LINE.size:
        raise Rejected(f"{len(program)} bytes are no array of struct sock_filter")
    lines = tuple(Line(*fields) for fields in _LINE.iter_unpack(program))
    if not 0 < len(lines) <= BPF_MAXINSNS:
        raise Rejected(f"{len(lines)} instructions, 1 to {BPF_MAXINSNS} are taken")
    for pc, line in enumerate(lines):
        if fault := _fault(line, len(lines) - pc - 1):
            raise Rejected(f"instruction {pc}, {line}: {fault}")
    if lines[-1].code not in (BPF_RET | BPF_K, BPF_RET | BPF_A):
        raise Rejected("the last instruction is no return")
    _check_scratch(lines)
    return lines


def _fault(line: Line, after: int) -> str:
    """What is wrong with a line that ``after`` lines follow; "" if nothing."""
    code, jt, jf, k = line
    if code not in _ACCEPTED:
        return "no such opcode in a seccomp filter"
    if code == _LOAD and (k >= _DATA.size or k % 4):
        return "a load must be aligned and within struct seccomp_data"
    if code == BPF_ALU | BPF_DIV | BPF_K and k == 0:
        return "division by zero"
    if code in (BPF_ALU | BPF_LSH | BPF_K, BPF_ALU | BPF_RSH | BPF_K) and k >= 32:
        return "shift by more than 31"
    if code in _SCRATCH and k >= BPF_MEMWORDS:
        return "no such scratch word"
    if code == BPF_JMP | BPF_JA and k >= after:
        return "jump beyond the end"
    if code in _JUMPS and max(jt, jf) >= after:
        return "jump beyond the end"
    return ""


_SCRATCH: Final = {BPF_LD | BPF_MEM, BPF_LDX | BPF_MEM, BPF_ST, BPF_STX}


def _check_scratch(lines: tuple[Line, ...]) -> None:
    """Refuse a load of a scratch word that some way there did not store."""
    valid, on_entry = 0, [0xFFFF] * len(lines)
    for pc, (code, jt, jf, k) in enumerate(lines):
        valid &= on_entry[pc]
        if code in (BPF_ST, BPF_STX):
            valid |= 1 << k
        elif code in _SCRATCH and not valid >> k & 1:
            raise Rejected(f"instruction {pc} loads M[{k}], which was not stored")
        elif code & 0x07 == BPF_JMP:
            for target in (k,) if code == BPF_JMP | BPF_JA else (jt, jf):
                on_entry[pc + 1 + target] &= valid
            valid = 0xFFFF


def _execute(program: bytes, nr: int, arch: int, args: Sequence[int], ip: int) -> Outcome:
    lines = parse(program)
    registers = [value & _64 for value in (*args, *(0,) * 6)[:6]]
    data = _DATA.pack(nr & _32, arch, ip & _64, *registers)
    a = x = pc = count = 0
    scratch = [0] * BPF_MEMWORDS
    while True:
        code, jt, jf, k = lines[pc]
        pc, count = pc + 1, count + 1
        kind, value = code & 0x07, x if code & BPF_X else k
        if kind == BPF_LD:
            a = _loaded(code, k, data, scratch)
        elif kind == BPF_LDX:
            x = _loaded(code, k, data, scratch)
        elif kind == BPF_ST:
            scratch[k] = a
        elif kind == BPF_STX:
            scratch[k] = x
        elif code == BPF_ALU | BPF_NEG:
            a = -a & _32
        elif kind == BPF_ALU:
            if code & 0xF0 == BPF_DIV and value == 0:
                return Outcome(0, count)  # bpf_convert_filter(): the program returns 0
            a = _OPERATORS[code & 0xF0](a, value) & _32
        elif code == BPF_JMP | BPF_JA:
            pc += k
        elif kind == BPF_JMP:
            pc += jt if _COMPARISONS[code & 0xF0](a, value) else jf
        elif kind == BPF_RET:
            return Outcome(a if code & 0x18 == BPF_A else k, count)
        elif code == BPF_MISC | BPF_TAX:
            x = a
        else:
            a = x


def _loaded(code: int, k: int, data: bytes, scratch: list[int]) -> int:
    mode = code & 0xE0
    if mode == BPF_ABS:
        return int(_WORD.unpack_from(data, k)[0])
    if mode == BPF_MEM:
        return scratch[k]
    return _DATA.size if mode == BPF_LEN else k
