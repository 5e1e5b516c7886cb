"""``viewos exec`` at a terminal: the program has a terminal of its own, and job control in it."""

from __future__ import annotations

import os
import shlex
import signal
import termios
from collections.abc import Iterator

import pytest

from helpers.commands import command
from helpers.live import LiveView, view
from helpers.pty import Shell, Terminal, kill, name_of
from helpers.waiting import until
from viewosd.keeper.processes import descendants, state_of

BASH = ["bash", "--norc", "--noprofile", "--noediting", "-i"]


@pytest.fixture
def live(me) -> Iterator[LiveView]:
    with view(me, "--hostname", "lab", "cat") as running:
        yield running


def _exec(live: LiveView, *words: str) -> list[str]:
    return command("viewos", "exec", str(live.supervisor), "--", *words)


def _terminal(me, live: LiveView, *words: str, **options: int) -> Terminal:
    env = me.environment | {"PS1": "inner$ ", "HISTFILE": ""}
    return Terminal(_exec(live, *words), env=env, **options)


def test_a_shell_has_jobs_and_a_terminal_of_its_own(me, live):
    with _terminal(me, live, *BASH) as seat:
        seat.expect(r"inner\$ ")  # and no word before it about job control
        assert b"job control" not in seat.seen
        seat.send("tty; ps -o tty= -p $$; uname -n\n")
        pts = seat.expect(r"/dev/(pts/\d+)\r\n").group(1)
        assert pts.decode() != os.ttyname(seat.fd).removeprefix("/dev/")
        seat.expect(pts.decode() + r"\s+lab")
        seat.send("sleep 600\n")
        seat.expect("sleep 600")
        sleeper = until(lambda: _named(live, "sleep"), "the sleeper")
        seat.send("\x1a")
        seat.expect("Stopped")
        seat.send("jobs; fg\n")
        seat.expect(r"Stopped\s+sleep 600")
        seat.expect("sleep 600")
        until(lambda: state_of(sleeper) == "S", "the sleeper to go on")
        seat.send("\x03")
        seat.expect(r"inner\$ ")
        seat.send("echo status-$?\n")
        seat.expect(r"status-130")
        seat.send("cat\n")
        seat.send("\x04")
        seat.send("exit 7\n")
        assert os.waitstatus_to_exitcode(seat.wait()) == 7


def test_the_window_s_size_is_the_program_s_too(me, live):
    script = "trap 'stty size; exit' WINCH; stty size; sleep 600 & wait"
    with _terminal(me, live, "bash", "-c", script, rows=31, columns=97) as seat:
        seat.expect("31 97")
        seat.resize(40, 120)
        seat.expect("40 120")
        assert seat.wait() == 0


def test_the_user_s_terminal_is_as_it_was_afterwards(me, live):
    with Shell(env=me.environment) as shell:
        before = termios.tcgetattr(shell.fd)
        words = shlex.join(_exec(live, "sh", "-c", "echo in-$((1 + 1)); read x; exit 3"))
        shell.send(words + "\n")
        shell.expect("in-2")
        assert termios.tcgetattr(shell.fd)[3] & (termios.ICANON | termios.ISIG) == 0
        shell.send("\n")
        shell.expect(r"outer\$ ")
        assert shell.status() == 3
        assert termios.tcgetattr(shell.fd) == before


def test_all_of_long_output_and_long_input_arrives(me, live):
    with _terminal(
        me, live, "sh", "-c", "stty -echo -icanon; echo go; head -c 200000 | wc -c; seq 30000"
    ) as seat:
        seat.expect("go")
        for _ in range(200):
            seat.send("0123456789" * 100)
        seat.expect("200000")
        status = seat.wait()
        rest = until(lambda: seat.seen.endswith(b"\n30000\r\n") or seat._read(), "the last line")
        assert rest
        assert os.waitstatus_to_exitcode(status) == 0


def test_the_program_is_hung_up_on_when_the_client_is_killed(me, live):
    with _terminal(me, live, *BASH) as seat:
        seat.expect(r"inner\$ ")
        seat.send("sleep 601\n")
        sleeper = until(lambda: _named(live, "sleep"), "the sleeper")
        kill(seat.pid, signal.SIGKILL)
        seat.wait()
        until(lambda: name_of(sleeper) != "sleep", "its end")
        until(lambda: len(live.processes()) == 1, "the shell's end")


def test_a_client_that_is_stopped_gives_the_terminal_back_and_goes_on(me, live):
    with Shell(env=me.environment) as shell:
        before = termios.tcgetattr(shell.fd)
        words = shlex.join(_exec(live, *BASH))
        shell.send(f"PS1='inner$ ' {words}\n")
        shell.expect(r"\ninner\$ ")
        client = until(lambda: next((p for p in descendants(shell.pid)), 0), "the client")
        kill(client, signal.SIGTSTP)
        shell.expect("Stopped")
        shell.expect(r"outer\$ ")
        assert termios.tcgetattr(shell.fd)[3] == before[3]
        shell.send("fg\n")
        shell.send("echo again-$((2 + 3))\n")
        shell.expect("again-5")
        shell.send("exit 5\n")
        shell.expect(r"outer\$ ")
        assert shell.status() == 5
        assert termios.tcgetattr(shell.fd) == before


def test_in_a_pipe_the_program_has_what_the_client_has(me, live):
    with Shell(env=me.environment) as shell:
        words = shlex.join(_exec(live, "sh", "-c", "for n in 0 1; do test -t $n; echo =$?; done"))
        shell.send(f"{words} | cat\n")
        shell.expect("=0\r\n=1\r\n")
        shell.send(f"{words} </dev/null\n")
        shell.expect("=1\r\n=0\r\n")


def _named(live: LiveView, name: str) -> int:
    return next((pid for pid in live.processes() if name_of(pid) == name), 0)
