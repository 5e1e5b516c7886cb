"""What is inside i386's ipc(2): sub-call to class, and how to decode it.

Its registers are ``call, first, second, third, ptr, fifth``; the lower 16 bits of the first say
what is meant, the upper 16 which edition of it. Older libcs for i386 know no other door. What they
ask of a `semctl`, `msgctl` or `shmctl` carries IPC_64, which the calls of their own number imply;
it is taken off, for hooks to compare ``cmd`` with what linux/ipc.h calls it.

Source: ipc/syscall.c, compat_ksys_ipc(); include/uapi/linux/ipc.h, SEMOP and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..abi.arch import Arch
from .base import Syscall
from .ipc import (
    msgctl,
    msgget,
    msgrcv,
    msgsnd,
    semctl,
    semget,
    semop,
    semtimedop,
    shmat,
    shmctl,
    shmdt,
    shmget,
)

IPC: Final[dict[int, type[Syscall]]] = {
    1: semop,
    2: semget,
    3: semctl,
    4: semtimedop,
    11: msgsnd,
    12: msgrcv,
    13: msgget,
    14: msgctl,
    21: shmat,
    22: shmdt,
    23: shmget,
    24: shmctl,
}
"""The lower half of ipc(2)'s first register to the call that it means."""

_IPC_64: Final = 0x100
_SECOND_EDITION: Final = 1


def decode_ipc(args: tuple[int, ...], word: Callable[[int], int]) -> tuple[Syscall, int] | None:
    """The call inside, and the address where its result goes, or 0: it is returned.

    Args:
        args: the six registers.
        word: reads 32 bits at an address of the caller's memory; what it raises is passed on.

    Returns:
        None: there is no such sub-call (the kernel says EINVAL).
    """
    number, edition = args[0] & 0xFFFF, args[0] >> 16 & 0xFFFF
    first, second, third, ptr, fifth = (value & 0xFFFF_FFFF for value in args[1:])
    where = 0
    match number:
        case 1:
            given: tuple[int, ...] = first, ptr, second
        case 4:
            given = first, ptr, second, fifth
        case 3 if ptr:  # its fourth is a union, passed by address
            given = first, second, third & ~_IPC_64, word(ptr)
        case 11:
            given = first, ptr, second, third
        case 12 if edition:
            given = first, ptr, second, fifth, third
        case 12 if ptr:  # the first edition: its two last are a structure (struct ipc_kludge)
            given = first, word(ptr), second, word(ptr + 4), third
        case 13:
            given = first, second
        case 14 | 24:
            given = first, second & ~_IPC_64, ptr
        case 21 if edition != _SECOND_EDITION:
            given, where = (first, ptr, second), third
        case 22:
            given = (ptr,)
        case 2 | 23:
            given = first, second, third
        case _:
            return None
    return IPC[number].decode((*given, *(0,) * (6 - len(given))), Arch.I386), where
