"""Every structure, against the kernel that runs here (BTF) and against itself."""

from __future__ import annotations

import importlib
import os
import pkgutil
import struct
from dataclasses import FrozenInstanceError, is_dataclass
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

import viewosd.abi
from abi.btf import VMLINUX, records
from viewosd.abi.arch import NATIVE, Arch
from viewosd.abi.layout import Struct, u8, u16, u32, u64

# Our name: the kernel's.
KERNEL_NAME = {
    "timespec": "__kernel_timespec",
    "timeval": "__kernel_old_timeval",
    "itimerspec": "__kernel_itimerspec",
    "itimerspec64": "__kernel_itimerspec",
    "itimerval": "__kernel_old_itimerval",
    "timex": "__kernel_timex",
    "timex64": "__kernel_timex",
    "old_kernel_stat": "__old_kernel_stat",
    "x86_64_stat": "stat",
    "x86_epoll_event": "epoll_event",
    "msghdr": "user_msghdr",
    "cap_user_header": "__user_cap_header_struct",
    "cap_user_data": "__user_cap_data_struct",
    "ptrace_syscall_info_entry": "ptrace_syscall_info",
    "ptrace_syscall_info_exit": "ptrace_syscall_info",
    "sel_arg_struct": "compat_sel_arg_struct",
    "sigset_argpack32": "compat_sigset_argpack",
}
# Layouts that no BTF of this kernel holds, and why.
NOT_IN_BTF = {
    "aarch64_stat": "another architecture",
    "aarch64_epoll_event": "another architecture",
    "user_pt_regs": "another architecture",
    "fuse_rename_in": "the kernel sends the beginning of fuse_rename2_in",
}
# Fields that stand for a piece of an array or have another name: (structure, field) -> (member, +bytes).
ELSEWHERE = {
    **{
        (s, f"arg{i}"): ("args", 8 * i) for i in range(6) for s in ("seccomp_data", "seccomp_notif")
    },
    **{("ptrace_syscall_info_entry", f"arg{i}"): ("entry_args", 8 * i) for i in range(6)},
    ("ptrace_syscall_info_entry", "ret_data"): ("seccomp_ret_data", 0),
    **{("sysinfo", f"loads_{m}"): ("loads", 8 * i) for i, m in enumerate((1, 5, 15))},
    **{("compat_sysinfo", f"loads_{m}"): ("loads", 4 * i) for i, m in enumerate((1, 5, 15))},
    ("stat64", "st_ino_low"): ("__st_ino", 0),
}


def all_structures() -> list[type[Struct]]:
    found = []
    for info in pkgutil.iter_modules(viewosd.abi.__path__):
        module = importlib.import_module(f"viewosd.abi.{info.name}")
        found += [
            obj
            for obj in vars(module).values()
            if isinstance(obj, type)
            and issubclass(obj, Struct)
            and obj is not Struct
            and obj.__module__ == module.__name__
        ]
    return sorted(set(found), key=lambda s: s.__name__)


OLDER = tuple(int(n) for n in os.uname().release.split(".")[:2]) < (6, 18)
STRUCTURES = all_structures()
by_name = pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.__name__)


def offsets(structure: type[Struct]) -> dict[str, int]:
    """Where each field lies, from the same formats that pack it."""
    order, out, before = structure._codec.format[0], {}, ""
    for name, code in _formats(structure).items():
        out[name] = struct.calcsize(order + before + code) - struct.calcsize(order + code)
        before += code
    return out


def _formats(structure: type[Struct]) -> dict[str, str]:
    hints = get_type_hints(structure, include_extras=True)
    return {name: hints[name].__metadata__[0] for name in structure._fields}


def test_there_are_structures_to_check() -> None:
    assert len(STRUCTURES) > 70
    made = [s.unpack(bytes(s.sizeof)) for s in STRUCTURES]
    assert all(is_dataclass(one) for one in made)
    with pytest.raises(FrozenInstanceError):
        setattr(made[0], STRUCTURES[0]._fields[0], 1)


@by_name
def test_a_structure_lies_as_the_running_kernel_says(structure: type[Struct]) -> None:
    name = structure.__name__
    if not VMLINUX.exists():
        pytest.skip("the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")
    candidates = records().get(KERNEL_NAME.get(name, name), [])
    if not candidates:
        known = name in NOT_IN_BTF or NATIVE is not Arch.X86_64 or OLDER
        assert known, f"{name} is not in BTF"
        pytest.skip(f"{name}: {NOT_IN_BTF.get(name) or 'not in the BTF of this architecture'}")
    if OLDER and structure.sizeof > max(r.size for r in candidates):
        pytest.skip(f"{name} has grown since this kernel")
    record = next((r for r in candidates if r.size == structure.sizeof), None)
    assert record, f"{structure.sizeof} bytes here, {[r.size for r in candidates]} in the kernel"
    members: dict[str, int] = {}
    for member, at in record.members.items():
        members.setdefault(member.replace(".", "_"), at)
    for member, at in record.members.items():
        members.setdefault(member.rpartition(".")[2], at)
    for field, at in offsets(structure).items():
        member, plus = ELSEWHERE.get((name, field), (field, 0))
        if OLDER and member not in members:
            continue  # it was spare then
        assert member in members, f"the kernel's {name} has no {member}"
        assert at == members[member] + plus, field


@by_name
def test_a_structure_names_its_source(structure: type[Struct]) -> None:
    module = importlib.import_module(structure.__module__)
    assert structure.__doc__
    cited = f"{module.__doc__} {structure.__doc__}"
    assert ".h" in cited or ".c" in cited


def values(code: str) -> st.SearchStrategy[int | bytes]:
    kind = code.rstrip("x0123456789") or code
    if kind.endswith("s"):
        length = int(kind[:-1])
        return st.binary(min_size=length, max_size=length)
    size = struct.calcsize("=" + kind[0])
    if kind[0].islower():
        return st.integers(-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1)
    return st.integers(0, (1 << 8 * size) - 1)


@by_name
@given(data=st.data())
def test_a_structure_comes_back_as_it_was_packed(
    structure: type[Struct], data: st.DataObject
) -> None:
    made = structure(*(data.draw(values(code)) for code in _formats(structure).values()))
    raw = made.pack()
    assert len(raw) == structure.sizeof
    assert structure.unpack(raw) == made
    assert structure.unpack(memoryview(bytearray(raw))).pack() == raw


@by_name
def test_a_32_bit_layout_has_the_fields_of_the_native_one(structure: type[Struct]) -> None:
    if structure.compat is not None:
        assert set(structure.compat._fields) == set(structure._fields)
        assert structure.compat._codec.format[0] == "="


def test_i386_has_its_own_layouts_where_the_work_needs_them() -> None:
    needed = {
        "x86_64_stat": 64,
        "statfs": 64,
        "statfs64": 84,
        "timespec": 8,
        "timeval": 8,
        "itimerspec": 16,
        "iovec": 8,
        "msghdr": 28,
        "rlimit": 8,
        "rusage": 72,
        "sysinfo": 64,
        "flock": 16,
        "flock64": 24,
    }
    compat = {s.__name__: s.compat.sizeof for s in STRUCTURES if s.compat}
    assert needed.items() <= compat.items()


def test_a_wrong_size_is_an_error_at_import() -> None:
    with pytest.raises(TypeError, match="12 bytes, the kernel says 16"):

        class short(Struct, size=16, packed=True):
            a: u64
            b: u32


def test_padding_is_added_only_where_c_adds_it() -> None:
    class padded(Struct, size=8):
        a: u32
        b: u8

    assert padded(1, 2).pack() == b"\1\0\0\0\2\0\0\0"
    with pytest.raises(TypeError, match="more tail padding"):

        class loose(Struct, size=32):
            a: u64


def test_structures_compare_print_and_hash_by_their_fields() -> None:
    class one(Struct, size=4):
        a: u16
        b: u16

    class two(Struct, size=4):
        a: u16
        b: u16

    assert one(1, 2) == one(1, 2) != one(1, 3)
    assert one(1, 2) != two(1, 2)
    assert hash(one(1, 2)) == hash(one(1, 2))
    assert repr(one(1, 2)) == "one(a=1, b=2)"
    with pytest.raises(AttributeError):
        one(1, 2).a = 3  # type: ignore[misc]
