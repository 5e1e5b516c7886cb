"""Traps as plain lists, for the state that a successor reads."""

from __future__ import annotations

from typing import Any

from ..abi.arch import Arch
from ..core.traps import Term, Traps


def to_text(traps: Traps) -> list[Any]:
    """[[architecture, [[number, [[[register, mask, values], …], …]], …]], …]"""
    return [
        [
            int(arch),
            [
                [number, [[[i, m, sorted(v)] for i, m, v in term.tests] for term in terms]]
                for number, terms in numbers.items()
            ],
        ]
        for arch, numbers in traps.items()
    ]


def from_text(text: list[Any]) -> Traps:
    """What `to_text` was given."""
    return {
        Arch(arch): {
            number: tuple(Term(tuple((i, m, frozenset(v)) for i, m, v in tests)) for tests in terms)
            for number, terms in numbers
        }
        for arch, numbers in text
    }
