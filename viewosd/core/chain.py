"""How much room a filter takes in the kernel's chain of filters, which has an end.

Source: kernel/seccomp.c:seccomp_attach_filter() (MAX_INSNS_PER_PATH, and 4 for each filter below),
net/core/filter.c:bpf_convert_filter().
"""

from __future__ import annotations

from struct import Struct
from typing import Final

ROOM: Final = (1 << 18) // 8
"""Instructions, of all filters of a task together."""
EACH: Final = 4
_INSTRUCTION: Final = Struct("=HBBI")
_CLASS, _JMP, _RET, _JA, _X = 7, 5, 6, 0x00, 0x08
_PROLOGUE: Final = 3


def room_for(bytecode: bytes) -> int:
    """Instructions that a program, an array of struct sock_filter, counts for."""
    count = _PROLOGUE + EACH
    for code, if_true, if_false, operand in _INSTRUCTION.iter_unpack(bytecode):
        count += 1
        if code & _CLASS == _RET:
            count += 1
        elif code & _CLASS == _JMP and code & 0xF0 != _JA:
            count += not code & _X and operand >> 31  # it does not fit a signed immediate
            count += if_true != 0 and if_false != 0
    return count
