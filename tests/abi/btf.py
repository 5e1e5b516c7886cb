"""Read structures from the kernel's own type information (BTF).

Source: Documentation/bpf/btf.rst; include/uapi/linux/btf.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

VMLINUX = Path("/sys/kernel/btf/vmlinux")

_STRUCT, _UNION, _ENUM, _FUNC_PROTO, _VAR, _DATASEC, _DECL_TAG, _ENUM64 = (
    4,
    5,
    6,
    13,
    14,
    15,
    17,
    19,
)
_ARRAY, _INT, _PTR = 3, 1, 2
_ALIASES = {8, 9, 10, 11, 18}  # typedef, volatile, const, restrict, type tag
_TAIL = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
_TAIL_EACH = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}


@dataclass(frozen=True)
class Record:
    """One structure: its size and where its named members lie, in bytes."""

    size: int
    members: dict[str, int]


@cache
def records() -> dict[str, list[Record]]:
    """Every named structure or union. A name may stand for several (``struct stat`` of drivers)."""
    raw = VMLINUX.read_bytes()
    _, _, _, head, type_off, type_len, str_off, str_len = struct.unpack_from("<HBBIIIII", raw)
    strings = raw[head + str_off : head + str_off + str_len]
    at, end = head + type_off, head + type_off + type_len
    bodies: dict[int, tuple[int, list[tuple[str, int, int]]]] = {}
    names: list[tuple[str, int]] = []
    alias: dict[int, int] = {}
    number = 0
    while at < end:
        number += 1
        name_off, info, size = struct.unpack_from("<III", raw, at)
        at += 12
        kind, count, flagged = info >> 24 & 0x1F, info & 0xFFFF, info >> 31
        name = strings[name_off : strings.index(b"\0", name_off)].decode() if name_off else ""
        if kind in (_STRUCT, _UNION):
            found = []
            for m_name, m_type, m_off in struct.iter_unpack("<III", raw[at : at + 12 * count]):
                bits = m_off & 0xFFFFFF if flagged else m_off
                text = strings[m_name : strings.index(b"\0", m_name)].decode() if m_name else ""
                found.append((text, m_type, bits // 8))
            bodies[number] = (size, found)
            if name:
                names.append((name, number))
        elif kind in _ALIASES:
            alias[number] = size
            if kind == 8 and name:
                names.append((name, number))
        at += _TAIL.get(kind, 0) + _TAIL_EACH.get(kind, 0) * count

    def resolve(wanted: int) -> int:
        while wanted in alias:
            wanted = alias[wanted]
        return wanted

    def flat(which: int, base: int) -> dict[str, int]:
        out: dict[str, int] = {}
        for text, kind, offset in bodies[which][1]:
            inner = resolve(kind)
            if text:
                out.setdefault(text, base + offset)
            elif inner in bodies:
                out |= flat(inner, base + offset)
            if text and inner in bodies:
                for deep, where in flat(inner, base + offset).items():
                    out.setdefault(f"{text}.{deep}", where)
        return out

    table: dict[str, list[Record]] = {}
    for name, which in names:
        target = resolve(which)
        if target in bodies:
            table.setdefault(name, []).append(Record(bodies[target][0], flat(target, 0)))
    return table
