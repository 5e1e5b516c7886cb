"""Names, numbers and classes belong together; i386's socketcall(2) and ipc(2) too."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import viewosd.syscalls as calls
from viewosd.abi.arch import Arch
from viewosd.abi.sysno import SYSNO
from viewosd.syscalls import IPC, SOCKETCALL, TABLE, by_number, number_of
from viewosd.syscalls.ipccall import decode_ipc
from viewosd.syscalls.numbers import RENAMED, STUBS
from viewosd.syscalls.socketcall import block_size, decode_block

every_arch = pytest.mark.parametrize("arch", list(Arch), ids=lambda a: a.name)


@every_arch
def test_every_name_of_the_kernel_has_a_class_or_a_reason(arch: Arch) -> None:
    missing = set(SYSNO[arch]) - set(TABLE) - set(STUBS)
    assert not missing


def test_every_class_has_a_number_somewhere() -> None:
    named = {name for table in SYSNO.values() for name in table}
    inside = {"send", "recv"}  # of socketcall(2)
    renamed = {name for table in RENAMED.values() for name in table.values()}
    shipped = {n for n, c in TABLE.items() if c.__module__.startswith("viewosd.")}
    assert shipped - named == inside | renamed
    assert not set(STUBS) & set(TABLE)
    assert set(STUBS) <= named


@every_arch
def test_a_number_leads_to_its_class_and_back(arch: Arch) -> None:
    table = by_number(arch)
    assert by_number(arch) is table
    for number, call in table.items():
        assert number_of(call, arch) == number
        assert SYSNO[arch].get(call.__name__, number) == number or call.__name__ in RENAMED[arch]
    assert len(table) == len(set(SYSNO[arch]) - set(STUBS))


def test_i386_selects_and_maps_with_one_address() -> None:
    table = by_number(Arch.I386)
    assert table[82] is calls.old_select
    assert table[90] is calls.old_mmap
    assert table[142] is calls._newselect
    assert table[192] is calls.mmap2
    assert number_of(calls.select, Arch.I386) is None
    assert number_of(calls.select, Arch.X86_64) == 23


def test_socketcall_knows_every_sub_call() -> None:
    """Source: include/uapi/linux/net.h; the argument counts: net/socket.c, nargs[]."""
    assert list(SOCKETCALL) == list(range(1, 21))
    counts = [3, 3, 3, 2, 3, 3, 3, 4, 4, 4, 6, 6, 2, 5, 5, 3, 3, 4, 5, 4]
    assert [len(SOCKETCALL[n].registers) for n in range(1, 21)] == counts
    assert SOCKETCALL[1] is calls.socket
    assert SOCKETCALL[3] is calls.connect
    assert SOCKETCALL[20] is calls.sendmmsg


def test_the_arguments_block_is_decoded() -> None:
    block = struct.pack("=3i", 2, 1, -1)
    call = decode_block(1, block + b"what follows")
    assert isinstance(call, calls.socket)
    assert (call.family, call.type, call.protocol, call.arch) == (2, 1, -1, Arch.I386)
    assert block_size(1) == len(block)
    with pytest.raises(ValueError, match="socket: 8 bytes of arguments, it takes 12"):
        decode_block(1, block[:8])
    with pytest.raises(KeyError):
        decode_block(21, block)


def test_the_class_and_the_module_of_the_same_name_do_not_fight() -> None:
    code = (
        "import viewosd.syscalls, viewosd.syscalls.socketcall as m, viewosd.syscalls.ioctl as i;"
        "from viewosd.syscalls import socketcall, ioctl, ipc;"
        "assert socketcall.__name__ == 'socketcall' and isinstance(socketcall, type);"
        "assert isinstance(ioctl, type) and isinstance(ipc, type)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_table_imports_no_structure_and_nothing_that_waits() -> None:
    code = (
        "import sys, viewosd.syscalls as s; s.by_number(s.base.NATIVE);"
        "print([m for m in sys.modules if m.startswith('viewosd.abi.') or m in ('trio', 'socket')])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {m.rpartition(".")[2] for m in out.stdout.strip("[]\n").replace("'", "").split(", ")}
    assert loaded == {"arch", "fcntl", "sysno", "sysno_aarch64", "sysno_i386", "sysno_x86_64"}


def test_ipc_knows_every_sub_call() -> None:
    """Source: include/uapi/linux/ipc.h."""
    assert {number: call.__name__ for number, call in IPC.items()} == {
        1: "semop", 2: "semget", 3: "semctl", 4: "semtimedop",
        11: "msgsnd", 12: "msgrcv", 13: "msgget", 14: "msgctl",
        21: "shmat", 22: "shmdt", 23: "shmget", 24: "shmctl",
    }  # fmt: skip


@given(st.tuples(*[st.integers(0, (1 << 32) - 1)] * 6))
def test_whatever_ipc_is_asked_for_decodes_or_is_the_kernels_to_refuse(args) -> None:
    found = decode_ipc(args, lambda at: at ^ 1)
    number = args[0] & 0xFFFF
    if number not in IPC:
        assert found is None
    elif found is not None:
        assert type(found[0]) is IPC[number]
        assert found[1] == (args[3] if number == 21 else 0)
