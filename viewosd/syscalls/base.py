"""The declarative table: one class per system call, one annotation per register.

Rule 1: an annotation is a register, in the kernel's order; a plain class attribute is a value
        that the call implies (``creat`` implies ``flags``).
Rule 2: a family (``family=True``) has no registers: its annotations are promises that every
        member keeps one way or the other, checked when the class is made. Hooking a family hooks
        every member.
Rule 3: nothing here reads memory, or knows a number.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import get_annotations
from typing import Any, ClassVar, Self, get_type_hints

from ..abi.arch import NATIVE, Arch
from .kinds import Kind, Value, kind_of

TABLE: dict[str, type[Syscall]] = {}
"""System call name to class: every call that can be hooked."""

Place = Callable[[bytes], int]
"""Puts bytes where the tracee can read them; returns their address there."""


class _Register:
    """Decodes one register when it is looked at: most hooks look at one or two of six."""

    __slots__ = ("index", "make", "name")

    def __init__(self, name: str, index: int, make: Callable[[int], Kind]) -> None:
        self.name, self.index, self.make = name, index, make

    def __get__(self, call: Syscall | None, owner: type[Syscall]) -> Any:
        return self if call is None else self.make(call.args[self.index])

    def __set__(self, call: Syscall, value: object) -> None:
        raise AttributeError(f"{type(call).__name__}.{self.name}: a call can't be changed, use replace()")


class Syscall:
    """Base of every decoded call.

    Attributes:
        args: the six registers, raw and unsigned, in the native order of the call's registers.
        arch: what the calling program runs as.
    """

    __slots__ = ("arch", "args", "values")

    registers: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[tuple[type[Kind], ...]] = ()
    compat: ClassVar[tuple[str, ...] | None] = None
    """Register order of an i386 program where it differs: names of `registers`, with ``name:lo``
    and ``name:hi`` for the halves of a 64-bit value and ``_`` for padding."""

    def __init_subclass__(cls, *, family: bool = False) -> None:
        own = get_annotations(cls)
        own = {n: h for n, h in own.items() if "ClassVar" not in str(h)}
        if family:
            return
        if len(own) > 6:
            raise TypeError(f"{cls.__name__}: a system call has at most six arguments")
        families = [base for base in cls.__mro__[1:] if issubclass(base, Syscall) and base is not Syscall]
        promised = {n for base in families for n in get_annotations(base)}
        if broken := {n for n in promised if n not in own and not hasattr(cls, n)}:
            raise TypeError(f"{cls.__name__} breaks its family's promise: {sorted(broken)}")
        hints = get_type_hints(cls)
        cls.registers = tuple(own)
        cls.kinds = tuple(kind_of(hints[n]) for n in own)
        for index, (name, kind) in enumerate(zip(cls.registers, cls.kinds, strict=True)):
            setattr(cls, name, _Register(name, index, kind.from_register))
        TABLE[cls.__name__] = cls

    def __init__(
        self, args: tuple[int, ...], arch: Arch = NATIVE, values: dict[str, Value] | None = None
    ) -> None:
        self.args, self.arch, self.values = args, arch, values

    @classmethod
    def decode(cls, args: tuple[int, ...], arch: Arch = NATIVE) -> Self:
        """Make the call from the six raw registers of a program of ``arch``."""
        if cls.compat is not None and arch.is_compat:
            halves = dict(zip(cls.compat, args, strict=False))
            args = tuple(
                halves[n] if n in halves else halves.get(n + ":lo", 0) | halves.get(n + ":hi", 0) << 32
                for n in cls.registers
            )
        return cls(args, arch)

    @classmethod
    def make(cls, arch: Arch = NATIVE, **values: Value) -> Self:
        """A call from scratch, for `Rewrite`; registers that are not named are 0."""
        return cls((0,) * 6, arch).replace(**values)

    def replace(self, **values: Value) -> Self:
        """The same call with some registers changed, for `Rewrite`.

        A pointer register takes bytes (a NUL is added), a Struct, or a list of bytes (an argv).

        Raises:
            TypeError: the call has no such register.
        """
        if unknown := values.keys() - set(self.registers):
            raise TypeError(f"{type(self).__name__} has no register {', '.join(sorted(unknown))}")
        return type(self)(self.args, self.arch, {**(self.values or {}), **values})

    def encode(self, place: Place) -> tuple[int, ...]:
        """The six raw registers to run this call with, in ``arch``'s own order.

        ``place`` is called for what pointers shall point at.
        """
        regs = dict(zip(self.registers, self.args, strict=False))
        for name, value in (self.values or {}).items():
            regs[name] = _encode(value, place, self.arch)
        if self.compat is None or not self.arch.is_compat:
            out = list(regs.values())
        else:
            out = []
            for slot in self.compat:
                name, _, half = slot.partition(":")
                whole = regs.get(name, 0)
                out.append(whole >> 32 if half == "hi" else whole & 0xFFFF_FFFF)
        return tuple(out + list(self.args[len(out) :]) + [0] * 6)[:6]

    def __repr__(self) -> str:
        shown = {n: getattr(self, n) for n in self.registers} | (self.values or {})
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in shown.items())})"


def _encode(value: Value, place: Place, arch: Arch) -> int:
    if isinstance(value, int):
        return value & (1 << 8 * arch.pointer_size) - 1 if value < 0 else value
    if isinstance(value, bytes):
        return place(value + b"\0")
    if isinstance(value, list | tuple):
        addresses = [place(item + b"\0") for item in value] + [0]
        return place(b"".join(a.to_bytes(arch.pointer_size, "little") for a in addresses))
    return place(value.pack())


def members(family: type[Syscall]) -> dict[str, type[Syscall]]:
    """Name to class of every call that hooking ``family`` hooks; of a call: itself."""
    return {name: call for name, call in TABLE.items() if issubclass(call, family)}
