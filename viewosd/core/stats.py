"""How often each call was answered, how, and how fast. Pure; the hot path only counts."""

from __future__ import annotations

from typing import Final

VERDICTS: Final = ("continue", "return", "errno", "inject", "rewrite", "fault")
"""What is counted apart; "fault" is a hook that raised or was too late (the tracee got EIO)."""

CONTINUED, RETURNED, FAILED, INJECTED, REWRITTEN, FAULT = range(6)

SAMPLE: Final = 16
"""One answer in this many is timed: reading the clock twice costs more than counting."""


class CallStats:
    """One call's figures: a count per verdict, and a histogram of answer times by powers of two."""

    __slots__ = ("counts", "latency", "seen")

    def __init__(self) -> None:
        self.seen = 0
        self.counts = [0] * len(VERDICTS)
        self.latency = [0] * 48  # [n]: from 2**(n-1) up to 2**n nanoseconds

    def timed(self, nanoseconds: int) -> None:
        """One answer took this long, from receiving to answering."""
        self.latency[min(nanoseconds.bit_length(), 47)] += 1

    def percentile_us(self, share: float) -> float | None:
        """The microseconds within which ``share`` (0..1) of the timed answers were given.

        The upper edge of the bucket: up to twice the true figure. None: nothing timed yet.
        """
        total = sum(self.latency)
        wanted, so_far = share * total, 0
        for bits, count in enumerate(self.latency):
            so_far += count
            if total and so_far >= wanted:
                return (1 << bits) / 1000
        return None


class Stats:
    """The figures of a view, by call name."""

    def __init__(self) -> None:
        self.calls: dict[str, CallStats] = {}

    def of(self, call: str) -> CallStats:
        """The figures of one call, made when first asked for; they survive a change of services."""
        return self.calls.setdefault(call, CallStats())

    def table(self) -> list[dict[str, int | float | str | None]]:
        """A row a call, most frequent first."""
        rows = []
        for name, call in self.calls.items():
            count = sum(call.counts)
            if count:
                row: dict[str, int | float | str | None] = {"call": name, "count": count}
                row |= zip(VERDICTS, call.counts, strict=True)
                row |= {
                    "p50_us": call.percentile_us(0.5),
                    "p99_us": call.percentile_us(0.99),
                    "max_us": call.percentile_us(1.0),
                }
                rows.append(row)
        return sorted(rows, key=lambda row: (-int(row["count"] or 0), str(row["call"])))
