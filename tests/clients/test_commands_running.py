"""The commands that last: exec with its signals, trace, and what they leave."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from helpers.commands import Run, command, environment, failed, ok
from helpers.fake_supervisor import FakeSupervisor, terminate


def until(condition: Callable[[], object]) -> None:
    """Wait for what another process or thread does."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def start(directory: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words), env=environment(directory), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def first_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def test_exec_is_as_if_the_program_ran_here(
    run: Run, outside: FakeSupervisor, tmp_path: Path
) -> None:
    script = 'pwd; echo "$# $1"; cat; echo err >&2; exit 7'
    done = run(
        "viewos", "exec", "main", "--", "sh", "-c", script, "sh", "--", input="in\n", cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, f"{tmp_path}\n1 --\nin\n", "err\n")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--", "sh", "-c", "exit 0"), 0),
        (("main", "sh", "-c", "exit 3"), 3),
        (("main", "--", "sh", "-c", "kill -TERM $$"), 128 + signal.SIGTERM),
        (("--", "sh", "-c", "kill -KILL $$"), 128 + signal.SIGKILL),
    ],
)
def test_exec_ends_as_its_program_did(
    run: Run, outside: FakeSupervisor, words: tuple[str, ...], status: int
) -> None:
    assert failed(run("viewos", "exec", *words)) == (status, "")


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (("--", "/nonexistent"), 127, "/nonexistent: No such file or directory"),
        (("--", "/etc/passwd"), 126, "/etc/passwd: Permission denied"),
        (("9:0", "--", "true"), 125, "there is no view 9:0; 'viewos ls' lists them"),
    ],
)
def test_exec_tells_its_own_failures_by_their_status(
    run: Run, outside: FakeSupervisor, words: tuple[str, ...], status: int, line: str
) -> None:
    assert failed(run("viewos", "exec", *words)) == (status, f"viewos exec: {line}\n")


def test_the_environment_goes_along_bytes_and_all(
    run: Run, outside: FakeSupervisor, tmp_path: Path
) -> None:
    env = environment(tmp_path) | {"ODD": "\udcff", "LONG": "x" * 100_000}
    shown = ok(run("viewos", "exec", "--", "sh", "-c", 'printf %s "$ODD$LONG" | wc -c', env=env))
    assert shown.strip() == "100001"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_signals_go_on_to_the_program(
    outside: FakeSupervisor, tmp_path: Path, number: signal.Signals
) -> None:
    script = (
        f"trap 'echo caught; exit 4' {number.name[3:]}; echo ready; while :; do sleep 0.1; done"
    )
    client = start(tmp_path, "viewos", "exec", "--", "sh", "-c", script)
    try:
        assert first_line(client.stdout) == "ready\n"
        client.send_signal(number)
        assert first_line(client.stdout) == "caught\n"
        assert client.wait(60) == 4
    finally:
        terminate(client)
        client.communicate()


def state(pid: int) -> str:
    """As ps(1) shows it; "" once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return ""


def test_stopping_the_client_stops_the_program_and_it_goes_on_with_it(
    outside: FakeSupervisor, tmp_path: Path
) -> None:
    client = start(tmp_path, "viewos", "exec", "--", "sh", "-c", "echo $$; exec sleep 600")
    try:
        pid = int(first_line(client.stdout))
        client.send_signal(signal.SIGTSTP)
        until(lambda: (state(client.pid), state(pid)) == ("T", "T"))
        client.send_signal(signal.SIGCONT)
        until(lambda: (state(client.pid), state(pid)) == ("S", "S"))
        client.send_signal(signal.SIGTERM)
        assert client.wait(60) == 128 + signal.SIGTERM
        assert state(pid) == ""
    finally:
        terminate(client)
        client.communicate()


def test_a_client_that_is_killed_takes_its_program_and_its_children_along(
    outside: FakeSupervisor, tmp_path: Path
) -> None:
    client = start(tmp_path, "viewos", "exec", "--", "sh", "-c", "echo $$; sleep 600 & wait; :")
    pid = int(first_line(client.stdout))
    terminate(client)
    client.communicate(timeout=60)  # every process that had its output is gone
    until(lambda: state(pid) == "")


def test_trace_prints_a_line_a_call_until_interrupted(
    outside: FakeSupervisor, tmp_path: Path
) -> None:
    client = start(tmp_path, "viewos", "trace")
    try:
        until(lambda: outside.tracers)
        outside.say(call='open("a\x1b[2J")', command="s\x07h", us=6.4)
        assert first_line(client.stdout) == (
            '7 s?h: open("a?[2J") = Return(value=0)  <6 us misc>\n'
        )
        outside.say(lost=3)
        assert first_line(client.stderr) == "viewos trace: 3 calls came too fast to be shown\n"
        client.send_signal(signal.SIGINT)
        assert client.wait(60) == 0
    finally:
        terminate(client)
        client.communicate()


def test_trace_as_json_is_a_document_a_line(outside: FakeSupervisor, tmp_path: Path) -> None:
    client = start(tmp_path, "viewos", "trace", "--json")
    try:
        until(lambda: outside.tracers)
        record = outside.say()
        outside.hush()
        output, _ = client.communicate(timeout=60)
        assert [json.loads(line) for line in output.splitlines()] == [record | {"command": "sh"}]
        assert client.returncode == 0
    finally:
        terminate(client)


def test_a_reader_that_leaves_ends_the_command_quietly(
    outside: FakeSupervisor, tmp_path: Path
) -> None:
    client = start(tmp_path, "viewos", "trace")
    assert client.stdout is not None
    assert client.stderr is not None
    client.stdout.close()
    until(lambda: outside.tracers)
    until(lambda: outside.say() and client.poll() is not None)
    assert client.stderr.read() == ""
    assert client.returncode == 128 + signal.SIGPIPE
    client.stderr.close()


def test_the_view_may_end_under_a_trace(outside: FakeSupervisor, tmp_path: Path) -> None:
    client = start(tmp_path, "viewos", "trace")
    until(lambda: outside.tracers)
    outside.hush()
    assert client.communicate(timeout=60) == ("", "")
    assert client.returncode == 0


def test_commands_import_nothing_slow(run: Run, inside: FakeSupervisor, tmp_path: Path) -> None:
    """What makes them start in tens of milliseconds; a clock would tell about the machine."""
    for words in (("viewos", "name"), ("um_ls_service",), ("vuname", "-a"), ("viewos", "ls")):
        line = command(*words)
        line[2] = line[2].replace("sys.exit(main())", "main(); print(*sorted(sys.modules))")
        loaded = subprocess.run(
            line, env=environment(tmp_path), capture_output=True, text=True, check=True
        )
        modules = set(loaded.stdout.split())
        assert "msgpack" in modules
        slow = {"trio", "msgspec", "dataclasses", "inspect", "asyncio", "logging", "subprocess"}
        assert not modules & slow
