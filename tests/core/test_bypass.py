"""io_uring makes calls that no filter sees; it is refused while one of them is hooked."""

from __future__ import annotations

import pytest

from viewosd.abi.arch import SUPPORTED, Arch
from viewosd.abi.sysno import SYSNO
from viewosd.core.bypass import OPERATIONS, refused
from viewosd.core.filter import compile_filter
from viewosd.core.traps import traps_of
from viewosd.service import HookSpec
from viewosd.syscalls import Open, connect, getppid, uname
from viewosd.testing.bpf import run

ENOSYS = 0x0005_0000 | 38


def filter_of(*calls):
    traps = traps_of([HookSpec(call) for call in calls])
    return compile_filter(traps, refuse=refused(traps))


@pytest.mark.parametrize("arch", SUPPORTED)
@pytest.mark.parametrize("call", [Open, connect])
def test_a_ring_can_not_be_set_up_while_a_call_is_hooked_that_it_can_make(call, arch):
    assert run(filter_of(call), SYSNO[arch]["io_uring_setup"], arch) == ENOSYS


@pytest.mark.parametrize("arch", SUPPORTED)
def test_a_ring_is_untouched_otherwise(arch):
    assert run(filter_of(uname, getppid), SYSNO[arch]["io_uring_setup"], arch) == 0x7FFF_0000


def test_every_operation_is_a_call_of_some_architecture():
    assert {n for n in OPERATIONS if not any(n in SYSNO[arch] for arch in Arch)} == set()
