"""Describe a kernel structure once; pack it, unpack it, and check its size.

Rules: pure (no I/O, no clock, nothing else of ours). A structure's fields are annotations whose
metadata is a `struct` format; its C ``sizeof`` is written beside its name and checked at import,
so a wrong field is an ImportError and not a silent corruption of somebody's memory. There are more
than a hundred, and most programs use a few: what only an object needs is made with the first one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from inspect import get_annotations
from typing import Annotated, Any, ClassVar, Self, dataclass_transform, get_type_hints

u8 = Annotated[int, "B"]
s8 = Annotated[int, "b"]
u16 = Annotated[int, "H"]
s16 = Annotated[int, "h"]
u32 = Annotated[int, "I"]
s32 = Annotated[int, "i"]
u64 = Annotated[int, "Q"]
s64 = Annotated[int, "q"]

# What nearly every field is, by the text of its annotation: nothing needs to be evaluated then.
_FORMATS = {
    "u8": "B", "s8": "b", "u16": "H", "s16": "h", "u32": "I", "s32": "i", "u64": "Q", "s64": "q",
}  # fmt: skip


@dataclass_transform(frozen_default=True)
class Struct:
    """Base of every kernel structure.

    ``size`` is the C ``sizeof`` in bytes. Fields are padded as this machine's C compiler pads
    them; ``packed=True`` does not pad at all: for a structure that is packed, or belongs to
    another ABI (an i386 program on x86_64). Padding that must be written out, and reserved bytes,
    go into the format of the field before them: ``Annotated[int, "I4x"]``.
    """

    sizeof: ClassVar[int]
    compat: ClassVar[type[Struct] | None] = None
    """The same structure as an i386 program lays it out, where that differs."""
    _fields: ClassVar[tuple[str, ...]]
    _codec: ClassVar[struct.Struct]

    def __init_subclass__(cls, *, size: int, packed: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        formats = _formats(cls)
        cls._fields, body = tuple(formats), "".join(formats.values())
        if cls.__doc__ is None:  # dataclass() would take the constructor's signature apart for it
            cls.__doc__ = f"{cls.__name__}({', '.join(formats)})"
        order = "=" if packed else "@"
        # The trailing "0Q"-style alignment C adds at the end is asked for only when it is there.
        codec = struct.Struct(order + body)
        if not packed and codec.size < size:
            if size - codec.size > 7:
                raise TypeError(f"{cls.__name__}: more tail padding than C would add")
            codec = struct.Struct(order + body + f"{size - codec.size}x")
        cls._codec = codec
        cls.sizeof = codec.size
        if cls.sizeof != size:
            raise TypeError(f"{cls.__name__}: {cls.sizeof} bytes, the kernel says {size}")

    def __init__(self, *values: Any, **named: Any) -> None:
        _complete(type(self))
        self.__init__(*values, **named)  # type: ignore[misc]  # the class has its own by now

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, f) == getattr(other, f) for f in self._fields)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, f) for f in self._fields))

    def __repr__(self) -> str:
        shown = ", ".join(f"{f}={getattr(self, f)!r}" for f in self._fields)
        return f"{type(self).__name__}({shown})"

    @classmethod
    def unpack(cls, raw: bytes | bytearray | memoryview) -> Self:
        """Make the structure from exactly ``sizeof`` bytes."""
        return cls(*cls._codec.unpack(raw))

    @classmethod
    def codec(cls) -> struct.Struct:
        """The fields alone, in order: for hot paths, where making an object costs too much."""
        return cls._codec

    def pack(self) -> bytes:
        """The structure as the kernel lays it out, ``sizeof`` bytes."""
        return self._codec.pack(*(getattr(self, f) for f in self._fields))


def _formats(cls: type[Struct]) -> dict[str, str]:
    """The `struct` format of every field, in order."""
    notes = get_annotations(cls)
    known = {name: _FORMATS.get(note) for name, note in notes.items() if type(note) is str}
    if len(known) == len(notes) and None not in known.values():
        return {name: format for name, format in known.items() if format}
    hints = get_type_hints(cls, include_extras=True)
    return {n: hints[n].__metadata__[0] for n in notes if hasattr(hints[n], "__metadata__")}


def _complete(cls: type[Struct]) -> None:
    """Give a class its constructor. Comparing and printing are the same for all."""
    dataclass(frozen=True, eq=False, repr=False)(cls)
