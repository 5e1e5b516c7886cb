"""How an ioctl number is made. Source: include/uapi/asm-generic/ioctl.h; ioctl(2).

The same on x86 and arm64. Old commands (tty, block, socket) are bare numbers and follow no rule.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# fmt: off
IOC_NONE:  Final = 0
IOC_WRITE: Final = 1  # user space writes: the kernel reads the argument
IOC_READ:  Final = 2

IOC_NRBITS:   Final = 8
IOC_TYPEBITS: Final = 8
IOC_SIZEBITS: Final = 14
IOC_DIRBITS:  Final = 2
# fmt: on

_TYPESHIFT: Final = IOC_NRBITS
_SIZESHIFT: Final = _TYPESHIFT + IOC_TYPEBITS
_DIRSHIFT: Final = _SIZESHIFT + IOC_SIZEBITS


class Command(NamedTuple):
    """The four parts of an ioctl number; ``size`` is the argument's, in bytes."""

    dir: int
    type: int
    nr: int
    size: int


def encode(dir: int, type: int | str, nr: int, size: int) -> int:
    """_IOC(dir, type, nr, size); ``type`` may be the letter.

    Raises:
        ValueError: a part does not fit.
    """
    letter = ord(type) if isinstance(type, str) else type
    parts = ((dir, IOC_DIRBITS), (letter, IOC_TYPEBITS), (nr, IOC_NRBITS), (size, IOC_SIZEBITS))
    if any(not 0 <= part < 1 << bits for part, bits in parts):
        raise ValueError(f"_IOC({dir}, {type!r}, {nr}, {size}) does not fit in 32 bits")
    return dir << _DIRSHIFT | size << _SIZESHIFT | letter << _TYPESHIFT | nr


def decode(number: int) -> Command:
    """Take an ioctl number apart; only the low 32 bits count, as in the kernel."""
    return Command(
        dir=number >> _DIRSHIFT & (1 << IOC_DIRBITS) - 1,
        type=number >> _TYPESHIFT & (1 << IOC_TYPEBITS) - 1,
        nr=number & (1 << IOC_NRBITS) - 1,
        size=number >> _SIZESHIFT & (1 << IOC_SIZEBITS) - 1,
    )


def IO(type: int | str, nr: int) -> int:
    """_IO(type, nr): no argument, or one by value."""
    return encode(IOC_NONE, type, nr, 0)


def IOR(type: int | str, nr: int, size: int) -> int:
    """_IOR(type, nr, T) with ``size`` = sizeof(T): the kernel fills it."""
    return encode(IOC_READ, type, nr, size)


def IOW(type: int | str, nr: int, size: int) -> int:
    """_IOW(type, nr, T) with ``size`` = sizeof(T): the kernel reads it."""
    return encode(IOC_WRITE, type, nr, size)


def IOWR(type: int | str, nr: int, size: int) -> int:
    """_IOWR(type, nr, T) with ``size`` = sizeof(T): both."""
    return encode(IOC_READ | IOC_WRITE, type, nr, size)
