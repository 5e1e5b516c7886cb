"""The control socket, asked by a well-behaved client, and by one that is slow or leaves early."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.fake_supervisor import FakeSupervisor, descriptors, running
from viewos_clients.session import Refused, Session, result_of
from viewosd.runtime import control
from viewosd.runtime.verbs import HANDLERS
from viewosd.wire import FROM_CLIENT, VERBS, Notification, Response


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSupervisor]:
    monkeypatch.setenv("VIEWOS_RUNTIME_DIR", str(tmp_path / "run"))
    with running(FakeSupervisor()) as supervisor:
        yield supervisor


@pytest.fixture
def session(supervisor: FakeSupervisor) -> Iterator[Session]:
    with Session(supervisor.serverid) as session:
        yield session


def until(condition: Callable[[], Any]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def code(session: Session, verb: str, *params: Any, fds: tuple[int, ...] = ()) -> str:
    with pytest.raises(Refused) as refused:
        session.call(verb, *params, fds=fds)
    return refused.value.code


def test_every_verb_of_the_table_has_a_handler_that_takes_its_parameters() -> None:
    assert set(HANDLERS) == set(VERBS)
    for name, verb in VERBS.items():
        taken = HANDLERS[name].__code__.co_varnames[: HANDLERS[name].__code__.co_argcount]
        assert taken == ("sv", "ask", *verb.params)
    assert set(FROM_CLIENT) == {"signal", "cancel"}


def test_hello_tells_who_answers_and_where_the_caller_is(supervisor: FakeSupervisor) -> None:
    with Session(supervisor.serverid) as outside:
        assert (outside.serverid, outside.view) == (supervisor.serverid, None)
        assert outside.views == [(0, "main")]
    branch = supervisor.branch(3, name="box")
    supervisor.inside = lambda pid: branch if pid == os.getpid() else None
    with Session(supervisor.serverid) as inside:
        assert (inside.view, inside.views) == (3, [(0, "main"), (3, "box")])


def test_a_client_of_another_protocol_is_told_so(session: Session) -> None:
    assert code(session, "hello", 2) == "refused"


def test_services_come_move_and_go(session: Session, supervisor: FakeSupervisor) -> None:
    supervisor.release()
    session.call("add", None, b"misc,nodename=\xff", False)
    session.call("add", 0, b"late", True)
    rows = session.call("list", None)
    assert [(r["name"], r["options"], r["permanent"]) for r in rows] == [
        ("misc", b"nodename=\xff", False),
        ("late", b"", True),
    ]
    assert rows[0]["description"] == "Host name and other names of the system"
    session.call("mov", None, "misc", 99)
    assert [r["name"] for r in session.call("list", None)] == ["late", "misc"]
    session.call("del", None, "misc")
    assert code(session, "del", None, "misc") == "no-such-service"
    assert code(session, "mov", None, "misc", 0) == "no-such-service"
    assert code(session, "del", None, "late") == "refused"
    assert code(session, "add", None, b"nosuch", False) == "refused"


def test_views_and_processes_are_listed(session: Session, supervisor: FakeSupervisor) -> None:
    supervisor.branch(1, name="box")
    first, second = session.call("views")
    assert first == {
        "id": f"{os.getpid()}:0", "view": 0, "parent": None, "name": "main", "owner": os.getuid(),
        "processes": 1, "services": [], "since": 1_700_000_000.0,
    }  # fmt: skip
    assert (second["id"], second["parent"]) == (f"{os.getpid()}:1", f"{os.getpid()}:0")
    assert session.call("ps", 0) == {"pids": [os.getpid()]}
    assert session.call("ps", 1) == {"pids": []}


def test_a_view_that_ended_is_named_in_the_error(session: Session) -> None:
    with pytest.raises(Refused, match=f"view {os.getpid()}:9 has ended") as refused:
        session.call("ps", 9)
    assert refused.value.code == "no-such-view"


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[2J", "12", "12:3"])
def test_a_name_that_would_confuse_is_refused(session: Session, name: str) -> None:
    assert code(session, "name", None, name) == "refused"


def test_a_branch_may_change_itself_and_its_branches_but_not_what_it_came_from(
    supervisor: FakeSupervisor,
) -> None:
    parent = supervisor.branch(1)
    own = supervisor.branch(2, parent)
    supervisor.branch(3, own)
    supervisor.branch(4, parent)
    supervisor.inside = lambda pid: own
    with Session(supervisor.serverid) as session:
        session.call("name", None, "own")
        session.call("name", 3, "child")
        assert [view.name for view in supervisor.views.values()] == ["main", "", "own", "child", ""]
        for other in (0, 1, 4):
            assert code(session, "name", other, "no") == "refused"
            assert session.call("ps", other) is not None  # looking is free


def test_a_process_that_died_before_it_was_looked_at_is_outside(
    supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may be another's by now."""
    supervisor.inside = lambda pid: supervisor.root
    monkeypatch.setattr(control.datagram, "is_alive", lambda pidfd: False)
    with Session(supervisor.serverid) as session:
        assert session.view is None


def test_another_users_connection_is_refused_with_the_reason(
    supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket's directory keeps others out already; this is for a socket that was handed on."""
    monkeypatch.setattr(control.os, "getuid", lambda: 4_000_000_000)
    monkeypatch.setattr(control.struct, "unpack", lambda form, raw: (os.getpid(), 1234, 1234))
    with pytest.raises(Refused, match="belongs to another user"):
        Session(supervisor.serverid)


def test_exec_runs_with_the_clients_descriptors_directory_and_environment(
    session: Session, tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    script = b'pwd; echo "$A"; cat; echo err >&2; exit 7'
    null = os.open("/dev/null", os.O_RDONLY)
    result = session.call(
        "exec", None, [b"/bin/sh", b"-c", script], {b"A": b"\xff", b"PATH": b"/bin:/usr/bin"},
        os.fsencode(tmp_path), fds=(null, writer, writer),
    )  # fmt: skip
    assert os.waitstatus_to_exitcode(result["status"]) == 7
    os.close(writer)
    os.close(null)
    # The end of the pipe is seen: the supervisor has not kept its copy.
    with open(reader, "rb") as file:
        assert file.read() == os.fsencode(tmp_path) + b"\n\xff\nerr\n"


def test_an_environment_too_long_for_a_message_arrives_whole(session: Session) -> None:
    reader, writer = os.pipe()
    env = {f"V{i}".encode(): b"x" * 1000 for i in range(200)} | {b"PATH": b"/bin:/usr/bin"}
    null = os.open("/dev/null", os.O_RDONLY)
    argv = [b"/bin/sh", b"-c", b"env | grep -c ^V; true"]
    session.call("exec", None, argv, env, b"/", fds=(null, writer, null))
    os.close(writer)
    os.close(null)
    with open(reader, "rb") as file:
        assert file.read() == b"200\n"


@pytest.mark.parametrize(
    ("argv", "env", "expected"),
    [
        ([b"/nonexistent"], {}, "not-found"),
        ([b"/etc/passwd"], {}, "not-executable"),
        ([b"/bin/true", b"a\0b"], {}, "refused"),
        ([b"/bin/true"], {b"A=B": b""}, "refused"),
    ],
)
def test_what_cannot_be_executed_is_told_apart(
    session: Session, argv: list[bytes], env: dict[bytes, bytes], expected: str
) -> None:
    assert code(session, "exec", None, argv, env, b"/", fds=(0, 1, 2)) == expected


def start_sleep(session: Session, supervisor: FakeSupervisor, *prepare: bytes) -> int:
    argv = [b"/bin/sh", b"-c", b"; ".join([*prepare, b"while :; do sleep 1; done"])]
    null = os.open("/dev/null", os.O_RDWR)
    request = session.start("exec", None, argv, {b"PATH": b"/bin"}, b"/", fds=(null, null, null))
    os.close(null)
    until(lambda: any(said[0] == "exec" for said in supervisor.said))
    return request


def test_signals_reach_the_program(session: Session, supervisor: FakeSupervisor) -> None:
    request = start_sleep(session, supervisor)
    session.notify("signal", 99, 9)  # of no request: nothing happens
    session.notify("signal", request, 15)
    message = next(session.messages())
    assert isinstance(message, Response)
    assert os.waitstatus_to_exitcode(result_of(message)["status"]) == -15


def test_a_program_whose_client_is_gone_is_hung_up_on(
    supervisor: FakeSupervisor, tmp_path: Path
) -> None:
    mark = tmp_path / "hung-up"
    with Session(supervisor.serverid) as session:
        start_sleep(session, supervisor, b"trap 'echo > %s; exit' HUP" % os.fsencode(mark),
                    b"echo > %s.ready" % os.fsencode(mark))  # fmt: skip
        until((tmp_path / "hung-up.ready").exists)
    until(mark.exists)


def test_a_request_goes_on_when_its_client_leaves(supervisor: FakeSupervisor) -> None:
    with Session(supervisor.serverid) as session:
        session.start("add", None, b"late", False)
    with Session(supervisor.serverid) as other:
        assert other.call("list", None) == []
        supervisor.release()
        until(lambda: other.call("list", None))


def test_one_client_may_have_sixteen_requests_under_way(
    session: Session, supervisor: FakeSupervisor
) -> None:
    ids = [session.start("add", None, b"late", False) for _ in range(control.MAX_IN_FLIGHT)]
    assert code(session, "views") == "busy"
    supervisor.release()
    answered = set()
    for message in session.messages():
        assert isinstance(message, Response)
        answered.add(message.id)
        if len(answered) == len(ids):
            break
    assert answered == set(ids)


def test_the_client_that_was_idle_longest_makes_room_for_a_new_one(
    supervisor: FakeSupervisor,
) -> None:
    sessions = [Session(supervisor.serverid) for _ in range(control.MAX_CONNECTIONS)]
    sessions[0].call("views")
    with Session(supervisor.serverid) as late:
        assert late.call("probe")["connections"] == control.MAX_CONNECTIONS
    with pytest.raises(ConnectionError):
        sessions[1].call("name", None, "x")  # not a question, which would be asked again
    sessions[0].call("name", None, "x")
    for session in sessions:
        session.close()


def test_when_all_are_working_a_new_client_is_told_to_come_later(
    supervisor: FakeSupervisor,
) -> None:
    sessions = [Session(supervisor.serverid) for _ in range(control.MAX_CONNECTIONS)]
    for session in sessions:
        session.start("add", None, b"late", False)
        # Answered in order: once this is refused, the one before is being worked on.
        assert code(session, "ps", 9) == "no-such-view"
    with pytest.raises(Refused) as refused:
        Session(supervisor.serverid)
    assert refused.value.code == "busy"
    supervisor.release()
    for session in sessions:
        next(session.messages())
        session.close()


def test_a_trace_brings_the_records_of_its_view(
    session: Session, supervisor: FakeSupervisor
) -> None:
    request = session.start("trace", None)
    until(lambda: supervisor.tracers)
    supervisor.say(view=1, call="not this one")
    record = supervisor.say(view=0, call="open('\udcff')")
    message = next(session.messages())
    assert isinstance(message, Notification)
    id, records, lost = message.params
    assert (id, lost) == (request, 0)
    assert records == [record | {"call": "open('\\udcff')"}]
    session.notify("cancel", request)
    assert next(session.messages()) == Response(request, None, None)


def test_a_trace_ends_with_what_it_listens_to(session: Session, supervisor: FakeSupervisor) -> None:
    request = session.start("trace", None)
    until(lambda: supervisor.tracers)
    supervisor.hush()
    assert next(session.messages()) == Response(request, None, None)


def test_a_slow_tracer_loses_records_and_is_told_how_many(
    session: Session, supervisor: FakeSupervisor
) -> None:
    session.start("trace", None)
    until(lambda: supervisor.tracers)
    said = 20_000
    for number in range(said):
        supervisor.say(us=float(number), call="x" * 200)
    supervisor.say(lost=5)
    supervisor.say(us=-1.0)
    got, told = 0, 0
    with Session(supervisor.serverid) as other:  # is served while the first reads nothing
        assert other.call("views")
    for message in session.messages():
        assert isinstance(message, Notification)
        got += len(message.params[1])
        told += message.params[2]
        if got + told == said + 6:
            break
    assert told > 5


def test_stats_are_rows_with_names(session: Session) -> None:
    uname, _ = session.call("stats", None)
    assert (uname["call"], uname["count"], uname["p99_us"]) == ("uname", 12, 9.5)


def test_a_bug_in_a_handler_is_answered_and_logged(
    session: Session, supervisor: FakeSupervisor, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.root.stats = None  # type: ignore[assignment]
    assert code(session, "stats", None) == "internal"
    assert "Traceback" in caplog.text
    assert session.call("views")


def test_stop_and_attach_reach_the_supervisor(session: Session, supervisor: FakeSupervisor) -> None:
    session.call("stop", None, 2)
    session.call("attach", None, 77)
    assert code(session, "attach", None, 1) == "refused"
    assert supervisor.said == [("stop", 0, 2.0), ("attach", 0, 77)]


def test_connections_that_come_and_go_leave_no_descriptor(supervisor: FakeSupervisor) -> None:
    before = descriptors()
    for _ in range(50):
        with Session(supervisor.serverid) as session:
            session.start("views")
    with Session(supervisor.serverid) as session:
        until(lambda: session.call("probe")["connections"] == 1)
    until(lambda: descriptors() <= before)
