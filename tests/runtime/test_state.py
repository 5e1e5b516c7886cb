"""What a successor reads is always whole: the newest that was written, or the one before."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewosd.runtime import state as module
from viewosd.runtime.state import HALF, State

FACTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def fd() -> Iterator[int]:
    number = os.memfd_create("state")
    yield number
    os.close(number)


def test_nothing_was_saved_yet(fd):
    assert State(fd).load() is None


@given(st.lists(FACTS, min_size=1, max_size=5))
def test_the_last_that_was_saved_is_loaded_by_whoever_comes(saved):
    number = os.memfd_create("state")
    try:
        for facts in saved:
            State(number).save(facts)
            assert State(number).load() == facts
    finally:
        os.close(number)


def test_a_death_at_any_write_leaves_the_old_or_the_new(fd, monkeypatch):
    """Each write is the last one in turn, and may have been done by half."""
    old, new = {"names": ["old"] * 50}, {"names": ["new"] * 70}
    write = os.pwrite

    class Died(Exception):
        pass

    for deadly in range(2):
        for half in (False, True):
            monkeypatch.setattr(os, "pwrite", write)
            State(fd).save({"before": deadly})
            State(fd).save(old)
            writes = 0

            def dying(number: int, data: bytes, at: int, half=half, deadly=deadly) -> int:
                nonlocal writes
                if writes == deadly:
                    if half and at:  # the header is 16 bytes in one page: never by half
                        write(number, data[: len(data) // 2], at)
                    raise Died
                writes += 1
                return write(number, data, at)

            monkeypatch.setattr(os, "pwrite", dying)
            with pytest.raises(Died):
                State(fd).save(new)
            assert State(fd).load() == old
    monkeypatch.setattr(os, "pwrite", write)
    State(fd).save(new)
    assert State(fd).load() == new


def test_what_does_not_fit_changes_nothing(fd, monkeypatch):
    monkeypatch.setattr(module, "HALF", 100)
    state = State(fd)
    state.save({"small": 1})
    with pytest.raises(ValueError, match="more than 100"):
        state.save({"big": "x" * 200})
    with pytest.raises(TypeError):
        state.save({"odd": object()})
    assert state.load() == {"small": 1}
    assert HALF > 1 << 20


def test_what_was_saved_already_is_not_written_again(fd, monkeypatch):
    state = State(fd)
    state.save([1, 2])
    monkeypatch.setattr(os, "pwrite", None)
    state.save([1, 2])
