"""PROG inherits what a plain exec would have given it: the same probe runs natively and in a view."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.pty import Shell
from helpers.waiting import until
from viewosd.keeper.processes import descendants, parent_of, state_of

PROBE = Path(__file__).with_name("probe.py").read_text()


@pytest.fixture
def compare(user):
    """Run the probe both ways with the same options of Popen; both results."""

    def run(**options) -> tuple[dict, dict]:
        words = [*user.python, "-S", "-c", PROBE]
        setup = options.pop("setup", "")
        env = options.pop("env", user.environment)
        outcomes = []
        for command in (words, [*user.viewos_run, *words]):
            if setup:  # as a shell, natively too, so that what it does is inherited by both
                command = ["bash", "-c", f'{setup}\nexec "$@"', "bash", *command]
            done = subprocess.run(
                [*user.prefix, *command], capture_output=True, env=env, timeout=100, **options
            )
            assert done.stderr == b""
            assert done.returncode == 0
            outcomes.append(json.loads(done.stdout))
        native, inside = outcomes
        for outcome in outcomes:
            # Every run has its own pipes and its own group; in both the program is not the leader.
            outcome["fds"] = {
                n: (str(k).partition(":")[0], f) for n, (k, f) in outcome["fds"].items()
            }
            outcome.pop("group"), outcome.pop("session"), outcome.pop("foreground", None)
        return native, inside

    return run


def test_nothing_differs_from_a_plain_exec(compare):
    native, inside = compare()
    assert inside == native


def test_signals_that_are_ignored_or_blocked_stay_so(compare):
    blocked = {signal.SIGUSR1, signal.SIGINT, signal.SIGCHLD, signal.SIGRTMIN + 1}

    def setup() -> None:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)

    native, inside = compare(preexec_fn=setup)
    assert inside == native
    assert int(inside["SigBlk"], 16) == sum(1 << number - 1 for number in blocked)


def test_descriptors_keep_their_numbers_and_flags(compare, tmp_path):
    with contextlib.ExitStack() as files:
        reader, writer = os.pipe()
        files.callback(os.close, reader)
        files.callback(os.close, writer)
        native, inside = compare(
            pass_fds=(reader, writer), setup=f"exec 9<&{reader} 77>&{writer} 251>/dev/null"
        )
    assert inside == native
    assert {"9", "77", "251"} <= set(inside["fds"])


@pytest.mark.parametrize("closed", ["<&-", ">&2 2>&-", "<&- 2>&-"])
def test_closed_standard_descriptors_stay_closed(user, closed, tmp_path):
    probe = "import os; print([n for n in range(64) if os.path.exists(f'/proc/self/fd/{n}')], file=open(3, 'w'))"
    seen = []
    for command in ([], user.viewos_run):
        words = shlex.join([*command, *user.python, "-S", "-c", probe])
        reader, writer = os.pipe()
        subprocess.run(
            [*user.prefix, "bash", "-c", f"exec 3>&{writer} {writer}>&- {closed}; exec {words}"],
            pass_fds=(writer,), env=user.environment, timeout=100, check=True, capture_output=True,
        )  # fmt: skip
        os.close(writer)
        with open(reader) as file:
            seen.append(file.read())
    assert seen[1] == seen[0] != ""


def test_all_three_standard_descriptors_closed_is_no_obstacle(user):
    command = shlex.join([*user.viewos_run, "sh", "-c", "exit 6"])
    done = subprocess.run(
        [*user.prefix, "sh", "-c", f"exec <&- >&- 2>&-; {command}"],
        env=user.environment,
        timeout=100,
    )
    assert done.returncode == 6


def test_the_environment_is_passed_byte_for_byte(user):
    # What a shell could not pass: no locale (Python would add one), entries that come twice or have
    # no "=", bytes that are no text.
    program = "import os,sys; sys.stdout.buffer.write(open('/proc/self/environ','rb').read())"
    place = f"VIEWOS_RUNTIME_DIR={user.runtime_dir}".encode()
    entries = [
        b"TWICE=1",
        b"TWICE=2",
        b"no equals sign",
        b"=odd",
        b"RAW=\xff\xfe",
        b"EMPTY=",
        place,
    ]
    starter = (
        "import ctypes,os,sys\n"
        f"env = {entries!r}\n"
        "words = [w.encode() for w in sys.argv[1:]]\n"
        "ctypes.CDLL(None).execve(words[0], (ctypes.c_char_p * (len(words) + 1))(*words, None),"
        " (ctypes.c_char_p * (len(env) + 1))(*env, None))\n"
    )
    done = subprocess.run(
        [*user.prefix, *user.python, "-c", starter, *user.viewos_run, user.python[0], "-c", program],
        capture_output=True, timeout=100, env=user.environment,
    )  # fmt: skip
    assert done.stderr == b""
    got = done.stdout[:-1].split(b"\0")
    assert [entry for entry in got if not entry.startswith(b"LC_CTYPE=")] == entries


def test_umask_limits_and_nice_are_the_callers(compare):
    def setup() -> None:
        os.umask(0o027)
        os.nice(5)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("123")
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    native, inside = compare(preexec_fn=setup)
    assert inside == native
    assert (inside["Umask"], inside["nice"], inside["oom"]) == ("0027", 5, "123\n")


def test_a_deleted_directory_is_still_the_programs(user, scratch):
    done = subprocess.run(
        [*user.prefix, "sh", "-c", 'mkdir "$0/gone" && cd "$0/gone" && rmdir "$0/gone" && exec "$@"',
         str(user.runtime_dir), *user.viewos_run, "readlink", "/proc/self/cwd"],
        capture_output=True, env=user.environment, timeout=100,
    )  # fmt: skip
    assert done.stdout == f"{user.runtime_dir}/gone (deleted)\n".encode()
    assert (done.stderr, done.returncode) == (b"", 0)


def test_a_directory_that_the_caller_may_not_read_is_still_the_programs(nobody, scratch):
    closed = scratch / "closed"
    closed.mkdir(mode=0o700, exist_ok=True)
    done = nobody.run("readlink", "/proc/self/cwd", cwd=closed)
    assert done.stdout == f"{closed}\n".encode()
    assert (done.stderr, done.returncode) == (b"", 0)


def test_the_group_and_the_terminal_are_the_callers(me):
    with Shell() as shell:
        shell.send(f"{shlex.join(me.viewos_run)} sleep 1000\n")
        sleep = shell.find("sleep")
        keeper = parent_of(parent_of(sleep))
        assert os.getpgid(sleep) == os.getpgid(keeper) == keeper == shell.foreground()
        assert os.getsid(sleep) == shell.pid
        shell.send("\x03")
        shell.expect(r"outer\$ ")


def test_the_reader_of_a_pipe_sees_its_end_when_the_program_closes_it(me):
    view = me.start("sh", "-c", "echo word; exec >&-; exec sleep 1000", stdout=subprocess.PIPE)
    assert view.stdout.read() == b"word\n"
    view.stdout.close()
    view.terminate()
    assert view.wait(100) == 143


def test_the_writer_of_a_pipe_sees_that_the_program_has_closed_it(me):
    reader, writer = os.pipe()
    view = me.start("sh", "-c", "exec <&-; exec sleep 1000", stdin=reader)
    os.close(reader)

    def broken() -> bool:
        try:
            os.write(writer, b".")
        except BrokenPipeError:
            return True
        return False

    until(broken, "the pipe to break")
    os.close(writer)
    view.terminate()
    view.wait(100)


def test_children_left_behind_live_on_and_hold_a_pipe_as_they_would_natively(me):
    gate_reader, gate = os.pipe()
    view = me.start(
        "sh",
        "-c",
        "exec 3<&0; (head -c1 <&3; echo late) & exit 4",
        stdin=gate_reader,
        stdout=subprocess.PIPE,
    )
    os.close(gate_reader)
    assert view.wait(100) == 4
    assert len(me.views()) == 1
    os.write(gate, b"x")
    os.close(gate)
    assert view.stdout.read() == b"xlate\n"
    view.stdout.close()
    until(lambda: not me.views(), "the view to end")


def test_nothing_is_left_behind(user):
    env = user.environment | {"TMPDIR": str(user.runtime_dir)}
    assert user.run("true", env=env).returncode == 0
    assert list(user.runtime_dir.iterdir()) == []


def test_orphans_are_collected(me):
    program = "for i in 1 2 3 4 5; do (true & true & ) ; done; echo done; exec sleep 1000"
    view = me.start("sh", "-c", program, stdout=subprocess.PIPE)
    assert view.stdout.readline() == b"done\n"
    until(lambda: [state_of(p) for p in descendants(view.pid)] == ["S", "S"], "no zombies")
    view.stdout.close()
    view.terminate()
    view.wait(100)


def test_the_directory_of_the_caller_is_not_held(me, tmp_path):
    view = me.start("sh", "-c", "cd /; echo; exec sleep 1000", cwd=tmp_path, stdout=subprocess.PIPE)
    view.stdout.readline()
    family = [view.pid, *descendants(view.pid)]
    until(lambda: {os.readlink(f"/proc/{pid}/cwd") for pid in family} == {"/"}, "all to leave")
    view.stdout.close()
    view.terminate()
    view.wait(100)


def test_set_uid_programs_work_in_an_empty_view(nobody):
    done = nobody.run(sys.executable, "-c", "print(open('/proc/self/status').read())")
    assert b"NoNewPrivs:\t0" in done.stdout
