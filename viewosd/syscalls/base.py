"""The declarative table: one class per system call, one annotation per register.

Rule 1: an annotation is a register, in the kernel's order; a plain class attribute is a value
        that the call implies (``creat`` implies ``flags``).
Rule 2: a family (``family=True``) has no registers: its annotations are promises that every
        member keeps one way or the other, checked when the class is made. Hooking a family hooks
        every member.
Rule 3: nothing here reads memory, or knows a number (`numbers` does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import get_annotations
from typing import Any, ClassVar, Final, Self, get_type_hints

from ..abi.arch import NATIVE, Arch
from . import kinds
from .kinds import Kind, Long, Uid, Value, kind_of

TABLE: dict[str, type[Syscall]] = {}
"""System call name to class: every call that can be hooked."""

_I386: Final = Arch.I386
_AARCH64: Final = Arch.AARCH64
_ZEROS: Final = (0,) * 6

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
        what = f"{type(call).__name__}.{self.name}"
        raise AttributeError(f"{what}: a call can't be changed, use replace()")


_KINDS = {n: k for n, k in vars(kinds).items() if isinstance(k, type) and issubclass(k, Kind)}
_SHARED: dict[tuple[str, int, type[Kind]], _Register] = {}


def _kinds(cls: type, hints: Mapping[str, Any]) -> tuple[type[Kind], ...]:
    """The kinds of a class's registers, read off the text of its annotations.

    ``Out[stat]`` is `Out`; what the structure is called is for type checkers and readers, so this
    package imports no structure. (typing.get_type_hints() for every call: 60 ms of each start.)
    """
    found = [_KINDS.get(str(hint).partition("[")[0]) for hint in hints.values()]
    if None not in found:
        return tuple(kind for kind in found if kind)
    real = get_type_hints(cls)  # a kind of a service's own, or annotations that are no text
    return tuple(kind_of(real[name]) for name in hints)


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
    aarch64: ClassVar[tuple[str, ...] | None] = None
    """Register order of an aarch64 program where it differs from x86_64's."""
    uid16: ClassVar[bool] = False
    """An i386 program passes ids of 16 bits, 0xFFFF meaning -1 (kernel/uid16.c)."""

    promises: ClassVar[frozenset[str]] = frozenset()
    """What every member of a family has, as a register or implied; a call has its families'."""

    def __init_subclass__(cls, *, family: bool = False) -> None:
        own = {n: h for n, h in get_annotations(cls).items() if "ClassVar" not in str(h)}
        if family:
            cls.promises = cls.promises.union(own)
            return
        if len(own) > 6:
            raise TypeError(f"{cls.__name__}: a system call has at most six arguments")
        if broken := [n for n in cls.promises if n not in own and not hasattr(cls, n)]:
            raise TypeError(f"{cls.__name__} breaks its family's promise: {sorted(broken)}")
        cls.registers = tuple(own)
        cls.kinds = _kinds(cls, own)
        for index, (name, kind) in enumerate(zip(own, cls.kinds, strict=True)):
            key = name, index, kind
            if key not in _SHARED:
                _SHARED[key] = _Register(name, index, kind.from_register)
            setattr(cls, name, _SHARED[key])
        TABLE[cls.__name__] = cls

    @classmethod
    def order(cls, arch: Arch) -> tuple[str, ...]:
        """The registers in the order in which a program of ``arch`` passes them."""
        other = cls.compat if arch.is_compat else cls.aarch64 if arch is Arch.AARCH64 else None
        return cls.registers if other is None else other

    def __init__(
        self, args: tuple[int, ...], arch: Arch = NATIVE, values: dict[str, Value] | None = None
    ) -> None:
        self.args, self.arch, self.values = args, arch, values

    @classmethod
    def decode(cls, args: tuple[int, ...], arch: Arch = NATIVE) -> Self:
        """Make the call from the six raw registers of a program of ``arch``.

        An i386 program's ``long`` and 16-bit ids are widened as the kernel's entry widens them.
        """
        if arch is not _I386 and (cls.aarch64 is None or arch is not _AARCH64):
            return cls(args, arch)
        order, rest = cls.order(arch), args[len(cls.order(arch)) :]
        if order is not cls.registers:
            slots = dict(zip(order, args, strict=False))
            args = tuple(
                slots[n] if n in slots else slots.get(n + ":lo", 0) | slots.get(n + ":hi", 0) << 32
                for n in cls.registers
            )
        if arch is _I386:
            args = tuple(
                _widened(raw, kind, cls.uid16) if name in order else raw
                for raw, name, kind in zip(args, cls.registers, cls.kinds, strict=False)
            )
        return cls((*args[: len(cls.registers)], *rest, *_ZEROS)[:6], arch)

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
        out = []
        for slot in self.order(self.arch):
            name, _, half = slot.partition(":")
            whole = regs.get(name, 0)
            out.append(whole >> 32 if half == "hi" else whole)
        mask = (1 << 8 * self.arch.pointer_size) - 1
        out += self.args[len(self.registers) :]
        return tuple(value & mask for value in (*out, *_ZEROS)[:6])

    def __repr__(self) -> str:
        shown = {n: getattr(self, n) for n in self.registers} | (self.values or {})
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in shown.items())})"


def _widened(raw: int, kind: type[Kind], uid16: bool) -> int:
    """A register of an i386 program, as wide as a native one."""
    if issubclass(kind, Long):
        return raw | 0xFFFF_FFFF_0000_0000 if raw & 0x8000_0000 else raw
    if uid16 and issubclass(kind, Uid):
        return 0xFFFF_FFFF if raw & 0xFFFF == 0xFFFF else raw & 0xFFFF
    return raw


def _encode(value: Value, place: Place, arch: Arch) -> int:
    if isinstance(value, int):
        return value & (1 << 64) - 1
    if isinstance(value, bytes):
        return place(value + b"\0")
    if isinstance(value, list | tuple):
        addresses = [place(item + b"\0") for item in value] + [0]
        return place(b"".join(a.to_bytes(arch.pointer_size, "little") for a in addresses))
    return place(value.pack())


def members(family: type[Syscall]) -> dict[str, type[Syscall]]:
    """Name to class of every call that hooking ``family`` hooks; of a call: itself."""
    return {name: call for name, call in TABLE.items() if issubclass(call, family)}
