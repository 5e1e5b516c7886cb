"""What one argument register can mean.

A kind is the Python type a service sees; ``from_register`` makes it from the raw unsigned 64-bit
register, and drops what the kernel drops: an ``int`` is the low 32 bits, whatever lies above them
(CVE-2019-7303 is a filter that forgot this). Pointers stay pointers: a kind never reads memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar

if TYPE_CHECKING:
    from ..abi.layout import Struct

S = TypeVar("S", bound="Struct")


class Kind(int):
    """Anything that can be made from one argument register.

    ``width`` is how many low bits the kernel looks at: a condition compares just those.
    """

    width = 64

    @classmethod
    def from_register(cls, raw: int) -> Self:
        return cls(raw)


class Int(Kind):
    """C ``int``: the low 32 bits, signed."""

    width = 32

    @classmethod
    def from_register(cls, raw: int) -> Self:
        low = raw & 0xFFFF_FFFF
        return cls(low - 0x1_0000_0000 if low & 0x8000_0000 else low)


class UInt(Kind):
    """C ``unsigned int``: the low 32 bits."""

    width = 32

    @classmethod
    def from_register(cls, raw: int) -> Self:
        return cls(raw & 0xFFFF_FFFF)


class Fd(Int):
    """A descriptor in the tracee's table, not ours."""


class DirFd(Fd):
    """A directory descriptor, or AT_FDCWD (-100)."""


class Pid(Int):
    """A process, thread or process group id, in the tracee's pid namespace."""


class Uid(UInt):
    """``uid_t`` or ``gid_t``; 0xFFFFFFFF is -1, "leave as it is"."""


class Mode(Kind):
    """``umode_t``: 16 bits."""

    width = 16

    @classmethod
    def from_register(cls, raw: int) -> Self:
        return cls(raw & 0xFFFF)


class Flags(UInt):
    """A set of bits, 32 of them."""


class Long(Kind):
    """C ``long``: signed, as wide as a pointer."""

    @classmethod
    def from_register(cls, raw: int) -> Self:
        return cls(raw - (1 << 64) if raw >> 63 else raw)


class ULong(Kind):
    """C ``unsigned long``."""


class Size(ULong):
    """``size_t``, in bytes."""


class Offset(Long):
    """``loff_t``, in bytes."""


class Ptr(Kind):
    """An address in the tracee. 0 is NULL."""


class CStr(Ptr):
    """``const char *``, NUL-terminated; as a path at most PATH_MAX (4096) bytes with the NUL."""


class StrArray(Ptr):
    """``const char *const *``, NULL-terminated: argv and envp."""


class Buffer(Ptr):
    """Bytes, whose length another register says."""


class In(Ptr, Generic[S]):
    """A structure that the kernel would read."""


class Out(Ptr, Generic[S]):
    """A structure that the kernel would fill, and we may fill instead."""


class InOut(Ptr, Generic[S]):
    """A structure that the kernel would read and fill."""


Value: TypeAlias = "int | bytes | Struct | list[bytes] | tuple[bytes, ...]"
"""What `Syscall.replace` takes for a register: a number, or what a pointer shall point at."""


def kind_of(hint: Any) -> type[Kind]:
    """The kind that an annotation names: ``Out[stat]`` is `Out`."""
    kind = getattr(hint, "__origin__", hint)
    if not (isinstance(kind, type) and issubclass(kind, Kind)):
        raise TypeError(f"{hint!r} is not a register kind")
    return kind
