"""Figures of the calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from viewosd.core.stats import CONTINUED, VERDICTS, CallStats, Stats


def test_a_call_that_was_never_answered_has_no_row() -> None:
    stats = Stats()
    stats.of("uname")
    assert stats.table() == []


def test_a_call_without_a_timed_answer_has_no_latency() -> None:
    stats = Stats()
    stats.of("uname").counts[CONTINUED] = 2
    (row,) = stats.table()
    assert (row["call"], row["count"], row["continue"], row["return"]) == ("uname", 2, 2, 0)
    assert row["p50_us"] is row["p99_us"] is row["max_us"] is None


def test_the_most_frequent_call_comes_first() -> None:
    stats = Stats()
    for name, count in (("b", 1), ("c", 3), ("a", 1)):
        stats.of(name).counts[CONTINUED] = count
    assert [row["call"] for row in stats.table()] == ["c", "a", "b"]


def test_figures_are_kept_by_name() -> None:
    stats = Stats()
    assert stats.of("uname") is stats.of("uname")
    assert stats.of("uname") is not stats.of("open")


@given(st.lists(st.integers(0, 2**60), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_at_least_the_true_one_and_at_most_twice_it(
    times: list[int], share: float
) -> None:
    call = CallStats()
    for time in times:
        call.timed(time)
    found = call.percentile_us(share)
    assert found is not None
    rank = next(n for n in range(1, len(times) + 1) if n >= share * len(times))
    true_us = min(sorted(times)[rank - 1], 2**47 - 1) / 1000
    assert true_us <= found <= max(2 * true_us, 0.001)


@given(st.lists(st.integers(0, 10**9)))
def test_every_timed_answer_is_in_the_histogram(times: list[int]) -> None:
    call = CallStats()
    for time in times:
        call.timed(time)
    assert sum(call.latency) == len(times)


def test_every_verdict_has_a_column() -> None:
    stats = Stats()
    stats.of("x").counts = list(range(1, len(VERDICTS) + 1))
    (row,) = stats.table()
    assert [row[v] for v in VERDICTS] == list(range(1, len(VERDICTS) + 1))
