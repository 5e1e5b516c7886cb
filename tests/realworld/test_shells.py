"""Shells: scripts, pipelines, an interactive one under tmux, and the poor environment of cron."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.alike import Alike, needs
from helpers.waiting import until
from viewosd.keeper.processes import state_of

BASH = r"""
set -o pipefail
declare -A map=([a]=1 [b]=2); for k in "${!map[@]}"; do echo "$k ${map[$k]}"; done | sort
exec 5<>file; echo hello >&5; cat file
diff <(seq 1 5) <(seq 2 6); echo "diff $?"
trap 'echo trapped' USR1; kill -USR1 $$; trap 'echo bye' EXIT
(exit 7); echo "$?"; false | true | cat; echo "${PIPESTATUS[@]}"
(exit 5) & wait $!; echo "wait $?"
cat <<HERE
$(echo nested $(echo deeper))
HERE
ulimit -n; umask; pwd; cd /; pwd; cd "$OLDPWD"
shopt -s globstar; mkdir -p x/y; touch x/y/{1..3}; echo **/*
printf '%s\n' "${BASH_VERSINFO[0]}" "$(type -t ls)"; time -p true 2>/dev/null
timeout 0.1 sleep 100; echo "timeout $?"
exit 9
"""


def test_a_bash_script_of_many_features(alike_for_all: Alike) -> None:
    alike_for_all.check(
        "bash", "-c", BASH, status=9, edit=lambda t: re.sub(rb"real .*|user .*|sys .*", b"", t)
    )


def test_three_stages_a_thousand_times_while_children_end(alike: Alike) -> None:
    # dash catches SIGCHLD without SA_RESTART here; a trapped close() or pipe() used to hang or fail
    # one pipeline in three (a bug of another supervisor).
    script = "trap : CHLD; i=0; while [ $i -lt 1000 ]; do echo $i | cat | tr 0 x >out || exit 1; i=$((i+1)); done; cat out; echo $i"
    alike.check("dash", "-c", script)


@pytest.mark.parametrize("script", [
    "env | sort; pwd; tty; id -u; ulimit -a | sort",
    "exec <&- >out 2>&1; ls /proc/self/fd | wc -l; cat; echo $?; head -1 /etc/passwd",
    "exec <&- >&- 2>&-; echo lost; id >out",
    "stat -c %A .; umask 077; touch x; nice; ps -o pid= -p $$ | wc -l",
])  # fmt: skip
def test_the_poor_environment_of_cron(alike_for_all: Alike, script: str) -> None:
    alike_for_all.check("/bin/sh", "-c", script, env={"PATH": "/usr/bin:/bin"})


def test_no_environment_at_all(alike: Alike) -> None:
    alike.check(
        "/usr/bin/env",
        "-i",
        "/bin/sh",
        "-c",
        "/usr/bin/env | sort; echo $PATH; exit 3",
        env={},
        status=3,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_stay_closed(me, kind: list[str], tmp_path: Path, closed: str) -> None:
    inner = f"ls -l /proc/self/fd | sed 's/.* //' | sed 's/.*://; s/[0-9]//g' | sort > {tmp_path}/"
    for name, prefix in (("native", []), ("inside", [*me.viewos_run, *kind, "--"])):
        line = f"{shlex.join([*prefix, 'sh', '-c', inner + name])} {closed}"
        assert subprocess.run(["sh", "-c", line], env=me.environment, timeout=100).returncode == 0
    assert (tmp_path / "native").read_text() == (tmp_path / "inside").read_text()


@pytest.mark.parametrize("launch", ["nohup sh -c '{}' >/dev/null 2>&1 &", "setsid sh -c '{}' &",
                                    "(setsid sh -c '{}' >/dev/null 2>&1 &) &", "python3 -c \"{daemon}\""])  # fmt: skip
def test_what_detaches_itself_stays_in_the_view_which_lasts_as_long(
    user, kind: list[str], tmp_path: Path, launch: str
) -> None:
    if user.uid:
        kind = [] if kind == [] else ["-p", "misc,nodename=box"]
    here = user.runtime_dir / "pid"
    body = f"echo $$ >{here}; exec sleep 1000 </dev/null >/dev/null 2>&1"
    daemon = f"import os; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); os.execvp('sh', ['sh', '-c', '{body.replace('$', chr(92) + '$')}'])"
    line = launch.replace("{daemon}", daemon).replace("{}", body)
    ended = user.run(*kind, "--", "sh", "-c", f"{line}\nexit 4", stdin=subprocess.DEVNULL, cwd="/")
    assert ended.returncode == 4
    pid = int(until(lambda: here.exists() and here.read_text(), "the daemon's process id"))
    try:
        assert len(user.views()) == 1
        # D: it waits in a call that is trapped.
        until(lambda: state_of(pid) in ("S", "R"), "the daemon to be at work")
        if kind:
            assert re.search(r"Seccomp:\t2", Path(f"/proc/{pid}/status").read_text())
    finally:
        os.kill(pid, 15)
    until(lambda: not user.views(), "the end of the view")


class Tmux:
    """A server of its own with one window, in which a command runs."""

    def __init__(self, place: Path, words: list[str], environment: dict[str, str]) -> None:
        self._socket = str(place / "tmux")
        self._environment = environment | {"TERM": "xterm", "SHELL": "/bin/sh"}
        # The server goes when its last session does: the command's end ends it.
        self.tell(
            "-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", shlex.join(words)
        )

    def tell(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *words],
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def keys(self, *keys: str) -> None:
        self.tell("send-keys", *keys)

    def type(self, line: str) -> None:
        self.tell("send-keys", "-l", line)
        self.keys("Enter")

    def screen(self) -> str:
        return self.tell("capture-pane", "-p", "-J", "-S", "-200")

    def expect(self, pattern: str) -> str:
        try:
            found = until(lambda: re.search(pattern, self.screen(), re.M), pattern)
        except AssertionError:
            raise AssertionError(f"no {pattern!r} on {self.screen()!r}") from None
        return found.group(0)

    def in_front(self, name: str) -> None:
        """Wait until a program of that name is in the foreground."""
        until(
            lambda: name in self.tell("display-message", "-p", "#{pane_current_command}"),
            f"{name} in front",
        )

    def alive(self) -> bool:
        return (
            subprocess.run(["tmux", "-S", self._socket, "ls"], capture_output=True).returncode == 0
        )

    def end(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True)


@pytest.fixture(params=["native", "empty", "filter", "trapped"])
def desk(request: pytest.FixtureRequest, me, scratch: Path, tmp_path: Path) -> Iterator[Tmux]:
    """bash in a window of tmux, natively and in each kind of view."""
    from .conftest import KINDS

    needs("tmux")
    shell = ["bash", "--norc", "--noprofile", "-i"]
    inside = [] if request.param == "native" else [*me.viewos_run, *KINDS[request.param], "--"]
    environment = me.environment | {"PS1": "in> ", "HISTFILE": str(tmp_path / "history"), "PS2": ""}
    desk = Tmux(tmp_path, inside + shell, environment)
    yield desk
    desk.end()
    until(lambda: not me.views(), "the end of the view")


def test_an_interactive_bash_under_tmux(desk: Tmux) -> None:
    desk.expect(r"^in> $")
    desk.type("echo $((40 + 2)) $-")
    desk.expect(r"^42 \w*i\w*m?\w*$")
    assert "no job control" not in desk.screen()
    # ^C ends what runs, not the shell.
    desk.type("sleep 1000; echo first-$?")
    desk.in_front("sleep")
    desk.keys("C-c")
    desk.type("echo second-$((6 * 7))-$?")
    desk.expect(r"^second-42-130$")
    # ^Z, jobs, bg, fg.
    desk.type("sleep 1001")
    desk.in_front("sleep")
    desk.keys("C-z")
    desk.expect(r"^\[1\]\+ +Stopped +sleep 1001")
    desk.type("bg; jobs")
    desk.expect(r"^\[1\]\+ +Running +sleep 1001 &")
    desk.type("fg")
    desk.in_front("sleep")
    desk.keys("C-c")
    desk.type("jobs; echo none-$((1 + 1))")
    desk.expect(r"^none-2$")
    # ^\ quits; a pipeline in the background is told when it is done.
    desk.type("ulimit -c 0; sleep 1002")
    desk.in_front("sleep")
    desk.keys("C-\\")
    desk.type("echo third-$((1 + 1))-$?")
    desk.expect(r"^third-2-131$")
    desk.type("sleep 0.1 | cat &")
    desk.type("wait; echo waited-$((1 + 1))")
    desk.expect(r"^waited-2$")
    # The history: up, and search.
    desk.type("echo unforgettable-$((3 * 3))")
    desk.expect(r"^unforgettable-9$")
    desk.type("clear")
    desk.keys("Up", "Up", "Enter")
    desk.expect(r"^unforgettable-9$")
    # The window's size.
    desk.tell("resize-window", "-x", "90", "-y", "20")
    desk.type("stty size")
    desk.expect(r"^20 90$|^19 90$")
    # A shell in the shell has jobs of its own.
    desk.type("bash --norc --noprofile -i")
    desk.type("sleep 1003")
    desk.in_front("sleep")
    desk.keys("C-z")
    desk.expect(r"^\[1\]\+ +Stopped +sleep 1003")
    desk.type("fg")
    desk.in_front("sleep")
    desk.keys("C-c")
    desk.type("exit")
    desk.type("echo back-$((2 + 2)); jobs")
    desk.expect(r"^back-4$")
    desk.keys("C-d")
    until(lambda: not desk.alive(), "the end of tmux")
