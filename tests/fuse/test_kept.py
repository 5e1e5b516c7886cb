"""What outlives a tree server, without one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewosd.abi.fuse import fuse_in_header
from viewosd.fuse import inhand
from viewosd.fuse.inhand import InHand, Left
from viewosd.fuse.kept import Kept, read


@pytest.fixture
def fd() -> Iterator[int]:
    made = os.memfd_create("test")
    yield made
    os.close(made)


VALUES = st.recursive(
    st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=50) | st.text(max_size=20) | st.none(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.tuples(st.integers(-3, 20), st.none() | st.tuples(VALUES)), max_size=60))
def test_what_was_put_in_and_taken_out_is_there_again(changes):
    fd = os.memfd_create("test")
    try:
        kept, model = Kept(fd), {}
        for key, value in changes:
            if value is not None:
                kept[key] = model[key] = value[0]
            elif key in model:
                del kept[key], model[key]
        assert dict(kept) == model
        assert read(fd) == model
        assert dict(Kept(fd)) == model
    finally:
        os.close(fd)


def test_a_record_that_is_cut_off_never_was(fd: int):
    kept = Kept(fd)
    kept[1] = "one"
    kept[2] = b"x" * 100
    whole = os.fstat(fd).st_size
    for length in range(whole - 100, whole):
        os.ftruncate(fd, length)
        assert read(fd) == {1: "one"}
    again = Kept(fd)
    again[3] = "three"
    assert dict(Kept(fd)) == {1: "one", 3: "three"}


def test_the_file_stays_small_and_its_number_the_same(fd: int):
    kept = Kept(fd)
    kept[7] = "stays"
    for number in range(20_000):
        kept[number % 10] = number
        del kept[number % 10]
        kept[7] = "stays"
    assert os.fstat(fd).st_size < 200_000
    assert dict(Kept(fd)) == {7: "stays"}
    with pytest.raises(KeyError):
        del kept[8]


def request(unique: int) -> bytes:
    return fuse_in_header(40, 15, unique, 1, 0, 0, 0, 0).pack()


def test_requests_in_hand_are_found_and_answered_ones_are_not(fd: int):
    hand = InHand(fd)
    slots = [hand.take(device) for device in range(200)]
    for number, slot in enumerate(slots):
        slot.head[:] = request(2 * number)
    inhand.waits(slots[3])
    for slot in slots[5:]:
        hand.give(slot)
    assert {one.unique for one in InHand(fd).left()} == {0, 2, 4, 6, 8}


def test_what_was_left_is_told_once(fd: int):
    hand = InHand(fd)
    one, other = hand.take(5), hand.take(6)
    one.head[:], other.head[:] = request(10), request(12)
    inhand.waits(other)
    successor = InHand(fd)
    assert set(successor.left()) == {Left(5, 15, 10, False), Left(6, 15, 12, True)}
    assert successor.left() == []
    successor.take(7).head[:] = request(14)
    assert InHand(fd).left() == [Left(7, 15, 14, False)]
