"""Writes a classic BPF program back to front.

Classic BPF only jumps forward, so whoever starts with the last instruction knows every target
before the jump to it is written: no labels to resolve, no second pass. A conditional jump reaches
255 instructions; where that is not enough an unconditional one (32 bits) or a copy of the return
is put in right behind it.

Source: Documentation/networking/filter.rst; net/core/filter.c:bpf_check_classic().
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ..abi.bpf import (
    BPF_ABS,
    BPF_ALU,
    BPF_AND,
    BPF_JA,
    BPF_JEQ,
    BPF_JGE,
    BPF_JGT,
    BPF_JMP,
    BPF_K,
    BPF_LD,
    BPF_RET,
    BPF_W,
    sock_filter,
)

Label = int
"""An instruction, by its distance from the program's end."""

Run = tuple[int, int, Label]
"""Where values from the first to the second, both included, go."""

_REACH: Final = 254
"""A jump's 255, less the one instruction that the other side of it may need in between."""


class Program:
    """A program that grows towards its beginning."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []  # last instruction first
        self._returns: dict[int, Label] = {}  # action to the nearest return of it

    def __len__(self) -> int:
        return len(self._code)

    def assemble(self) -> bytes:
        """The program as seccomp(2) takes it: an array of struct sock_filter."""
        return b"".join(sock_filter(*line).pack() for line in reversed(self._code))

    def ret(self, action: int) -> Label:
        """End with ``action``. An earlier return of the same is used where it is in reach."""
        known = self._returns.get(action)
        if known is None or not self._near(known):
            known = self._returns[action] = self._emit(BPF_RET | BPF_K, action)
        return known

    def load(self, offset: int, then: Label) -> Label:
        """A = the 32-bit word at ``offset`` of struct seccomp_data; go on at ``then``."""
        self._follow(then)
        return self._emit(BPF_LD | BPF_W | BPF_ABS, offset)

    def mask(self, bits: int, then: Label) -> Label:
        """A &= ``bits``; go on at ``then``."""
        self._follow(then)
        return self._emit(BPF_ALU | BPF_AND | BPF_K, bits)

    def equal(self, value: int, yes: Label, no: Label) -> Label:
        """A == ``value`` ? ``yes`` : ``no``."""
        return self._branch(BPF_JEQ, value, yes, no)

    def search(self, runs: Sequence[Run], no: Label) -> Label:
        """Binary search for A in ``runs``, ascending and disjoint; ``no`` where none has it."""
        if not runs:
            return no
        if len(runs) > 1:
            middle = len(runs) // 2
            above = self.search(runs[middle:], no)
            below = self.search(runs[:middle], no)
            return self._branch(BPF_JGE, runs[middle][0], above, below)
        first, last, yes = runs[0]
        if first == last:
            return self.equal(first, yes, no)
        return self._branch(BPF_JGE, first, self._branch(BPF_JGT, last, no, yes), no)

    def _branch(self, op: int, value: int, yes: Label, no: Label) -> Label:
        if yes == no:
            return yes
        yes, no = self._reachable(yes), self._reachable(no)
        here = len(self._code) - 1
        return self._emit(BPF_JMP | op | BPF_K, value, here - yes, here - no)

    def _follow(self, label: Label) -> None:
        """Make ``label`` what runs after the instruction that is written next."""
        if label != len(self._code) - 1:
            self._jump(label)

    def _jump(self, label: Label) -> Label:
        return self._emit(BPF_JMP | BPF_JA, len(self._code) - 1 - label)

    def _reachable(self, label: Label) -> Label:
        if self._near(label):
            return label
        code, _, _, k = self._code[label]
        if code == BPF_RET | BPF_K:
            return self.ret(k)
        return self._jump(label)

    def _near(self, label: Label) -> bool:
        return len(self._code) - 1 - label <= _REACH

    def _emit(self, code: int, k: int, jt: int = 0, jf: int = 0) -> Label:
        self._code.append((code, jt, jf, k))
        return len(self._code) - 1


def runs_of(targets: Mapping[int, Label]) -> list[Run]:
    """Values to labels, with neighbours that go the same way put together."""
    runs: list[Run] = []
    for value in sorted(targets):
        if runs and runs[-1][1:] == (value - 1, targets[value]):
            runs[-1] = (runs[-1][0], value, targets[value])
        else:
            runs.append((value, value, targets[value]))
    return runs
