"""The filter compiler over the real table: every call and every family in it."""

from __future__ import annotations

import pytest

from viewosd import syscalls
from viewosd.abi.arch import Arch
from viewosd.abi.seccomp import SECCOMP_RET_USER_NOTIF
from viewosd.core.filter import FilterError, compile_filter, traps_of
from viewosd.core.traps import never_trapped
from viewosd.service import HookSpec
from viewosd.syscalls import TABLE, Syscall, by_number, members
from viewosd.syscalls.ipc import msgrcv
from viewosd.syscalls.sockets import sendto
from viewosd.testing.bpf import run, trapped

FAMILIES = sorted(
    (
        kind
        for kind in vars(syscalls).values()
        if isinstance(kind, type) and issubclass(kind, Syscall) and kind.__name__ not in TABLE
        if kind is not Syscall
    ),
    key=lambda family: family.__name__,
)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_a_family_is_trapped_whole_or_refused_for_a_member_that_must_not_wait(family):
    hooked = members(family)
    if any(never_trapped(name) for name in hooked):
        with pytest.raises(FilterError, match="can't be hooked"):
            traps_of([HookSpec(family)], Arch)
        return
    program = compile_filter(traps_of([HookSpec(family)], Arch))
    for arch in Arch:
        for number, call in by_number(arch).items():
            seen = run(program, number, arch) == SECCOMP_RET_USER_NOTIF
            assert seen == (call in hooked.values()), (arch, call)


def test_every_call_that_may_be_hooked_fits_in_one_filter():
    specs = [HookSpec(call) for name, call in TABLE.items() if not never_trapped(name)]
    program = compile_filter(traps_of(specs, Arch))
    for arch in Arch:
        for number, call in by_number(arch).items():
            seen = run(program, number, arch) == SECCOMP_RET_USER_NOTIF
            assert seen == (not never_trapped(call.__name__)), (arch, call)


def test_sendto_of_an_i386_program_is_trapped_inside_socketcall():
    program = compile_filter(traps_of([HookSpec(sendto)], [Arch.I386]))
    assert [n for n in range(30) if trapped(program, "socketcall", Arch.I386, (n,))] == [11]


def test_msgrcv_of_an_i386_program_is_trapped_inside_ipc_in_each_edition():
    program = compile_filter(traps_of([HookSpec(msgrcv)], [Arch.I386]))
    for edition in (0, 1 << 16, 0xFFFF << 16):
        found = [n for n in range(30) if trapped(program, "ipc", Arch.I386, (n | edition,))]
        assert found == [12]
