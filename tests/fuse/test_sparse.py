"""Contents with holes, against a plain bytearray."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewosd import sparse
from viewosd.sparse import PAGE, Sparse

OFFSET = st.integers(0, 40_000)
STEP = (
    st.tuples(st.just("write"), OFFSET, st.binary(max_size=300).map(lambda data: data * 40))
    | st.tuples(st.just("resize"), OFFSET)
    | st.tuples(st.just("punch"), OFFSET, OFFSET)
    | st.tuples(st.just("read"), OFFSET, OFFSET)
    | st.tuples(st.just("seek"), OFFSET)
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "CHUNK", 2 * PAGE)


@given(st.lists(STEP, max_size=25))
def test_it_reads_as_a_bytearray_that_was_treated_alike(steps):
    found, model, pages = Sparse(), bytearray(), set()
    for what, *args in steps:
        if what == "write":
            offset, data = args
            end = offset + len(data)
            assert found.missing(offset, end) == len(
                {page for page in range(offset // PAGE, -(-end // PAGE))} - pages
            )
            found.allocate(offset, end)
            pages |= set(range(offset // PAGE, -(-end // PAGE)))
            found.write(offset, data)
            model.extend(bytes(max(0, end - len(model))))
            model[offset:end] = data
        elif what == "resize":
            (size,) = args
            found.resize(size)
            pages = {page for page in pages if page * PAGE < size}
            del model[size:]
            model.extend(bytes(size - len(model)))
        elif what == "punch":
            start, end = sorted(args)
            found.punch(start, end)
            pages -= set(range(-(-start // PAGE), end // PAGE))
            stop = min(end, len(model))
            model[start:stop] = bytes(max(0, stop - start))
        elif what == "read":
            offset, size = args
            assert found.read(offset, size) == model[offset : offset + size]
        elif args[0] < len(model):
            seek(found, args[0], len(model), pages)
        assert (found.size, found.pages) == (len(model), pages)
    assert found.read(0, 1 << 20) == model


def seek(found: Sparse, offset: int, size: int, pages: set[int]) -> None:
    at = [p for p in range(offset, size) if p // PAGE in pages]
    assert found.data_from(offset) == (at[0] if at else -1)
    holes = [p for p in range(offset, size) if p // PAGE not in pages]
    assert found.hole_from(offset) == (holes[0] if holes else size)


def test_a_file_of_a_terabyte_takes_what_was_written():
    found = Sparse()
    found.resize(1 << 40)
    found.allocate(1 << 39, (1 << 39) + 1)
    found.write(1 << 39, b"x")
    assert found.read((1 << 39) - 1, 3) == b"\0x\0"
    assert (found.data_from(0), found.hole_from(1 << 39)) == (1 << 39, (1 << 39) + PAGE)
    assert found.missing(0, 1 << 40) >= (1 << 28) - 1
    assert found.size == 1 << 40
