"""Clients that break the protocol: each loses its connection, nobody else notices, nothing leaks."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.fake_supervisor import FakeSupervisor, descriptors, running
from viewos_clients.session import Session
from viewosd.keeper import place
from viewosd.wire import MAX_MESSAGE, VERBS

CALM = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSupervisor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIEWOS_RUNTIME_DIR", str(tmp_path_factory.mktemp("run") / "run"))
        with running(FakeSupervisor()) as supervisor:
            yield supervisor


@pytest.fixture(scope="module")
def bystander(supervisor: FakeSupervisor) -> Iterator[Session]:
    """Another client, connected all the time."""
    with Session(supervisor.serverid) as session:
        yield session


@contextlib.contextmanager
def hostile(supervisor: FakeSupervisor) -> Iterator[socket.socket]:
    with place.connect(supervisor.serverid) as sock:
        sock.settimeout(60)
        yield sock


def last_words(sock: socket.socket) -> list[Any]:
    """Everything that the supervisor says until it hangs up."""
    return list(iter(lambda: receive(sock), None))


def send(sock: socket.socket, data: bytes, fds: list[int] | None = None) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendmsg([data], rights)


MARK = 0xFACE


def exchange(supervisor: FakeSupervisor, data: bytes, fds: list[int] | None = None) -> list[Any]:
    """What comes back for one datagram on a new connection.

    A second, good request tells where the answers to the first end if the connection goes on.
    """
    awaited = {MARK}
    with contextlib.suppress(Exception):
        kind, id, *_ = msgpack.unpackb(data)
        awaited |= {id} if kind == 0 else set()
    with hostile(supervisor) as sock:
        send(sock, data, fds)
        send(sock, msgpack.packb([0, MARK, "ps", [0]]))
        said = []
        while awaited and (message := receive(sock)) is not None:
            said.append(message)
            awaited -= {message[1]}
    return [message for message in said if message[1] != MARK]


def receive(sock: socket.socket) -> Any:
    """One message, or None at the end."""
    try:
        data = sock.recv(MAX_MESSAGE)
    except ConnectionResetError:  # said once, before what is still in the queue
        data = sock.recv(MAX_MESSAGE)
    return msgpack.unpackb(data) if data else None


def is_well_formed(answers: list[Any]) -> bool:
    """Errors and results only, at most one each: the protocol's, not ours to be surprised by."""
    return (
        all(
            (a[0] == 1 and len(a) == 4 and (a[2] is None or len(a[2]) == 2))
            or (a[:2] == [2, "bye"] and a[2][0] == "bad-request")
            for a in answers
        )
        and len(answers) <= 1
    )


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats()
    | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
HARMLESS = sorted(set(VERBS) - {"exec", "trace"})


@CALM
@given(st.binary(min_size=1, max_size=300))
def test_garbage_ends_that_connection_only(
    supervisor: FakeSupervisor, bystander: Session, data: bytes
) -> None:
    assert is_well_formed(exchange(supervisor, data))
    assert bystander.call("ps", 0)


@CALM
@given(st.sampled_from(["0", "1", "2"]), JUNK, JUNK, JUNK)
def test_messages_of_wrong_types_are_errors(
    supervisor: FakeSupervisor, bystander: Session, kind: str, a: Any, b: Any, c: Any
) -> None:
    assert is_well_formed(exchange(supervisor, msgpack.packb([int(kind), a, b, c])))
    assert bystander.call("ps", 0)


@CALM
@given(st.integers(0, MARK - 1), st.sampled_from(HARMLESS), st.lists(JUNK, max_size=5))
def test_wrong_parameters_are_answered_under_their_id(
    supervisor: FakeSupervisor, bystander: Session, id: int, verb: str, params: list[Any]
) -> None:
    answers = exchange(supervisor, msgpack.packb([0, id, verb, params]))
    assert is_well_formed(answers)
    assert [answer[1] for answer in answers] == [id]
    assert bystander.call("ps", 0)


@CALM
@given(st.sampled_from(HARMLESS), st.data())
def test_a_truncated_request_is_an_error(
    supervisor: FakeSupervisor, verb: str, data: st.DataObject
) -> None:
    whole = msgpack.packb([0, 5, verb, [None] * len(VERBS[verb].params)])
    answers = exchange(supervisor, whole[: data.draw(st.integers(1, len(whole) - 1))])
    assert answers
    assert is_well_formed(answers)


@pytest.mark.parametrize(
    ("data", "answered"),
    [
        (msgpack.packb([0, 8, "ps", ["zero"]]), [1, 8]),
        (msgpack.packb([0, 8, "ps", []]), [1, 8]),
        (msgpack.packb([0, 8, "ps", [0, 0]]), [1, 8]),
        (msgpack.packb([0, 8, "ps", {"view": 0}]), [1, 8]),
        (msgpack.packb([0, 8, "stop", [0, float("nan")]]), [1, 8]),
        (msgpack.packb([0, 8, 9, []]), [1, 8]),
        (msgpack.packb([0, 1 << 32, "ps", [0]]), [2, "bye"]),
        (msgpack.packb([0, -1, "ps", [0]]), [2, "bye"]),
        (msgpack.packb([1, 8, None, None]), [2, "bye"]),
        (msgpack.packb([2, "nosuch", []]), [2, "bye"]),
        (msgpack.packb([2, "signal", [1, 99]]), [2, "bye"]),
        (msgpack.packb([0, 8, "ps", [0]]) + b"\xc0", [2, "bye"]),
        (msgpack.packb([0, 8, "name", [0, "x" * 70_000]]), [2, "bye"]),
        (b"\x91" * 60_000, [2, "bye"]),
        (b"\xdd\xff\xff\xff\xff", [2, "bye"]),
        (b"\xc6\xff\xff\xff\xff", [2, "bye"]),
        (msgpack.packb([0, 8, "ps", [msgpack.Timestamp(1)]]), [1, 8]),
        (b"\x94\x00\x08\xa2\xff\xfe\x90", [2, "bye"]),
    ],
    ids=str,
)
def test_each_way_to_break_the_protocol_is_named_and_ends_the_connection(
    supervisor: FakeSupervisor, data: bytes, answered: list[Any]
) -> None:
    with hostile(supervisor) as sock:
        send(sock, data)
        (answer,) = last_words(sock)  # and the end, though our side is still open
    if answered == [1, 8] and answer[0] == 2:
        assert answer[1] == "bye"  # an extension type hides the id from the plain decoder
    else:
        assert answer[:2] == answered
    error = answer[2]
    assert error[0] == "bad-request"
    assert "\n" not in error[1]


def test_an_empty_message_is_a_goodbye(supervisor: FakeSupervisor) -> None:
    with hostile(supervisor) as sock:
        send(sock, b"")
        assert last_words(sock) == []


def test_an_unknown_verb_is_an_error_but_no_offence(supervisor: FakeSupervisor) -> None:
    with hostile(supervisor) as sock:
        send(sock, msgpack.packb([0, 1, "later", [1, 2]]))
        assert msgpack.unpackb(sock.recv(MAX_MESSAGE))[2][0] == "no-such-verb"
        send(sock, msgpack.packb([0, 2, "ps", [0]]))
        assert msgpack.unpackb(sock.recv(MAX_MESSAGE))[:3] == [1, 2, None]


def test_an_id_that_is_under_way_cannot_be_used_again(supervisor: FakeSupervisor) -> None:
    with hostile(supervisor) as sock:
        for _ in range(2):
            send(sock, msgpack.packb([0, 4, "trace", [0]]))
        (answer,) = last_words(sock)
    assert answer[:2] == [1, 4]
    assert "already" in answer[2][1]


@pytest.mark.parametrize("count", [1, 2, 4, 8, 9, 30])
@pytest.mark.parametrize("verb", ["ps", "exec", "signal", "garbage"])
def test_descriptors_where_none_belong_are_closed(
    supervisor: FakeSupervisor, bystander: Session, verb: str, count: int
) -> None:
    before = descriptors()
    reader, writer = os.pipe()
    data = {
        "ps": msgpack.packb([0, 1, "ps", [0]]),
        "exec": msgpack.packb([0, 1, "exec", [0, [b"/bin/true"], {}, b"/"]]),
        "signal": msgpack.packb([2, "signal", [1, 1]]),
        "garbage": b"\xc1",
    }[verb]
    (answer,) = exchange(supervisor, data, [writer] * count)
    assert answer[2][0] == "bad-request"
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.read() == b""  # the last writing end is closed: none is kept
    assert bystander.call("ps", 0)
    assert descriptors() <= before


def memfd(content: bytes, seals: int = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE) -> int:
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def pipe_end() -> int:
    reader, writer = os.pipe()
    os.close(writer)
    return reader


PS = msgpack.packb([0])


@pytest.mark.parametrize(
    ("make", "length"),
    [
        (lambda: memfd(PS, 0), len(PS)),
        (lambda: memfd(PS, fcntl.F_SEAL_WRITE), len(PS)),
        (lambda: memfd(PS), len(PS) + 1),
        (lambda: memfd(b"\xc1"), 1),
        (lambda: memfd(msgpack.packb(["zero"])), 6),
        (lambda: memfd(PS), 1 << 30),
        (lambda: memfd(PS), 0),
        (pipe_end, 2),
        (lambda: os.open("/dev/zero", os.O_RDONLY), 2),
        (lambda: os.open("/", os.O_RDONLY), 2),
        (lambda: os.open("/", os.O_PATH), 2),
    ],
)
def test_what_could_block_or_change_is_not_read_as_parameters(
    supervisor: FakeSupervisor, make: Any, length: int
) -> None:
    fd = make()
    (answer,) = exchange(supervisor, msgpack.packb([0, 1, "ps", length]), [fd])
    os.close(fd)
    assert answer[:2] == [1, 1]
    assert answer[2][0] == "bad-request"


def test_parameters_in_a_sealed_memfd_are_as_good_as_others(supervisor: FakeSupervisor) -> None:
    fd = memfd(PS)
    (answer,) = exchange(supervisor, msgpack.packb([0, 1, "ps", len(PS)]), [fd])
    os.close(fd)
    assert answer == [1, 1, None, {"pids": [os.getpid()]}]


def test_a_client_that_reads_nothing_does_not_keep_others_waiting(
    supervisor: FakeSupervisor, bystander: Session
) -> None:
    with hostile(supervisor) as sock:
        sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            for id in range(5000):
                send(sock, msgpack.packb([0, id, "views", []]))
        for _ in range(20):
            assert bystander.call("ps", 0)


def test_nothing_is_left_open_after_all_of_this(
    supervisor: FakeSupervisor, bystander: Session, tmp_path: Path
) -> None:
    before = descriptors()
    for _ in range(100):
        exchange(supervisor, b"\xc1")
        exchange(supervisor, msgpack.packb([0, 1, "ps", [0]]), [0, 1, 2])
    while bystander.call("probe")["connections"] > 1:
        pass
    assert descriptors() <= before
