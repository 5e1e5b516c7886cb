"""Branches, and views whose supervisor was killed, in front of a terminal."""

from __future__ import annotations

import os
import shlex
import signal

import pytest

from helpers.pty import Shell
from helpers.puppets import supervisor_of
from helpers.waiting import until
from viewosd.keeper.processes import parent_of, state_of


@pytest.fixture
def command(me) -> str:
    """viewos-run as one would type it."""
    return shlex.join([*me.viewos_run, "--no-rc"])


def stop_and_go_on(shell: Shell, pid: int) -> None:
    shell.send("\x1a")
    shell.expect("Stopped")
    until(lambda: state_of(pid) == "T", "the program to stop")
    shell.send("fg\n")
    until(lambda: state_of(pid) == "S", "the program to go on")


def test_a_program_in_a_branch_stops_and_goes_on(command):
    with Shell() as shell:
        shell.send("stty -echo\n")
        shell.send(f"{command} {command} cat\n")
        cat = shell.find("cat")
        stop_and_go_on(shell, cat)
        shell.send("word\n")
        shell.expect("word")
        shell.send("\x03")
        shell.expect(r"outer\$ ")
        assert shell.status() == 128 + signal.SIGINT


def test_a_shell_in_a_view_controls_a_branch_as_its_job(command):
    with Shell() as shell:
        shell.send("stty -echo\n")
        shell.send(f"{command} bash --norc -i\n")
        shell.send("PS1='in''side> '\n")
        shell.expect("inside> ")
        shell.send(f"{command} cat\n")
        cat = shell.find("cat")
        stop_and_go_on(shell, cat)
        shell.send("word\n")
        shell.expect("word")
        shell.send("\x04")
        shell.expect("inside> ")
        shell.send("exit 7\n")
        shell.expect(r"outer\$ ")
        assert shell.status() == 7


def test_after_a_succession_the_program_stops_goes_on_and_ends_as_before(command):
    with Shell() as shell:
        shell.send("stty -echo\n")
        shell.send(f"{command} -p misc cat\n")
        cat = shell.find("cat")
        keeper = parent_of(parent_of(cat))
        old = until(lambda: supervisor_of(keeper), "the supervisor")
        os.kill(old, signal.SIGKILL)
        until(lambda: supervisor_of(keeper) not in (0, old), "its successor")
        for word in ("one", "two"):
            stop_and_go_on(shell, cat)
            shell.send(word + "\n")
            shell.expect(word)
        shell.send("\x03")
        shell.expect(r"outer\$ ")
        assert shell.status() == 128 + signal.SIGINT


def test_a_supervisor_that_dies_while_the_job_stands_still_has_a_successor_afterwards(command):
    with Shell() as shell:
        shell.send("stty -echo\n")
        shell.send(f"{command} -p misc,nodename=box sh -c 'cat; uname -n'\n")
        cat = shell.find("cat")
        shell.send("\x1a")
        shell.expect("Stopped")
        keeper = parent_of(parent_of(parent_of(cat)))
        old = until(lambda: supervisor_of(keeper), "the supervisor")
        os.kill(old, signal.SIGKILL)
        shell.send("fg\n")
        until(lambda: supervisor_of(keeper) not in (0, old), "its successor")
        until(lambda: state_of(cat) == "S", "the program to go on")
        shell.send("\x04")
        shell.expect("box")
        shell.expect(r"outer\$ ")
        assert shell.status() == 0
