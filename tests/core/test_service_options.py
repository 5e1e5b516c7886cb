"""Options of a service, as users write them: `parse_options`, `make_service`."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewosd.errors import ServiceError
from viewosd.service import Service, make_service, parse_options


class Sample(Service):
    """Everything an option may be."""

    name = "sample"

    def __init__(
        self,
        text: str = "",
        raw: bytes = b"",
        count: int = 0,
        rate: float = 1.0,
        on: bool = False,
        words: list[str] | None = None,
        numbers: list[int] = [],  # noqa: B006 - never changed
        maybe: int | None = None,
    ) -> None:
        if count == 13:
            raise ValueError("13 is not wanted")
        self.options = (text, raw, count, rate, on, words, numbers, maybe)


class Needs(Service):
    name = "needs"

    def __init__(self, source: str, target: str) -> None:
        self.options = (source, target)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,")


names = st.text(st.characters(blacklist_characters=",\\=", blacklist_categories=["Cs"]), min_size=1)
values = st.text(st.characters(blacklist_categories=["Cs"]))


@given(names, st.lists(st.tuples(names, values)))
def test_what_was_written_with_escapes_is_read_back(name: str, pairs: list) -> None:
    text = ",".join([name, *(f"{n}={escaped(v)}" for n, v in pairs)])
    assert parse_options(text) == (name, pairs)


@given(st.text())
def test_any_text_is_split_into_a_name_and_pairs(text: str) -> None:
    name, pairs = parse_options(text)
    assert isinstance(name, str)
    assert all(isinstance(n, str) and isinstance(v, str) for n, v in pairs)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("misc", ("misc", [])),
        ("misc,nodename=box", ("misc", [("nodename", "box")])),
        ("a,b", ("a", [("b", "")])),
        ("a,b=", ("a", [("b", "")])),
        ("a,b=c=d", ("a", [("b", "c=d")])),
        ("a,,b", ("a", [("b", "")])),
        ("a,", ("a", [])),
        ("", ("", [])),
        (r"a,b=1\,2", ("a", [("b", "1,2")])),
        (r"a,b=1\\,c", ("a", [("b", "1\\"), ("c", "")])),
        ("a,b=c\\", ("a", [("b", "c\\")])),
    ],
)
def test_how_options_are_written(text: str, parsed: tuple) -> None:
    assert parse_options(text) == parsed


@pytest.mark.parametrize(
    ("text", "index", "value"),
    [
        ("text=a=b", 0, "a=b"),
        ("text", 0, ""),
        ("raw=é\udcff", 1, "é".encode() + b"\xff"),
        ("count=7", 2, 7),
        ("count=-7", 2, -7),
        ("count=0x10", 2, 16),
        ("count=0o17", 2, 15),
        ("rate=2.5", 3, 2.5),
        ("rate=1e3", 3, 1000.0),
        ("on", 4, True),
        ("on=yes", 4, True),
        ("on=TRUE", 4, True),
        ("on=1", 4, True),
        ("on=no", 4, False),
        ("on=0", 4, False),
        ("words=a,words=b", 5, ["a", "b"]),
        ("numbers=1,numbers=0x2", 6, [1, 2]),
        ("maybe=3", 7, 3),
    ],
)
def test_an_option_is_converted_to_its_annotation(text: str, index: int, value: object) -> None:
    service = make_service(Sample, parse_options("sample," + text)[1])
    assert service.options[index] == value  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing=1", "has no option nothing (it has: text, raw"),
        ("count=", "option count: '' is no int"),
        ("count=x", "'x' is no int"),
        ("count=1.5", "'1.5' is no int"),
        ("rate=x", "'x' is no float"),
        ("on=perhaps", "'perhaps' is no bool"),
        ("numbers=1,numbers=x", "'x' is no int"),
        ("count=1,count=2", "option count is given twice"),
        ("count=13", "sample: 13 is not wanted"),
        ("self=1", "has no option self"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ServiceError) as error:
        make_service(Sample, parse_options("sample," + text)[1])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_option_without_default_must_be_given() -> None:
    with pytest.raises(ServiceError, match="needs needs option source, target"):
        make_service(Needs, [])
    with pytest.raises(ServiceError, match="needs needs option target"):
        make_service(Needs, [("source", "x")])
    assert make_service(Needs, [("target", "b"), ("source", "a")]).options == ("a", "b")  # type: ignore[attr-defined]


def test_a_service_without_options_says_so() -> None:
    class Bare(Service):
        name = "bare"

    assert isinstance(make_service(Bare, []), Bare)
    with pytest.raises(ServiceError, match=r"bare has no option x \(it has: none\)"):
        make_service(Bare, [("x", "")])


options = st.sampled_from(["text", "count", "rate", "on", "words", "maybe", "x"])


@given(st.lists(st.tuples(options, values)))
def test_any_options_make_a_service_or_a_service_error(pairs: list) -> None:
    with contextlib.suppress(ServiceError):
        assert isinstance(make_service(Sample, pairs), Sample)
