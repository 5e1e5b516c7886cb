"""A family's promise is kept by every member, whatever the registers."""

from __future__ import annotations

import pytest

import viewosd.syscalls as calls
from viewosd.abi import fcntl
from viewosd.syscalls import TABLE, Syscall, members
from viewosd.syscalls.kinds import DirFd, Int


def families() -> list[type[Syscall]]:
    return [
        c
        for c in vars(calls).values()
        if isinstance(c, type)
        and issubclass(c, Syscall)
        and c is not Syscall
        and c.__name__ not in TABLE
    ]


FAMILIES = families()
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)


@every_family
def test_every_member_keeps_the_promise(family: type[Syscall]) -> None:
    assert members(family)
    for call in members(family).values():
        made = call.decode((0x1_0000_0007,) * 6)
        for name in family.promises:
            value = getattr(made, name)
            assert isinstance(value, int), f"{call.__name__}.{name}"


@every_family
def test_a_family_is_ours_and_says_what_it_is(family: type[Syscall]) -> None:
    assert family.__name__[0].isupper()
    assert family.__doc__


def test_calls_are_spelled_as_the_kernel_spells_them() -> None:
    assert all(name == name.lower() for name in TABLE)


def test_everything_is_exported() -> None:
    for name, call in TABLE.items():
        if call.__module__.startswith("viewosd.syscalls."):
            assert getattr(calls, name) is call
    for call in TABLE.values():
        for base in call.__mro__[1:-2]:
            assert getattr(calls, base.__name__) is base


def test_a_broken_promise_is_an_error_at_import() -> None:
    with pytest.raises(TypeError, match=r"half breaks its family's promise: \['path'\]"):

        class half(calls.Open):
            dirfd: DirFd

    assert "half" not in TABLE


def test_what_a_call_implies_is_what_the_kernel_does() -> None:
    assert calls.creat.flags == fcntl.O_CREAT | fcntl.O_WRONLY | fcntl.O_TRUNC
    assert calls.open.dirfd == fcntl.AT_FDCWD
    assert calls.lstat.flags == calls.lchown.flags == fcntl.AT_SYMLINK_NOFOLLOW
    assert calls.rmdir.flags == fcntl.AT_REMOVEDIR
    assert (calls.lgetxattr.at_flags, calls.getxattr.at_flags) == (fcntl.AT_SYMLINK_NOFOLLOW, 0)
    assert calls.gettimeofday.clockid == Int(0)


def test_hooking_a_family_hooks_its_members_and_those_of_its_families() -> None:
    assert set(members(calls.Open)) == {"open", "openat", "openat2", "creat"}
    assert set(members(calls.openat)) == {"openat"}
    assert members(calls.Open).items() <= members(calls.ByPath).items()
    assert set(members(calls.Uname)) == {"uname", "olduname", "oldolduname"}
    assert set(members(calls.Exec)) == {"execve", "execveat"}
    assert set(members(calls.Rename)) == {"rename", "renameat", "renameat2"}
    assert set(members(calls.Stat)) == {
        *("stat", "lstat", "newfstatat", "statx", "stat64", "lstat64", "fstatat64"),
        *("oldstat", "oldlstat"),
    }


def test_every_call_with_a_path_is_found_by_its_path() -> None:
    """But those whose paths have names of their own, because there are two."""
    for name, call in TABLE.items():
        if "path" in call.registers:
            assert issubclass(call, calls.ByPath), name
