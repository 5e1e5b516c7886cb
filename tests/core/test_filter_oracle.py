"""Another compiler, libseccomp, must come to the same verdict for filters on numbers alone."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewosd.abi.arch import Arch
from viewosd.abi.sysno import SYSNO
from viewosd.core.filter import Term, compile_filter
from viewosd.testing.bpf import run

pyseccomp = pytest.importorskip("pyseccomp", exc_type=ImportError, reason="no libseccomp here")

# Left out: calls that i386 multiplexes too (libseccomp adds socketcall(2) and ipc(2) by itself, for
# us `traps_of` does), and those that an old libseccomp's table does not know.
_SHARED = SYSNO[Arch.X86_64].keys() & SYSNO[Arch.I386].keys()
_SOCKETS = {"socket", "socketpair", "connect", "bind", "listen", "accept4", "getsockname"}
_SOCKETS |= {"getpeername", "getsockopt", "setsockopt", "sendto", "sendmsg", "recvfrom", "recvmsg"}
_SOCKETS |= {"shutdown", "recvmmsg", "sendmmsg"}
NAMES = sorted(
    name
    for name in _SHARED - _SOCKETS
    if SYSNO[Arch.X86_64][name] < 440 and not name.startswith(("msg", "sem", "shm"))
)


def from_libseccomp(names: list[str]) -> bytes:
    libseccomp = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    libseccomp.add_arch(pyseccomp.Arch.X86)
    libseccomp.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)
    for name in names:
        libseccomp.add_rule(pyseccomp.NOTIFY, name)
    with os.fdopen(os.memfd_create("filter"), "r+b") as file:
        libseccomp.export_bpf(file)
        file.seek(0)
        return file.read()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(NAMES), max_size=80, unique=True))
def test_libseccomp_makes_the_same_decisions(names):
    arches = (Arch.X86_64, Arch.I386)
    ours = compile_filter({a: {SYSNO[a][n]: (Term(),) for n in names} for a in arches})
    theirs = from_libseccomp(names)
    for arch in arches:
        for number in range(480):
            assert run(ours, number, arch) == run(theirs, number, arch), (arch, number)
