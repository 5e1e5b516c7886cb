"""Messages survive the way to bytes and back; noise is refused and nothing else happens."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from viewosd.wire import (
    CODES,
    GUARDED,
    MAX_MESSAGE,
    VERBS,
    Bulk,
    Notification,
    PeerError,
    Request,
    Response,
    UsageError,
    Who,
    decode,
    encode,
    fill,
)
from viewosd.wire.messages import id_of

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

VALUES = {
    int: st.integers(1, 15), bool: st.booleans(), float: st.floats(0, 100),
    str: st.text(min_size=1, max_size=20), bytes: st.binary(min_size=1, max_size=50),
    list[bytes]: st.lists(st.binary(max_size=20), min_size=1, max_size=5),
    dict[bytes, bytes]: st.dictionaries(st.binary(max_size=9), st.binary(max_size=9), max_size=5),
    dict[str, Any]: st.dictionaries(st.text(max_size=9), st.booleans() | st.lists(st.binary()), max_size=5),
}  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> Request:
    verb = draw(st.sampled_from(sorted(VERBS)))
    params = [draw(VALUES[kind.type]) for kind in VERBS[verb].params.values()]
    return Request(draw(st.integers(0, 2**32 - 1)), verb, params)


@CALM
@given(requests())
def test_every_request_comes_back_from_its_bytes(request: Request) -> None:
    data, bulk = encode(request)
    assert bulk is None
    assert decode(data) == request


@CALM
@given(st.binary(max_size=200))
def test_noise_is_refused_in_one_line_or_is_a_message(data: bytes) -> None:
    try:
        message = decode(data)
    except PeerError as error:
        said = str(error)
    else:
        said = type(message).__name__
    assert "\n" not in said


@CALM
@given(requests(), st.data())
def test_a_cut_message_is_never_a_message(request: Request, data: st.DataObject) -> None:
    whole, _ = encode(request)
    with pytest.raises(PeerError):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@CALM
@given(requests(), st.binary(min_size=1, max_size=9))
def test_bytes_after_a_message_are_refused(request: Request, more: bytes) -> None:
    with pytest.raises(PeerError):
        decode(encode(request)[0] + more)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=9,
)


@CALM
@given(JUNK)
def test_other_messagepack_is_refused_or_is_a_message(junk: object) -> None:
    data = msgpack.packb(junk)
    try:
        message = decode(data)
    except PeerError:
        assert id_of(data) is None or 0 <= id_of(data) < 2**32
    else:
        assert message[0] is not None


def test_a_message_at_the_limit_is_sent_inline_and_one_byte_more_goes_into_a_memfd() -> None:
    def add(size: int) -> Request:
        return Request(1, "exec", [None, [b"x" * size], {}, b"/"])

    room = MAX_MESSAGE - len(encode(add(300))[0]) + 300
    data, bulk = encode(add(room))
    assert (len(data), bulk) == (MAX_MESSAGE, None)
    data, bulk = encode(add(room + 1))
    assert bulk is not None
    assert decode(data) == Request(1, "exec", Bulk(len(bulk)))
    assert fill(decode(data), bulk) == add(room + 1)


def test_a_message_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(PeerError, match="at most"):
        decode(msgpack.packb([2, "signal", [b"x" * MAX_MESSAGE]]))


def test_parameters_in_a_memfd_that_are_no_array_are_refused() -> None:
    with pytest.raises(PeerError, match="no array"):
        fill(Request(1, "exec", Bulk(1)), b"\x05")


def test_a_result_may_be_anything_but_a_number() -> None:
    data, _ = encode(Response(3, None, {"status": 0}))
    assert decode(data) == Response(3, None, {"status": 0})
    with pytest.raises(UsageError):
        encode(Response(3, None, 5))


def test_an_error_carries_a_code_of_the_table_and_one_line() -> None:
    data, _ = encode(Response(3, ("busy", "later"), None))
    assert decode(data) == Response(3, ("busy", "later"), None)
    with pytest.raises(UsageError, match="no such error code"):
        encode(Response(3, ("whatever", ""), None))


@pytest.mark.parametrize(
    "message",
    [
        Request(1, "nosuch", []),
        Request(1, "views", [1]),
        Request(1 << 32, "views", []),
        Request(1, "ps", ["name"]),
        Request(1, "stop", [None, -1.0]),
        Request(1, "stop", [None, float("nan")]),
        Request(1, "exec", [None, [], {}, b"/"]),
        Request(1, "name", [None, "x" * 65]),
        Request(1, "name", [None, "\udcff"]),
        Notification("signal", [1, 65]),
    ],
)
def test_what_the_supervisor_would_refuse_is_not_even_sent(message: Request) -> None:
    with pytest.raises(UsageError):
        encode(message)


def test_every_code_has_an_exit_status_that_shells_do_not_take_for_a_signal() -> None:
    assert all(0 < status < 128 for status in CODES.values())


def test_what_a_secure_view_guards_is_what_changes_it() -> None:
    """Left out: what adds a guard, begins something of one's own, or ends what one may kill; and
    what tells why a mount of one's own failed.
    """
    changes = {name for name, verb in VERBS.items() if verb.who is Who.OWNER}
    assert changes - set(GUARDED) == {"secure", "branch", "stop", "why"}
    assert set(GUARDED) <= changes
