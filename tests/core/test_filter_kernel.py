"""The simulator and the compiler against the kernel of this machine, in children that end."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewosd.abi import bpf as o
from viewosd.abi.arch import NATIVE, Arch
from viewosd.abi.seccomp import SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF
from viewosd.abi.sysno import SYSNO
from viewosd.core.filter import Term, compile_filter
from viewosd.keeper.unsafe import PR_SET_NO_NEW_PRIVS, prctl
from viewosd.runtime.unsafe import seccomp_install
from viewosd.testing.bpf import Rejected, parse, run

ALLOW_ALL = struct.pack("=HBBI", o.BPF_RET | o.BPF_K, 0, 0, SECCOMP_RET_ALLOW)
GETPPID = SYSNO[NATIVE]["getppid"]


def code_of_a_child_that(act) -> int | None:
    """Its exit status; None if a signal ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            os._exit(act())
        except BaseException:
            os._exit(99)
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None


def installed(program: bytes) -> int:
    try:
        seccomp_install(program, 0)
    except OSError as error:
        return error.errno or 98
    return 0


@pytest.fixture(scope="module", autouse=True)
def filters_are_allowed_here():
    code = code_of_a_child_that(lambda: installed(ALLOW_ALL))
    if code:
        pytest.skip(f"seccomp(2) is not allowed here: {errno.errorcode.get(code, code)}")


def kernel_takes(program: bytes) -> bool:
    # A program that was taken may kill the child, or fail its exit_group: anything but EINVAL.
    return code_of_a_child_that(lambda: installed(program)) != errno.EINVAL


def simulator_takes(program: bytes) -> bool:
    try:
        parse(program)
    except Rejected:
        return False
    return True


def line(code, k=0, jt=0, jf=0):
    return struct.pack("=HBBI", code, jt, jf, k)


LOAD = o.BPF_LD | o.BPF_W | o.BPF_ABS
EDGES = {
    "empty": b"",
    "no return": line(LOAD, 0),
    "return X": line(o.BPF_RET | o.BPF_X) + ALLOW_ALL,
    "return A at the end": line(o.BPF_LD | o.BPF_IMM, SECCOMP_RET_ALLOW)
    + line(o.BPF_RET | o.BPF_A),
    "last word": line(LOAD, 60) + ALLOW_ALL,
    "beyond the data": line(LOAD, 64) + ALLOW_ALL,
    "unaligned": line(LOAD, 2) + ALLOW_ALL,
    "a half word": line(o.BPF_LD | o.BPF_H | o.BPF_ABS, 0) + ALLOW_ALL,
    "indexed": line(o.BPF_LD | o.BPF_W | o.BPF_IND, 0) + ALLOW_ALL,
    "jump to the last": line(o.BPF_JMP | o.BPF_JA, 0) + ALLOW_ALL,
    "jump beyond": line(o.BPF_JMP | o.BPF_JA, 1) + ALLOW_ALL,
    "jump around the world": line(o.BPF_JMP | o.BPF_JA, 0xFFFF_FFFF) + ALLOW_ALL,
    "yes beyond": line(o.BPF_JMP | o.BPF_JEQ, 5, 1, 0) + ALLOW_ALL,
    "no beyond": line(o.BPF_JMP | o.BPF_JEQ, 5, 0, 1) + ALLOW_ALL,
    "divide by 0": line(o.BPF_ALU | o.BPF_DIV, 0) + ALLOW_ALL,
    "divide by X": line(o.BPF_ALU | o.BPF_DIV | o.BPF_X) + ALLOW_ALL,
    "shift by 31": line(o.BPF_ALU | o.BPF_LSH, 31) + ALLOW_ALL,
    "shift by 32": line(o.BPF_ALU | o.BPF_RSH, 32) + ALLOW_ALL,
    "modulo": line(o.BPF_ALU | o.BPF_MOD, 3) + ALLOW_ALL,
    "unstored": line(o.BPF_LD | o.BPF_MEM, 3) + ALLOW_ALL,
    "stored": line(o.BPF_ST, 3) + line(o.BPF_LD | o.BPF_MEM, 3) + ALLOW_ALL,
    "stored one way": line(o.BPF_JMP | o.BPF_JEQ, 0, 0, 1)
    + line(o.BPF_ST, 3)
    + line(o.BPF_LDX | o.BPF_MEM, 3)
    + ALLOW_ALL,
    "word 16": line(o.BPF_ST, 16) + ALLOW_ALL,
    "4096": ALLOW_ALL * 4096,
    "4097": ALLOW_ALL * 4097,
}


@pytest.mark.parametrize("name", EDGES)
def test_the_simulator_refuses_what_the_kernel_refuses(name):
    assert simulator_takes(EDGES[name]) == kernel_takes(EDGES[name])


def test_the_simulator_knows_every_opcode_that_the_kernel_takes():
    # All of a byte: what has its high byte set is taken by neither.
    store = line(o.BPF_ST, 1)
    for code in range(256):
        program = store + line(code, 1) + ALLOW_ALL * 3
        if code in (0x06, 0x16):  # returns, and would kill the child
            assert simulator_takes(program)
            continue
        assert simulator_takes(program) == kernel_takes(program), hex(code)
    assert not simulator_takes(line(0x120, 0) + ALLOW_ALL)
    assert not kernel_takes(line(0x120, 0) + ALLOW_ALL)


LINES = st.builds(
    line,
    st.sampled_from([LOAD, o.BPF_ST, o.BPF_STX, o.BPF_LD | o.BPF_MEM, o.BPF_LDX | o.BPF_MEM])
    | st.sampled_from([o.BPF_JMP | o.BPF_JA, o.BPF_JMP | o.BPF_JEQ, o.BPF_JMP | o.BPF_JSET]),
    st.integers(0, 3) | st.sampled_from([15, 16, 60, 64]),
    st.integers(0, 3),
    st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, max_size=8))
def test_the_simulator_and_the_kernel_agree_on_any_program(lines):
    program = b"".join(lines) + ALLOW_ALL * 2
    assert simulator_takes(program) == kernel_takes(program)


PIECES = st.sampled_from([0, 5, 6, 0xFFFF, 0x1_0005, 0xFFFF_FFFF, 0x1_0000_0005, (1 << 64) - 1])
MASKS = st.sampled_from([0xFFFF, 0xFFFF_FFFF, (1 << 64) - 1, 0x4, 1 << 32])
TESTS = st.tuples(st.integers(0, 5), MASKS, st.frozensets(PIECES)).map(
    lambda t: (t[0], t[1], frozenset(v & t[1] for v in t[2]))
)
TERMS = st.lists(st.lists(TESTS, min_size=1, max_size=2).map(lambda t: Term(tuple(t))), max_size=3)


@settings(max_examples=40, deadline=None)
@given(TERMS, st.lists(st.tuples(*[PIECES] * 6), min_size=1, max_size=40))
def test_the_kernel_traps_what_the_simulator_traps(terms, some):
    program = compile_filter({NATIVE: {GETPPID: tuple(terms)}})
    libc = ctypes.CDLL(None)
    libc.syscall.restype = ctypes.c_long
    # getppid looks at no register, so it can be asked with any. No listener: trapped is -1.
    seen = [run(program, GETPPID, NATIVE, args) == SECCOMP_RET_USER_NOTIF for args in some]

    def act():
        calls = [tuple(map(ctypes.c_ulong, args)) for args in some]
        seccomp_install(program, 0)
        return int([libc.syscall(GETPPID, *call) < 0 for call in calls] != seen)

    assert code_of_a_child_that(act) == 0


def test_a_refused_call_fails_with_enosys_and_its_neighbour_works():
    program = compile_filter({}, refuse=["getppid"])

    def act():
        libc = ctypes.CDLL(None, use_errno=True)
        seccomp_install(program, 0)
        refused = libc.syscall(GETPPID), ctypes.get_errno()
        return int(refused != (-1, errno.ENOSYS) or os.getuid() < 0)

    assert code_of_a_child_that(act) == 0


@pytest.mark.skipif(NATIVE is not Arch.X86_64, reason="int 0x80 is of x86")
def test_a_64_bit_program_can_not_hide_from_an_i386_condition_in_its_upper_halves():
    # push rbx; mov rbx, VALUE; mov eax, 20 (getpid); int 0x80; pop rbx; ret
    value = 0xDEAD_0000_0005
    body = b"\x53\x48\xbb" + struct.pack("<Q", value) + b"\xb8\x14\0\0\0\xcd\x80\x5b\xc3"
    program = compile_filter({Arch.I386: {20: (Term(((0, 0xFFFF_FFFF, frozenset({5})),)),)}})

    def ask() -> int:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(body)
        start = ctypes.addressof(ctypes.c_char.from_buffer(page))
        return ctypes.CFUNCTYPE(ctypes.c_int)(start)()

    if code_of_a_child_that(lambda: int(ask() != os.getpid())) != 0:
        pytest.skip("no i386 calls, or no executable memory, here")

    def act():
        seccomp_install(program, 0)
        return int(ask() != -errno.ENOSYS)

    assert code_of_a_child_that(act) == 0
