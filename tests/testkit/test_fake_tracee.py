"""The fake tracee offers what the real one does, and fails as it does."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewosd import BadAddress, Tracee, Vanished
from viewosd.abi.arch import Arch
from viewosd.abi.files import flock
from viewosd.abi.resource import rlimit
from viewosd.runtime.tracee import ThreadTracee
from viewosd.syscalls.kinds import Out
from viewosd.testing.tracee import FakeTracee

OFFERED = [name for name in vars(Tracee) if not name.startswith("_")]


@pytest.mark.parametrize("name", OFFERED)
def test_both_offer_everything_that_a_service_may_use(name):
    assert hasattr(FakeTracee(), name)
    assert name in ThreadTracee.__slots__ or hasattr(ThreadTracee, name)


@given(st.binary(min_size=1, max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_reading_is_exact_or_a_bad_address(data, at, length):
    tracee = FakeTracee()
    address = tracee.put(data)
    if at < len(data) and at + length <= len(data):
        assert tracee.read(address + at, length) == data[at : at + length]
    else:
        with pytest.raises(BadAddress):
            tracee.read(address + at, length)


@given(st.binary(max_size=300))
def test_a_string_ends_at_its_nul_or_the_memory_does(data):
    tracee = FakeTracee()
    address = tracee.put(data + b"x")
    if b"\0" in data:
        assert tracee.read_str(address) == data.partition(b"\0")[0]
    else:
        with pytest.raises(BadAddress):
            tracee.read_str(address)


def test_a_string_without_an_end_in_reach_is_too_long():
    tracee = FakeTracee()
    with pytest.raises(OSError, match="too long") as raised:
        tracee.read_str(tracee.put(b"x" * 5000))
    assert raised.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize("arch", [Arch.X86_64, Arch.I386])
def test_arguments_are_read_with_pointers_of_its_own_size(arch):
    tracee = FakeTracee(arch)
    words = [tracee.put(word + b"\0") for word in (b"one", b"", b"three")]
    block = b"".join(word.to_bytes(arch.pointer_size, "little") for word in (*words, 0))
    assert tracee.read_strs(tracee.put(block)) == [b"one", b"", b"three"]


def test_a_structure_is_narrowed_for_a_32_bit_program_and_overflows_as_in_the_kernel():
    tracee = FakeTracee(Arch.I386)
    lock = flock(l_type=1, l_whence=0, l_start=5, l_len=7, l_pid=9)
    address = Out(tracee.put(bytes(16)))
    tracee.write_struct(address, lock)
    assert tracee.read_struct(address, flock) == lock
    with pytest.raises(OSError, match=os.strerror(errno.EOVERFLOW)):
        tracee.write_struct(address, flock(1, 0, 1 << 40, 0, 0))
    assert tracee.read_struct(address, flock) == lock
    assert rlimit.sizeof > 8


def test_descriptors_are_duplicates_and_closed_again():
    tracee = FakeTracee()
    read, write = os.pipe()
    tracee.descriptors[5] = read
    with tracee.fd(5) as ours:
        assert ours != read
        os.write(write, b"x")
        assert os.read(ours, 1) == b"x"
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(ours)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)), tracee.fd(6):
        pass
    os.close(read)
    os.close(write)


def test_a_tracee_that_is_gone_vanishes_at_every_touch():
    tracee = FakeTracee()
    address = tracee.put(b"data\0")
    tracee.alive = False
    for touch in (
        tracee.check,
        lambda: tracee.read(address, 1),
        lambda: tracee.read_str(address),
        lambda: tracee.write(address, b"x"),
        lambda: tracee.open(-100, b"/"),
    ):
        with pytest.raises(Vanished):
            touch()


def test_paths_start_at_its_working_directory(tmp_path):
    (tmp_path / "file").write_text("x")
    tracee = FakeTracee(cwd=os.fsencode(tmp_path))
    assert tracee.path_of(-100, b"file") == os.fsencode(tmp_path / "file")
    fd = tracee.open(-100, b"file")
    assert os.read(fd, 9) == b"x"
    os.close(fd)
