"""The compiled program against what `Traps` says, for any traps and any call."""

from __future__ import annotations

import errno

from hypothesis import given
from hypothesis import strategies as st

from viewosd.abi.arch import SUPPORTED, Arch
from viewosd.abi.seccomp import SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF
from viewosd.core.filter import Term, Traps, compile_filter, covers, union
from viewosd.testing.bpf import always_allowed, run

ENOSYS = SECCOMP_RET_ERRNO | errno.ENOSYS
_64 = (1 << 64) - 1

# Few enough that calls hit them, with bits set where each width ends.
numbers = st.integers(0, 40) | st.sampled_from([255, 256, 424, 467, 0x3FFF_FFFF])
words = st.integers(0, 6) | st.sampled_from(
    [0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0005, 1 << 63, _64]
)
masks = st.sampled_from([0xFFFF, 0xFFFF_FFFF, _64, 0x4, 0x1_0004, 1 << 32, 5 << 30])


@st.composite
def register_tests(draw):
    mask = draw(masks)
    values = draw(st.frozensets(words.map(lambda v: v & mask), max_size=12))
    return draw(st.integers(0, 5)), mask, values


terms = st.lists(register_tests(), max_size=3).map(lambda t: Term(tuple(t)))
traps_on_one = st.dictionaries(numbers, st.lists(terms, max_size=3).map(tuple), max_size=12)
any_traps = st.dictionaries(st.sampled_from(Arch), traps_on_one, max_size=3)
arches = st.sampled_from([*Arch, 0x4000_0028])
calls = st.tuples(
    numbers | st.integers(-1, 0xFFFF_FFFF) | numbers.map(lambda n: n | 0x4000_0000),
    arches,
    st.tuples(*[words | st.integers(0, _64)] * 6),
)


def expected(traps: Traps, nr: int, arch: int, args: tuple[int, ...]) -> int:
    nr &= 0xFFFF_FFFF
    if arch not in {*SUPPORTED, *traps}:
        return ENOSYS
    if arch == Arch.X86_64 and 0x4000_0000 <= nr < 0xFFFF_FFFF:
        return ENOSYS
    hit = any(
        all(args[index] & mask in values for index, mask, values in term.tests)
        for term in traps.get(Arch(arch), {}).get(nr, ())
    )
    return SECCOMP_RET_USER_NOTIF if hit else SECCOMP_RET_ALLOW


@given(any_traps, st.lists(calls, min_size=1, max_size=30))
def test_the_program_traps_what_the_traps_say(traps, some):
    program = compile_filter(traps)
    for nr, arch, args in some:
        assert run(program, nr, arch, args) == expected(traps, nr, arch, args)


@given(any_traps, st.lists(st.tuples(numbers, arches), min_size=1, max_size=30))
def test_the_kernel_never_runs_the_program_for_a_call_that_nobody_hooks(traps, some):
    program = compile_filter(traps)
    for nr, arch in some:
        unhooked = arch in {*SUPPORTED, *traps} and not traps.get(arch, {}).get(nr)
        if unhooked:
            assert always_allowed(program, nr, arch)


@given(any_traps, any_traps, st.lists(calls, min_size=1, max_size=30))
def test_a_union_traps_what_either_does_and_nothing_else(one, other, some):
    both = union(one, other)
    for nr, arch, args in some:
        if arch in both:
            assert (expected(both, nr, arch, args) == SECCOMP_RET_USER_NOTIF) == (
                SECCOMP_RET_USER_NOTIF
                in (expected(one, nr, arch, args), expected(other, nr, arch, args))
            )


@given(any_traps, any_traps, st.lists(calls, min_size=1, max_size=30))
def test_what_is_covered_is_trapped(wide, narrow, some):
    if covers(wide, narrow):
        for nr, arch, args in some:
            if expected(narrow, nr, arch, args) == SECCOMP_RET_USER_NOTIF:
                assert expected(wide, nr, arch, args) == SECCOMP_RET_USER_NOTIF


# One mask a register: `covers` may say False where they are mixed.
_MASKS = (_64, 0xFFFF_FFFF, 0xFFFF, 0x4, _64, 0xFFFF_FFFF)
plain_tests = st.integers(0, 5).flatmap(
    lambda i: st.tuples(
        st.just(i),
        st.just(_MASKS[i]),
        st.frozensets(words.map(lambda v: v & _MASKS[i]), min_size=1, max_size=4),
    )
)
plain_terms = st.lists(plain_tests, max_size=2, unique_by=lambda t: t[0]).map(
    lambda t: Term(tuple(t))
)
plain_traps = st.dictionaries(
    st.sampled_from(Arch),
    st.dictionaries(numbers, st.lists(plain_terms, max_size=3).map(tuple), max_size=6),
    max_size=2,
)


@given(plain_traps, plain_traps)
def test_a_union_covers_its_parts_and_no_more_than_it_needs(one, other):
    both = union(one, other)
    assert covers(both, one)
    assert covers(both, other)
    assert covers(both, both)
    assert covers(union(one, one), one)
    assert covers(both, {})
    assert union(both, one) == both or covers(union(both, one), both)
