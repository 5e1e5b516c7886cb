"""From hooks to traps: what is decided at once, what goes into the program, what is refused."""

from __future__ import annotations

import errno
from unittest import mock

import pytest

from viewosd.abi.arch import NATIVE, Arch
from viewosd.abi.bpf import BPF_MAXINSNS
from viewosd.abi.seccomp import SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF
from viewosd.abi.sysno import SYSNO
from viewosd.core import traps as traps_module
from viewosd.core.filter import FilterError, Term, compile_filter, covers, traps_of, union
from viewosd.core.traps import never_trapped
from viewosd.service import Bits, HookSpec, Under
from viewosd.syscalls import base, numbers
from viewosd.syscalls.kinds import CStr, DirFd, Fd, Int, Long, Mode, Offset, Ptr, Uid, ULong
from viewosd.testing.bpf import run, steps, trapped

X86_64, I386, AARCH64 = Arch.X86_64, Arch.I386, Arch.AARCH64
ENOSYS = SECCOMP_RET_ERRNO | errno.ENOSYS
GARBAGE = 0xDEAD_BEEF_0000_0000
O_CREAT = 0o100


@pytest.fixture(autouse=True)
def table():
    """A table of calls of this file's own: its classes must not stay in the real one."""
    caches = (numbers.by_number, numbers._numbers)
    for cache in caches:
        cache.cache_clear()
    with (
        mock.patch.dict(base.TABLE, clear=True),
        mock.patch.dict(traps_module.SOCKETCALL, clear=True),
    ):
        yield
    for cache in caches:
        cache.cache_clear()


def program_for(call, arches=(X86_64, I386), **conditions):
    return compile_filter(traps_of([HookSpec(call, conditions)], arches))


def openers():
    class Opener(base.Syscall, family=True):
        path: CStr
        flags: Int

    class openat(Opener):
        dirfd: DirFd
        path: CStr
        flags: Int
        mode: Mode

    class open(Opener):
        path: CStr
        flags: Int
        mode: Mode

    class creat(Opener):
        path: CStr
        mode: Mode
        flags = O_CREAT | 0o1001

    return Opener, openat, open, creat


def test_a_hook_traps_its_call_on_every_architecture_and_nothing_else():
    _, openat, *_ = openers()
    program = program_for(openat, (X86_64, I386, AARCH64))
    for arch in (X86_64, I386, AARCH64):
        assert [n for n in SYSNO[arch] if trapped(program, n, arch)] == ["openat"]


def test_hooking_a_family_traps_every_member_that_the_architecture_has():
    family, *_ = openers()
    program = program_for(family, (X86_64, AARCH64))
    assert [n for n in SYSNO[AARCH64] if trapped(program, n, AARCH64)] == ["openat"]
    assert {n for n in SYSNO[X86_64] if trapped(program, n)} == {"open", "openat", "creat"}


def test_an_implied_register_is_decided_when_the_filter_is_made():
    family, *_ = openers()
    never = program_for(family, flags=[0])
    assert not trapped(never, "creat", X86_64)
    assert trapped(never, "open", X86_64, (0, 0))
    assert not trapped(never, "open", X86_64, (0, O_CREAT))
    always = program_for(family, flags=O_CREAT | 0o1001)
    assert trapped(always, "creat", X86_64, (7, 7))


def test_garbage_above_an_int_neither_hides_nor_traps():
    _, openat, *_ = openers()
    program = program_for(openat, flags=[2])
    assert trapped(program, "openat", X86_64, (0, 0, GARBAGE | 2))
    assert not trapped(program, "openat", X86_64, (0, 0, GARBAGE))


def test_a_mode_is_compared_in_16_bits():
    _, openat, *_ = openers()
    program = program_for(openat, mode=0o600)
    assert trapped(program, "openat", X86_64, (0, 0, 0, GARBAGE | 0xABC0_0000 | 0o600))
    assert not trapped(program, "openat", X86_64, (0, 0, 0, 0o601))


def test_a_negative_value_is_compared_by_its_bits():
    _, openat, *_ = openers()
    program = program_for(openat, dirfd=-100)
    for high in (0, 0xFFFF_FFFF << 32, GARBAGE):
        assert trapped(program, "openat", X86_64, (high | 0xFFFF_FF9C,))
    assert not trapped(program, "openat", X86_64, (3,))


def test_a_pointer_is_compared_in_64_bits_and_in_32_for_an_i386_program():
    class mount(base.Syscall):
        source: Ptr

    program = program_for(mount, source=[0, 1 << 40])
    assert trapped(program, "mount", X86_64, (0,))
    assert trapped(program, "mount", X86_64, (1 << 40,))
    assert not trapped(program, "mount", X86_64, (GARBAGE,))
    assert trapped(program, "mount", I386, (GARBAGE,))
    assert not trapped(program, "mount", I386, (1,))


def test_a_value_that_an_i386_program_can_not_have_never_traps_there():
    class mount(base.Syscall):
        flags: ULong

    traps = traps_of([HookSpec(mount, {"flags": 1 << 40})], (X86_64, I386))
    assert traps[X86_64]
    assert not traps[I386]


def test_conditions_on_two_registers_must_both_hold_and_two_hooks_need_not():
    class ioctl(base.Syscall):
        fd: Fd
        request: ULong

    both = program_for(ioctl, fd=3, request=[5, 6])
    assert [trapped(both, "ioctl", X86_64, a) for a in ((3, 5), (3, 6), (4, 5), (3, 7))] == [
        True, True, False, False,
    ]  # fmt: skip
    either = compile_filter(
        traps_of([HookSpec(ioctl, {"fd": 3}), HookSpec(ioctl, {"request": [5]})])
    )
    assert [trapped(either, "ioctl", X86_64, a) for a in ((3, 9), (9, 5), (9, 9))] == [
        True, True, False,
    ]  # fmt: skip


def test_many_hooks_on_one_register_become_one_search():
    class ioctl(base.Syscall):
        fd: Fd
        request: Int

    hooks = [HookSpec(ioctl, {"request": value}) for value in range(0, 1000, 2)]
    traps = traps_of(hooks)
    assert len(traps[NATIVE][SYSNO[NATIVE]["ioctl"]]) == 1
    program = compile_filter(traps)
    assert trapped(program, "ioctl", NATIVE, (0, 500))
    assert not trapped(program, "ioctl", NATIVE, (0, 501))
    assert steps(program, SYSNO[NATIVE]["ioctl"], NATIVE, (0, 501)) < 25


def test_a_path_condition_is_left_to_the_supervisor():
    _, openat, *_ = openers()
    assert trapped(program_for(openat, path=Under(b"/virtual")), "openat", X86_64)
    with_flags = program_for(openat, path=Under(b"/virtual"), flags=1)
    assert not trapped(with_flags, "openat", X86_64, (0, 0, 0))


def test_any_one_of_some_bits_traps_whatever_the_others_are():
    _, openat, _, creat = openers()
    program = program_for(openat, flags=Bits(O_CREAT | 0o2000))
    for flags in (O_CREAT, 0o2000, O_CREAT | 0o2001, GARBAGE | O_CREAT):
        assert trapped(program, "openat", X86_64, (0, 0, flags))
        assert trapped(program, "openat", I386, (0, 0, flags))
    for flags in (0, 0o1001, GARBAGE, O_CREAT << 32):
        assert not trapped(program, "openat", X86_64, (0, 0, flags))
    assert trapped(program_for(creat, flags=Bits(O_CREAT)), "creat", X86_64)
    assert not trapped(program_for(creat, flags=Bits(0o2000)), "creat", X86_64)


def test_bits_of_a_64_bit_value_are_looked_for_in_either_i386_register():
    class pread64(base.Syscall):
        fd: Fd
        offset: Offset
        compat = ("fd", "_", "offset:lo", "offset:hi")

    program = program_for(pread64, offset=Bits(1 << 40 | 4))
    for low, high in ((4, 0), (0, 1 << 8), (5, 3)):
        assert trapped(program, "pread64", I386, (3, 0, low, high))
    assert not trapped(program, "pread64", I386, (3, 4, 1 << 8, 4))
    assert trapped(program, "pread64", X86_64, (3, 1 << 40))
    assert not trapped(program, "pread64", X86_64, (3, 1 << 8))


def test_bits_that_a_register_does_not_have_are_an_error():
    _, openat, *_ = openers()
    with pytest.raises(FilterError, match=r"openat: mode=Bits\(0x10000\) does not fit 16 bits"):
        traps_of([HookSpec(openat, {"mode": Bits(0x10000)})])
    with pytest.raises(TypeError, match="no bit"):
        Bits(0)


def test_a_64_bit_value_in_two_i386_registers_is_compared_in_both():
    class pread64(base.Syscall):
        fd: Fd
        offset: Offset
        compat = ("fd", "_", "offset:lo", "offset:hi")

    program = program_for(pread64, offset=[5, (7 << 32) + 6, -1])
    ones = 0xFFFF_FFFF
    for low, high in ((5, 0), (6, 7), (ones, ones), (GARBAGE | 5, GARBAGE)):
        assert trapped(program, "pread64", I386, (3, 0, low, high))
    for low, high in ((5, 7), (6, 0), (ones, 0), (0, 5)):
        assert not trapped(program, "pread64", I386, (3, 0, low, high))
    assert trapped(program, "pread64", X86_64, (3, (7 << 32) + 6))


def test_an_i386_register_order_of_its_own_is_followed():
    class clock_adjtime(base.Syscall):
        which: Int
        delta: Long
        compat = ("delta", "which")

    program = program_for(clock_adjtime, which=1, delta=-2)
    assert trapped(program, "clock_adjtime", I386, (0xFFFF_FFFE, 1))
    assert not trapped(program, "clock_adjtime", I386, (1, 0xFFFF_FFFE))
    assert trapped(program, "clock_adjtime", X86_64, (1, (1 << 64) - 2))
    assert not trapped(program, "clock_adjtime", X86_64, (1, 0xFFFF_FFFE))


def test_an_aarch64_register_order_of_its_own_is_followed():
    class mount(base.Syscall):
        source: Ptr
        flags: Int
        aarch64 = ("flags", "source")

    program = program_for(mount, (X86_64, AARCH64), flags=1)
    assert trapped(program, "mount", AARCH64, (1, 9))
    assert not trapped(program, "mount", AARCH64, (9, 1))
    assert trapped(program, "mount", X86_64, (9, 1))


def test_a_16_bit_id_of_an_i386_program_is_compared_as_the_kernel_widens_it():
    class setresuid(base.Syscall):
        ruid: Uid
        euid: Uid
        uid16 = True

    program = program_for(setresuid, ruid=[-1, 1000, 70000, 0xFFFF])
    assert [trapped(program, "setresuid", I386, (n,)) for n in (0xFFFF, 0x5_03E8, 70000, 5)] == [
        True, True, False, False,
    ]  # fmt: skip
    accepted = [
        n
        for n in (0xFFFF_FFFF, 1000, 70000, 0xFFFF, 5)
        if trapped(program, "setresuid", X86_64, (n,))
    ]
    assert accepted == [0xFFFF_FFFF, 1000, 70000, 0xFFFF]


def test_a_register_that_an_i386_program_does_not_pass_reads_as_zero():
    class umount2(base.Syscall):
        target: Ptr
        flags: Int
        compat = ("target",)

    assert trapped(program_for(umount2, flags=0), "umount2", I386, (1, 9))
    assert not trapped(program_for(umount2, flags=2), "umount2", I386, (1, 2))


def test_a_socket_call_of_i386_is_trapped_inside_socketcall_too():
    class socket(base.Syscall):
        domain: Int
        type: Int

    traps_module.SOCKETCALL[1] = socket
    program = program_for(socket, domain=16)
    assert trapped(program, "socket", I386, (16,))
    assert not trapped(program, "socket", I386, (1,))
    assert trapped(program, "socketcall", I386, (1, 0x1000))
    assert trapped(program, "socketcall", I386, (GARBAGE | 1,))
    assert not trapped(program, "socketcall", I386, (2,))
    assert not trapped(program, "socketpair", I386, (16,))


def test_one_call_behind_two_sub_calls_is_trapped_behind_both():
    class sendto(base.Syscall):
        fd: Fd

    traps_module.SOCKETCALL.update({9: sendto, 11: sendto})
    program = program_for(sendto)
    assert [n for n in range(30) if trapped(program, "socketcall", I386, (n,))] == [9, 11]


@pytest.mark.parametrize("traps", [{}, {X86_64: {257: (Term(),)}}], ids=["empty", "one"])
def test_unknown_architectures_and_x32_get_enosys(traps):
    program = compile_filter(traps)
    for arch in (0x4000_0028, 0xC000_0015, 0):
        assert run(program, 257, arch) == ENOSYS
    if X86_64 in (NATIVE, *traps):
        for number in (0, 257, 520, 0x3FFF_FFFF):
            assert run(program, 0x4000_0000 | number, X86_64) == ENOSYS
        assert run(program, 0xFFFF_FFFE, X86_64) == ENOSYS
    assert run(program, 0, NATIVE) == SECCOMP_RET_ALLOW


def test_a_call_that_a_tracer_skips_is_left_to_the_tracer():
    assert run(compile_filter({}), -1, NATIVE) == SECCOMP_RET_ALLOW


def test_a_call_newer_than_any_library_can_be_hooked():
    class statmount(base.Syscall):
        req: Ptr

    program = program_for(statmount, (X86_64, I386, AARCH64))
    assert all(run(program, 457, a) == SECCOMP_RET_USER_NOTIF for a in Arch)


def test_a_refused_call_gets_enosys_even_where_it_is_hooked():
    program = compile_filter({X86_64: {425: (Term(),)}}, refuse=["io_uring_setup"])
    assert run(program, 425, X86_64) == ENOSYS
    assert run(program, 424, X86_64) == SECCOMP_RET_ALLOW


def test_refusing_a_call_that_does_not_exist_is_an_error():
    with pytest.raises(FilterError, match="no such system call: io_uring_teardown"):
        compile_filter({}, refuse=["io_uring_teardown"])


def test_a_filter_longer_than_the_kernel_takes_is_refused_with_its_length():
    values = frozenset(range(0, 5000, 2))
    with pytest.raises(
        FilterError, match=rf"has \d+ instructions, the kernel takes {BPF_MAXINSNS}"
    ):
        compile_filter({X86_64: {16: (Term(((1, 0xFFFF_FFFF, values),)),)}})


def test_the_longest_filters_still_decide_right():
    values = frozenset(range(0, 3900, 2))
    program = compile_filter({X86_64: {16: (Term(((1, 0xFFFF_FFFF, values),)),), 3: (Term(),)}})
    assert 3000 < len(program) // 8 <= BPF_MAXINSNS
    for value in range(3901):
        assert trapped(program, "ioctl", X86_64, (0, value)) == (value in values)
    assert run(program, 3, X86_64) == SECCOMP_RET_USER_NOTIF


def test_an_i386_call_that_shares_a_name_but_not_its_registers_is_another_call():
    class select(base.Syscall):
        n: Int
        inp: Ptr

    class old_select(base.Syscall):
        arg: Ptr

    assert not trapped(program_for(select, n=5), "select", I386, (5,))
    assert trapped(program_for(old_select), "select", I386)
    assert not trapped(program_for(old_select), "select", X86_64)


def test_neighbouring_numbers_are_one_range():
    one = compile_filter({X86_64: {n: (Term(),) for n in range(10, 20)}})
    assert len(one) // 8 < len(compile_filter({})) // 8 + 8


NEVER = [
    "close", "close_range", "dup", "dup2", "dup3", "fork",
    "vfork", "clone", "clone3", "exit", "exit_group", "futex",
    "futex_waitv", "futex_wake", "futex_wait", "futex_time64", "restart_syscall", "rt_sigreturn",
    "sigreturn", "rt_sigaction", "rt_sigprocmask", "rt_sigsuspend", "rt_sigtimedwait_time64", "sigaction",
    "sigprocmask", "sigsuspend", "sigaltstack", "signal", "nanosleep",
    "pipe", "pipe2", "brk", "munmap", "mremap", "mprotect", "pkey_mprotect",
    "set_tid_address", "set_thread_area", "set_robust_list", "rseq",
]  # fmt: skip
ONLY_IN_PART = [
    "clock_nanosleep", "clock_nanosleep_time64", "mmap", "mmap2", "arch_prctl", "fcntl", "fcntl64",
]  # fmt: skip


@pytest.mark.parametrize("name", NEVER + ONLY_IN_PART)
def test_a_call_that_must_not_wait_is_refused_and_the_reason_is_said(name):
    call = type(name, (base.Syscall,), {"__annotations__": {"fd": Int}})
    with pytest.raises(FilterError, match=rf"^{name} can't be hooked: .*(EINTR|wait)"):
        traps_of([HookSpec(call)])


def test_a_condition_on_a_register_allows_those_of_which_another_use_may_wait():
    assert all(never_trapped(name, conditional=True) for name in NEVER)
    for name in ONLY_IN_PART:
        assert never_trapped(name, conditional=True) == ""

    class clock_nanosleep(base.Syscall):
        clockid: Int
        flags: Int

    program = program_for(clock_nanosleep, flags=1)
    assert trapped(program, "clock_nanosleep", X86_64, (0, 1))
    assert not trapped(program, "clock_nanosleep", X86_64, (0, 0))


def test_what_is_only_called_alike_may_be_hooked_and_so_may_seccomp_and_kill():
    for name in (
        "seccomp",
        "signalfd4",
        "kill",
        "close_by_somebody",
        "pidfd_send_signal",
        "rt_sigqueueinfo",
        "memfd_create",
        "execve",
        "mmap_by_somebody",
    ):
        assert never_trapped(name) == ""


def test_every_name_of_the_never_trapped_list_is_a_call():
    known = {name for table in SYSNO.values() for name in table}
    assert not {*NEVER, *ONLY_IN_PART} - known


def test_a_value_that_its_register_can_not_hold_is_an_error_and_not_a_silent_miss():
    _, openat, *_ = openers()
    with pytest.raises(FilterError, match="openat: mode=0x10000 does not fit 16 bits"):
        traps_of([HookSpec(openat, {"mode": 0x10000})])


def test_a_hook_without_accepted_values_traps_nothing():
    _, openat, *_ = openers()
    assert not trapped(program_for(openat, flags=[]), "openat", X86_64)


def test_no_hooks_trap_nothing():
    assert traps_of([], [X86_64]) == {X86_64: {}}
    assert covers({}, traps_of([]))
    assert union() == {}


def test_the_wider_condition_covers_the_narrower_and_not_the_reverse():
    def term(width, *values):
        return {X86_64: {16: (Term(((1, (1 << width) - 1, frozenset(values)),)),)}}

    everything = {X86_64: {16: (Term(),)}}
    assert covers(everything, term(32, 5))
    assert not covers(term(32, 5), everything)
    assert covers(term(32, 5, 6), term(32, 6))
    assert not covers(term(32, 6), term(32, 5, 6))
    assert covers(term(32, 5), term(64, 5, 1 << 40 | 5))
    assert not covers(term(64, 5), term(32, 5))
    assert covers(union(term(32, 5), term(32, 6)), term(32, 5, 6))
    assert not covers(everything, {I386: {16: (Term(),)}})
