"""A call as an object: decode, look, replace, encode."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

import viewosd.syscalls as calls
from viewosd.abi.arch import NATIVE, Arch
from viewosd.abi.uio import iovec
from viewosd.syscalls import TABLE, Syscall, kinds
from viewosd.syscalls.kinds import DirFd, Fd, Flags, Int, Long, Mode, Offset, Ptr, Uid

u64 = st.integers(0, (1 << 64) - 1)
u32 = st.integers(0, (1 << 32) - 1)
GARBAGE = 0xDEAD_BEEF_0000_0000
any_call = st.sampled_from(list(TABLE.values()))
every_call = pytest.mark.parametrize("call", TABLE.values(), ids=list(TABLE))


def nowhere(_: bytes) -> int:
    raise AssertionError("nothing is to be placed")


class Memory:
    """A tracee's scratch memory."""

    def __init__(self) -> None:
        self.at: dict[int, bytes] = {}

    def place(self, data: bytes) -> int:
        address = 0x1000 + 0x100 * len(self.at)
        self.at[address] = data
        return address


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (Fd, GARBAGE | 3, 3),
        (DirFd, GARBAGE | 0xFFFF_FF9C, -100),
        (Int, GARBAGE | 0xFFFF_FFFF, -1),
        (Flags, GARBAGE | 0x8000_0000, 0x8000_0000),
        (Uid, GARBAGE | 0xFFFF_FFFF, 0xFFFF_FFFF),
        (Mode, GARBAGE | 0x1_01A4, 0o644),
        (Long, 0xFFFF_FFFF_FFFF_FFFF, -1),
        (Offset, GARBAGE, GARBAGE - (1 << 64)),
        (Ptr, GARBAGE, GARBAGE),
    ],
)
def test_a_kind_drops_what_the_kernel_drops(kind: type[kinds.Kind], raw: int, value: int) -> None:
    assert kind.from_register(raw) == value
    assert isinstance(kind.from_register(raw), kind)


@every_call
def test_garbage_above_32_bits_changes_no_int(call: type[Syscall]) -> None:
    clean = call.decode((0x1234_5678,) * 6)
    dirty = call.decode((GARBAGE | 0x1234_5678,) * 6)
    for name, kind in zip(call.registers, call.kinds, strict=True):
        if kind.width <= 32:
            assert getattr(clean, name) == getattr(dirty, name)


@given(call=any_call, args=st.tuples(*[u64] * 6))
def test_a_native_call_goes_out_as_it_came_in(call: type[Syscall], args: tuple[int, ...]) -> None:
    assert call.decode(args, NATIVE).encode(nowhere) == args


@given(call=any_call, args=st.tuples(*[u32] * 6))
def test_an_i386_call_goes_out_as_it_came_in(call: type[Syscall], args: tuple[int, ...]) -> None:
    if call.uid16:  # what is above 16 bits is dropped
        args = tuple(value & 0x7FFF for value in args)
    order = call.order(Arch.I386)
    args = tuple(0 if order[i : i + 1] == ("_",) else value for i, value in enumerate(args))
    assert call.decode(args, Arch.I386).encode(nowhere) == args


@given(call=any_call, args=st.tuples(*[u64] * 6))
def test_an_aarch64_call_goes_out_as_it_came_in(call: type[Syscall], args: tuple[int, ...]) -> None:
    assert call.decode(args, Arch.AARCH64).encode(nowhere) == args


@every_call
def test_a_call_prints_its_registers_by_name(call: type[Syscall]) -> None:
    shown = repr(call.decode((7,) * 6))
    assert shown.startswith(f"{call.__name__}(")
    assert all(f"{name}=7" in shown for name in call.registers)


@every_call
def test_every_register_can_be_replaced_and_none_assigned(call: type[Syscall]) -> None:
    for index, name in enumerate(call.registers):
        changed = call.decode((0,) * 6).replace(**{name: 5}).encode(nowhere)
        assert changed[index] == 5
        assert sum(changed) == 5
        with pytest.raises(AttributeError, match="use replace"):
            setattr(call.decode((0,) * 6), name, 5)


def test_an_unknown_register_is_refused() -> None:
    with pytest.raises(TypeError, match="openat has no register pathname"):
        calls.openat.make(pathname=b"/")


def test_pointers_are_placed_in_the_tracee() -> None:
    memory = Memory()
    args = calls.execve.make(path=b"/bin/sh", argv=[b"sh", b"-c"], envp=[]).encode(memory.place)
    assert memory.at[args[0]] == b"/bin/sh\0"
    pointers = memory.at[args[1]]
    first, second, end = (int.from_bytes(pointers[i : i + 8], "little") for i in (0, 8, 16))
    assert (memory.at[first], memory.at[second], end) == (b"sh\0", b"-c\0", 0)
    assert memory.at[args[2]] == bytes(8)


def test_an_i386_argv_has_pointers_of_4_bytes() -> None:
    memory = Memory()
    args = calls.execve.make(Arch.I386, argv=[b"sh"]).encode(memory.place)
    assert len(memory.at[args[1]]) == 8


def test_a_structure_is_placed_as_it_packs() -> None:
    memory = Memory()
    args = calls.readv.make(vec=iovec(1, 2), vlen=1).encode(memory.place)
    assert memory.at[args[1]] == iovec(1, 2).pack()


@pytest.mark.parametrize(
    ("call", "order"),
    [
        (calls.pread64, ("fd", "buf", "count", "pos:lo", "pos:hi")),
        (calls.pwrite64, ("fd", "buf", "count", "pos:lo", "pos:hi")),
        (calls.readahead, ("fd", "offset:lo", "offset:hi", "count")),
        (calls.truncate64, ("path", "length:lo", "length:hi")),
        (calls.ftruncate64, ("fd", "length:lo", "length:hi")),
        (calls.fadvise64, ("fd", "offset:lo", "offset:hi", "len", "advice")),
        (calls.fadvise64_64, ("fd", "offset:lo", "offset:hi", "len:lo", "len:hi", "advice")),
        (calls.fallocate, ("fd", "mode", "offset:lo", "offset:hi", "len:lo", "len:hi")),
        (
            calls.sync_file_range,
            ("fd", "offset:lo", "offset:hi", "nbytes:lo", "nbytes:hi", "flags"),
        ),
        (calls.fanotify_mark, ("fanotify_fd", "flags", "mask:lo", "mask:hi", "dirfd", "path")),
        (calls.clone, ("clone_flags", "newsp", "parent_tidptr", "tls", "child_tidptr")),
    ],
)
def test_an_i386_program_passes_64_bits_in_two_registers(
    call: type[Syscall], order: tuple[str, ...]
) -> None:
    """Source: arch/x86/entry/syscalls/syscall_32.tbl and arch/x86/kernel/sys_ia32.c."""
    assert call.order(Arch.I386) == order
    assert call.order(Arch.X86_64) == call.registers


def test_only_those_calls_have_another_order() -> None:
    other = {n for n, c in TABLE.items() if c.compat}
    assert other == {
        *("pread64", "pwrite64", "readahead", "truncate64", "ftruncate64", "fadvise64"),
        *("fadvise64_64", "fallocate", "sync_file_range", "fanotify_mark", "clone"),
    }
    assert {n for n, c in TABLE.items() if c.aarch64} == {"clone"}


def test_the_halves_of_an_offset_are_put_together() -> None:
    call = calls.pread64.decode((3, 0x1000, 10, 0xFFFF_FFFF, 0xFFFF_FFFF, 77), Arch.I386)
    assert (call.fd, call.count, call.pos) == (3, 10, -1)
    assert call.replace(pos=-2).encode(nowhere) == (3, 0x1000, 10, 0xFFFF_FFFE, 0xFFFF_FFFF, 77)
    assert call.replace(pos=5 << 32 | 4).encode(nowhere)[3:5] == (4, 5)


def test_a_32_bit_long_keeps_its_sign() -> None:
    call = calls.lseek.decode((3, 0xFFFF_FFFF, 1, 0, 0, 0), Arch.I386)
    assert call.offset == -1
    assert call.encode(nowhere)[1] == 0xFFFF_FFFF
    assert calls.lseek.decode((3, 0xFFFF_FFFF, 1, 0, 0, 0)).offset == 0xFFFF_FFFF


def test_clone_has_its_last_arguments_the_other_way_round_off_x86_64() -> None:
    for arch in (Arch.I386, Arch.AARCH64):
        call = calls.clone.decode((1, 2, 3, 4, 5, 6), arch)
        assert (call.tls, call.child_tidptr) == (4, 5)
    assert calls.clone.decode((1, 2, 3, 4, 5, 6), Arch.X86_64).tls == 5


def test_an_i386_program_without_32_in_the_name_passes_16_bit_ids() -> None:
    args = (0, 0x1_FFFF, 0x1_0005, 0, 0, 0)
    old = calls.chown.decode(args, Arch.I386)
    assert (old.user, old.group) == (0xFFFF_FFFF, 5)
    assert old.flags == 0
    new = calls.chown32.decode(args, Arch.I386)
    assert (new.user, new.group) == (0x1_FFFF, 0x1_0005)
    native = calls.chown.decode(args, Arch.X86_64)
    assert (native.user, native.group) == (0x1_FFFF, 0x1_0005)


def test_a_service_may_have_a_kind_of_its_own() -> None:
    try:
        made = type("odd", (Syscall,), {"__annotations__": {"a": kinds.Fd, "b": kinds.Out[iovec]}})
        assert made.kinds == (kinds.Fd, kinds.Out)
        with pytest.raises(TypeError, match="not a register kind"):
            type("bad", (Syscall,), {"__annotations__": {"a": int}})
        with pytest.raises(TypeError, match="at most six"):
            type("long", (Syscall,), {"__annotations__": dict.fromkeys("abcdefg", kinds.Int)})
    finally:
        TABLE.pop("odd", None)


def test_the_table_takes_no_structure_with_it() -> None:
    """Importing the structures costs more than the whole table."""
    assert not [
        n for n, v in vars(inspect.getmodule(calls.stat)).items() if n.startswith("struct_")
    ]
