"""The verb "ask": a service's own command, answered by the service or by a program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.fake_supervisor import FakeChild, FakeLoaded, FakeSupervisor, Misc, running, terminate
from viewos_clients.session import Refused, Session
from viewosd.errors import ServiceError
from viewosd.runtime import working
from viewosd.service import Service, Work


class Oracle(Service):
    """Answers."""

    name = "oracle"

    async def ask(self, what: str, arguments: Mapping[str, Any], pid: int) -> Any:
        if what == "program":
            return Work((sys.executable, "-c", arguments["code"]))
        if what == "no":
            raise ServiceError("that is not for you")
        return {"what": what, "arguments": dict(arguments)}


class Started:
    """What `working.start` started here: the fake supervisor has no children of its own."""

    def __init__(self) -> None:
        self.children: list[subprocess.Popen[bytes]] = []

    def __call__(self, supervisor: Any, argv: list[bytes], fds: list[int]) -> FakeChild:
        stdin, stdout, stderr = fds
        self.children.append(subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr))
        return FakeChild(self.children[-1])


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    started = Started()
    monkeypatch.setattr(working, "start", started)
    yield started
    for child in started.children:
        terminate(child)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("VIEWOS_RUNTIME_DIR", str(tmp_path / "run"))
    with running(FakeSupervisor()) as supervisor:
        supervisor.root.services += [FakeLoaded(Oracle(), "oracle"), FakeLoaded(Misc(), "misc")]
        with Session(supervisor.serverid) as session:
            yield session


def test_a_service_is_told_what_was_asked(session: Session) -> None:
    asked = {"paths": [b"\xff"], "deep": {"yes": True}}
    answer = session.call("ask", None, "oracle", "colour", asked, fds=(0, 1, 2))
    assert answer == {"what": "colour", "arguments": asked}


@pytest.mark.parametrize(
    ("service", "what", "line"),
    [
        ("nosuch", "x", "nosuch is not loaded here (loaded: oracle, misc)"),
        ("misc", "x", "service misc has no command x"),
        ("oracle", "no", "that is not for you"),
    ],
)
def test_a_refusal_is_one_line(session: Session, service: str, what: str, line: str) -> None:
    with pytest.raises(Refused, match=r".") as caught:
        session.call("ask", None, service, what, {}, fds=(0, 1, 2))
    assert str(caught.value) == line


def test_a_program_answers_on_the_streams_of_who_asked(session: Session, started: Started) -> None:
    read, write = os.pipe()
    code = "import sys; print('x' * 3); sys.exit(7)"
    with open(read, "rb") as answer:
        told = session.call("ask", None, "oracle", "program", {"code": code}, fds=(0, write, 2))
        os.close(write)
        assert os.waitstatus_to_exitcode(told["status"]) == 7
        assert answer.read() == b"xxx\n"


def test_a_program_is_ended_when_who_asked_is_gone(session: Session, started: Started) -> None:
    read, write = os.pipe()
    code = "import time; print(flush=True); time.sleep(1000)"
    session.start("ask", None, "oracle", "program", {"code": code}, fds=(0, write, 2))
    os.close(write)
    with open(read, "rb") as answer:
        assert answer.readline() == b"\n"
        session.close()
        assert answer.read() == b""
