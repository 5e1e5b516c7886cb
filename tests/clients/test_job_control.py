"""A view in front of a terminal: what a shell and its user see is what they would see without it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys

import pytest

from helpers.pty import Shell, Terminal, kill, name_of
from helpers.waiting import until
from viewosd.keeper.processes import descends, parent_of, state_of

HANDLES_STOP = """
import os, signal, sys
def stop(number, frame):
    os.write(1, b"put-right\\n")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.signal(number, stop)
    os.write(1, b"went-on\\n")
signal.signal(signal.SIGTSTP, stop)
print("ready-to-stop", flush=True)
for line in sys.stdin:
    print("got-" + line.strip(), flush=True)
"""
COUNTS = """
import os, signal, sys, time
count = {}
def seen(number, frame):
    count[number] = count.get(number, 0) + 1
for number in %s:
    signal.signal(number, seen)
print("count-ing", flush=True)
%s
until = time.monotonic() + 0.3
while not count or time.monotonic() < until:
    time.sleep(0.01)
print("counted", *sorted(f"{n}:{c}" for n, c in count.items()), flush=True)
"""


@pytest.fixture
def command(me) -> str:
    """viewos-run as one would type it."""
    return shlex.join(me.viewos_run)


@pytest.fixture
def script(tmp_path):
    """Write a Python program; what to type to run it."""

    def write(text: str) -> str:
        path = tmp_path / "program.py"
        path.write_text(text)
        return shlex.join([sys.executable, str(path)])

    return write


def test_interrupt_ends_the_program_in_front(command):
    with Shell() as shell:
        shell.send(f"{command} sleep 1000\n")
        shell.find("sleep")
        shell.send("\x03")
        shell.expect(r"outer\$ ")
        assert shell.status() == 128 + signal.SIGINT


def test_a_program_that_handles_interrupt_gets_it_once_and_goes_on(command, script):
    with Shell() as shell:
        shell.send(f"{command} {script(COUNTS % ('[2]', ''))}\n")
        shell.expect("count-ing")
        shell.send("\x03")
        assert shell.expect(r"counted ([\d: ]+)").group(1) == b"2:1"
        shell.expect(r"outer\$ ")
        assert shell.status() == 0


def test_quit_ends_the_program_in_front(command):
    with Shell() as shell:
        shell.send("ulimit -c 0\n")
        shell.expect(r"outer\$ ")
        shell.send(f"{command} sleep 1000\n")
        shell.find("sleep")
        shell.send("\x1c")
        shell.expect(r"outer\$ ")
        assert shell.status() == 128 + signal.SIGQUIT


def test_a_stopped_program_goes_on_in_front(command):
    with Shell() as shell:
        shell.send("stty -echo\n")
        shell.send(f"{command} cat\n")
        cat = shell.find("cat")
        shell.send("one\n")
        shell.expect("one")
        for word in ("two", "three"):
            shell.send("\x1a")
            shell.expect("Stopped")
            shell.expect(r"outer\$ ")
            assert state_of(cat) == "T"
            shell.send("fg\n")
            until(lambda: state_of(cat) == "S", "cat to go on")
            shell.send(word + "\n")
            shell.expect(word)
        shell.send("\x04")
        shell.expect(r"outer\$ ")
        assert shell.status() == 0


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_stopped_program_that_is_killed_has_ended(me, number):
    run = me.start("sh", "-c", "echo $$; exec sleep 1000", stdout=subprocess.PIPE, process_group=0)
    prog = int(run.stdout.readline())
    os.kill(prog, number)
    until(lambda: state_of(run.pid) == "T", "the keeper to stop as well")
    os.kill(prog, signal.SIGKILL)
    with run.stdout:
        assert run.wait(timeout=60) == 128 + signal.SIGKILL


def test_a_program_that_stops_itself_in_its_own_time_is_followed(command, script):
    with Shell() as shell:
        shell.send(f"{command} {script(HANDLES_STOP)}\n")
        shell.expect("ready-to-stop")
        shell.send("\x1a")
        shell.expect("put-right")
        shell.expect("Stopped")
        shell.expect(r"outer\$ ")
        shell.send("fg\n")
        shell.expect("went-on")
        shell.send("hello\n")
        shell.expect("got-hello")
        shell.send("\x04")
        shell.expect(r"outer\$ ")
        assert shell.status() == 0


def test_a_program_that_ignores_the_stop_key_is_not_stopped_by_us(command):
    with Shell() as shell:
        shell.send(
            f"""{command} sh -c 'trap "" TSTP; echo deaf-$((40 + 2)); read x; echo $x-heard'\n"""
        )
        shell.expect("deaf-42")
        shell.send("\x1a")
        shell.send("word\n")
        shell.expect("word-heard")
        shell.expect(r"outer\$ ")
        assert shell.status() == 0


@pytest.mark.parametrize(
    "pipeline", ["{0} cat | cat", "cat | {0} cat", "{0} cat | {0} cat | {0} cat"]
)
def test_a_pipeline_with_views_in_it_stops_and_goes_on_as_one_job(command, pipeline):
    with Shell() as shell:
        shell.send("stty -echo\n")
        shell.send(f"{pipeline.format(command)}; echo pipe-${{PIPESTATUS[*]}}-end\n")
        shell.find("cat")
        shell.send("first\n")
        shell.expect("first")
        shell.send("\x1a")
        shell.expect("Stopped")
        shell.send("fg\n")
        shell.expect("cat")
        shell.send("second\n")
        shell.expect("second")
        shell.send("\x03")
        shell.expect(r"outer\$ ")


def test_stopping_the_program_from_elsewhere_stops_the_job(command):
    with Shell() as shell:
        shell.send(f"{command} sleep 1000\n")
        sleep = shell.find("sleep")
        kill(sleep, signal.SIGSTOP)
        shell.expect("Stopped")
        shell.expect(r"outer\$ ")
        kill(sleep, signal.SIGCONT)
        until(lambda: state_of(sleep) == "S", "sleep to go on")
        keeper = parent_of(parent_of(sleep))
        until(lambda: state_of(keeper) == "S", "the keeper to go on")
        shell.send("jobs\n")
        shell.expect("Running")
        shell.send("fg\n")
        shell.expect("sleep 1000")
        shell.send("\x03")
        shell.expect(r"outer\$ ")


def test_a_whole_group_that_is_stopped_and_continued_goes_on(command):
    with Shell() as shell:
        shell.send(f"{command} sleep 1000 &\n")
        sleep = shell.find("sleep")
        group = os.getpgid(sleep)
        assert group not in (os.getpgrp(), 1)
        for _ in range(20):
            os.killpg(group, signal.SIGSTOP)
            until(lambda: state_of(sleep) == "T", "sleep to stop")
            os.killpg(group, signal.SIGCONT)
            until(lambda: state_of(sleep) == "S", "sleep to go on")
        keeper = parent_of(parent_of(sleep))
        until(lambda: state_of(keeper) == "S", "the keeper to go on")
        shell.send("kill %1; wait %1; echo waited-$((1000 + $?))\n")
        shell.expect("waited-1143")


def test_a_background_job_that_reads_the_terminal_stops_and_comes_to_the_front(command):
    with Shell() as shell:
        shell.send("stty -echo\n")
        shell.send(f"{command} cat &\n")
        cat = shell.find("cat")
        until(lambda: state_of(cat) == "T", "cat to stop")
        keeper = parent_of(parent_of(cat))
        until(lambda: state_of(keeper) == "T", "the keeper to stop")
        shell.send("\n")
        shell.expect("Stopped")
        shell.send("fg\n")
        shell.expect("cat")
        shell.send("read-at-last\n")
        shell.expect("read-at-last")
        shell.send("\x04")
        shell.expect(r"outer\$ ")
        assert shell.status() == 0


def test_an_interactive_shell_inside_has_jobs_of_its_own(command):
    with Shell() as shell:
        inner = "env PS1='inner> ' bash --norc --noprofile --noediting -i"
        shell.send(f"{command} {inner}\n")
        shell.expect("inner> ")
        shell.send("sleep 1000\n")
        first = shell.find("sleep")
        assert shell.foreground() == os.getpgid(first)
        shell.send("\x1a")
        shell.expect("Stopped")
        shell.expect("inner> ")
        shell.send("bg\n")
        until(lambda: state_of(first) == "S", "sleep to go on")
        shell.send("jobs\n")
        shell.expect("Running")
        shell.send("fg\n")
        until(lambda: shell.foreground() == os.getpgid(first), "sleep in front")
        shell.send("\x03")
        shell.expect("inner> ")
        shell.send("exit 5\n")
        shell.expect(r"outer\$ ")
        assert shell.status() == 5


def test_an_interactive_shell_inside_can_suspend_itself(command):
    with Shell() as shell:
        shell.send(f"{command} env PS1='inner> ' bash --norc --noprofile --noediting -i\n")
        shell.expect("inner> ")
        for _ in range(3):
            shell.send("suspend\n")
            shell.expect("Stopped")
            shell.expect(r"outer\$ ")
            shell.send("fg\n")
            shell.expect("bash")
            shell.send("echo back-$((40 + 2))\n")
            shell.expect("back-42")
            shell.expect("inner> ")
        shell.send("exit\n")
        shell.expect(r"outer\$ ")


def test_the_window_size_reaches_the_program_once(command, script):
    with Shell() as shell:
        program = COUNTS % ("[signal.SIGWINCH]", "") + "print(os.get_terminal_size())"
        shell.send(f"{command} {script(program)}\n")
        shell.expect("count-ing")
        shell.resize(33, 99)
        assert shell.expect(r"counted ([\d: ]+)").group(1) == f"{int(signal.SIGWINCH)}:1".encode()
        shell.expect("columns=99, lines=33")


def test_the_end_of_the_terminal_ends_the_view(me, command, tmp_path):
    news = tmp_path / "news"
    with Shell() as shell:
        shell.send(
            f"""{command} sh -c 'trap "echo gone > {news}; exit" HUP; echo on-$((1 + 1)); while :; do sleep 0.1; done'\n"""
        )
        shell.expect("on-2")
        shell.hang_up()
        until(news.exists, "the hang-up to arrive")
        until(lambda: not me.views(), "the view to end")


def test_a_view_that_leads_its_session_passes_the_hang_up_on(me, script, tmp_path):
    news = tmp_path / "news"
    # A child in a group of its own in front, as an interactive shell makes it. The kernel tells the
    # session's leader, which natively is the program and here the keeper; and when that has ended,
    # the group in front.
    program = f"""
import os, pathlib, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGTTOU])
if (child := os.fork()) == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    print("in-front", flush=True)
    signal.sigwait([signal.SIGHUP])
    os._exit(0)
signal.sigwait([signal.SIGHUP])
pathlib.Path({str(news)!r}).touch()
"""
    with Terminal([*me.viewos_run, *shlex.split(script(program))]) as terminal:
        terminal.expect("in-front")
        terminal.hang_up()
        until(news.exists, "the hang-up to arrive")
        terminal.wait()
        until(lambda: not me.views(), "the view to end")


def test_a_time_limit_of_timeout_ends_the_view(me):
    done = subprocess.run(["timeout", "1", *me.viewos_run, "sleep", "1000"], timeout=100)
    assert done.returncode == 124
    until(lambda: not me.views(), "the view to end")


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGALRM,
        signal.SIGRTMIN + 3,
    ],
)
def test_a_signal_for_viewos_run_is_the_programs(me, number):
    view = me.start("sh", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE)
    assert view.stdout.readline() == b"ready\n"
    until(lambda: _prog(view.pid), "the program")
    view.send_signal(number)
    assert view.wait(100) == 128 + number
    view.stdout.close()


def test_a_signal_for_viewos_run_is_delivered_once(me, script):
    view = me.start(*shlex.split(script(COUNTS % ("[15]", ""))), stdout=subprocess.PIPE)
    assert view.stdout.readline() == b"count-ing\n"
    view.terminate()
    assert view.communicate(timeout=100)[0] == b"counted 15:1\n"
    assert view.returncode == 0


def test_a_signal_for_the_group_from_inside_is_not_repeated(me, script):
    group = "os.kill(0, signal.SIGTERM)"
    view = me.start(
        *shlex.split(script(COUNTS % ("[15]", group))),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert view.communicate(timeout=100)[0] == b"count-ing\ncounted 15:1\n"


def test_stopping_and_continuing_viewos_run_alone_stops_and_continues_the_program(me):
    # In a group of its own: that of the tests may be orphaned, and then no SIGTTIN stops.
    view = me.start("sleep", "1000", process_group=0)
    prog = until(lambda: _prog(view.pid), "the program")
    until(lambda: name_of(prog) == "sleep", "its exec")
    for _ in range(5):
        view.send_signal(signal.SIGTTIN)
        until(lambda: state_of(prog) == "T", "the program to stop")
        until(lambda: state_of(view.pid) == "T", "viewos-run to stop")
        view.send_signal(signal.SIGCONT)
        until(lambda: state_of(prog) == "S", "the program to go on")
        until(lambda: state_of(view.pid) == "S", "viewos-run to go on")
    view.terminate()
    assert view.wait(100) == 143


def test_a_killed_viewos_run_takes_its_view_along(me):
    view = me.start("sh", "-c", "sleep 1000 & exec sleep 1000")
    prog = until(lambda: _prog(view.pid), "the program")
    until(lambda: name_of(prog) == "sleep", "its exec")
    view.kill()
    view.wait(100)
    until(lambda: not state_of(prog), "the program to end")
    until(lambda: not me.views(), "the view to end")


def test_a_killed_supervisor_of_an_empty_view_costs_the_program_nothing(me):
    view = me.start("sh", "-c", "read x; exit 9", stdin=subprocess.PIPE)
    prog = until(lambda: _prog(view.pid), "the program")
    until(lambda: name_of(prog) == "sh", "its exec")
    until(lambda: os.getsid(parent_of(prog)) == parent_of(prog), "the supervisor to be ready")
    kill(parent_of(prog), signal.SIGKILL)
    until(lambda: parent_of(prog) == view.pid, "the program to be the keeper's")
    view.send_signal(signal.SIGCONT)
    assert descends(prog, view.pid)
    view.stdin.close()
    assert view.wait(100) == 9


def _prog(keeper: int) -> int:
    """The process id of PROG, 0 if it has not been started."""
    from viewosd.keeper.processes import descendants

    supervisors = [pid for pid in descendants(keeper) if parent_of(pid) == keeper]
    below = [pid for pid in descendants(keeper) if parent_of(pid) in supervisors]
    return below[0] if below else 0
