"""Branches: viewos-run inside a view. What is inherited, and what stays apart."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from helpers.commands import command
from helpers.waiting import until
from viewosd.keeper.processes import parent_of

SERVICES = """
from viewosd import Errno, Return, Service, hook
from viewosd.syscalls import getppid, getpgid, umask

class Seven(Service):
    name = "seven"
    @hook(getppid)
    def seven(self, call, tracee):
        return Return(7)

class Eight(Service):
    name = "eight"
    @hook(getppid)
    def eight(self, call, tracee):
        return Return(8)

class Group(Service):
    name = "group"
    @hook(getpgid)
    def group(self, call, tracee):
        return Return(4711)

class Alone(Service):
    '''Only one of it can be had.'''
    name = "alone"
    taken = False
    def __init__(self):
        self.value = 0
    async def start(self):
        if Alone.taken:
            raise OSError("there is only one")
        Alone.taken = True
    @hook(umask)
    def mask(self, call, tracee):
        old, self.value = self.value, call.mask & 0o777
        return Return(old)
"""
DAEMON = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def service(tmp_path: Path):
    """Text that loads one of the services above."""
    path = tmp_path / "services.py"
    path.write_text(SERVICES)
    return lambda name: f"{path}:{name}"


def loaded(puppet) -> list[str]:
    return [line.partition(":")[0] for line in puppet.viewos("um_ls_service").splitlines()]


def test_a_branch_has_an_id_and_a_name_of_its_own_in_the_same_server(stage):
    outer = stage.run("-V", "outer")
    inner = outer.branch("-V", "inner")
    server = stage.serverid()
    assert outer.viewos("vuname", "-U", "-V", "-N").split() == [str(server), "0", "outer"]
    assert inner.viewos("vuname", "-U", "-V", "-N").split() == [str(server), "1", "inner"]
    assert inner.viewos("vuname", "-a").split()[-3:] == [str(server), "1", "inner"]
    assert inner.viewos("viewname") == "inner\n"
    assert {view["name"]: view["id"] for view in stage.views().values()} == {
        "outer": f"{server}:0", "inner": f"{server}:1",
    }  # fmt: skip
    assert stage.views()[1]["parent"] == f"{server}:0"


def test_a_branch_begins_with_services_and_order_of_its_parent(stage, service):
    outer = stage.run("-p", service("Seven"), "-p", "misc,nodename=box", "-p", service("Eight"))
    outer.viewos("um_mov_service", "eight", "0")
    inner = outer.branch()
    assert loaded(inner) == loaded(outer) == ["eight", "seven", "misc"]
    assert inner.ask("os.getppid()") == outer.ask("os.getppid()") == 8
    assert inner.ask("node()") == "box"


def test_what_is_changed_on_one_side_is_not_seen_on_the_other(stage, service):
    outer = stage.run("-V", "one", "-p", service("Seven"), "-p", "misc,nodename=box")
    inner = outer.branch("-V", "two", "-p", service("Eight"))
    assert inner.ask("os.getppid()") == outer.ask("os.getppid()") == 7
    inner.viewos("um_mov_service", "eight", "0")
    assert (inner.ask("os.getppid()"), outer.ask("os.getppid()")) == (8, 7)
    inner.viewos("um_del_service", "seven")
    outer.viewos("um_del_service", "misc")
    inner.viewos("viewname", "three")
    assert loaded(inner) == ["eight", "misc"]
    assert loaded(outer) == ["seven"]
    assert inner.ask("node()") == "box"
    assert outer.ask("node()") != "box"
    assert (outer.viewos("viewname"), inner.viewos("viewname")) == ("one\n", "three\n")


def test_what_a_service_remembers_is_copied_and_then_goes_its_own_way(stage):
    outer = stage.run("-p", "misc")
    outer.ask("sethostname(b'before')")
    inner = outer.branch()
    assert inner.ask("node()") == "before"
    inner.ask("sethostname(b'inside')")
    outer.ask("sethostname(b'outside')")
    assert (inner.ask("node()"), outer.ask("node()")) == ("inside", "outside")
    third = inner.branch()
    third.ask("sethostname(b'deepest')")
    assert [p.ask("node()") for p in (outer, inner, third)] == ["outside", "inside", "deepest"]


def test_a_service_that_can_not_be_had_twice_is_shared_and_the_log_says_so(stage, service):
    outer = stage.run("-p", service("Alone"))
    inner = outer.branch()
    outer.ask("os.umask(0o123)")
    assert inner.ask("os.umask(0)") == 0o123
    assert "service alone: shared with the branch: OSError: there is only one" in stage.log()


def test_a_service_that_traps_more_is_heard_in_its_branch_alone(stage, service):
    outer = stage.run("-p", "misc,nodename=box")
    inner, other = outer.branch(), outer.branch()
    inner.viewos("um_add_service", service("Group"))
    assert inner.ask("os.getpgid(0)") == 4711
    for puppet in (outer, other):
        assert puppet.ask("os.getpgid(0)") != 4711
        assert puppet.ask("node()") == "box"
    assert other.branch().ask("os.getpgid(0)") != 4711
    assert inner.branch().ask("os.getpgid(0)") == 4711


def test_orphans_and_daemons_stay_in_their_branch(stage):
    outer = stage.run("-p", "misc,nodename=outside")
    inner = outer.branch("-V", "inner")
    inner.ask("sethostname(b'inside')")
    inner.ask(f"spawn({stage.player[0]!r}, '-c', {DAEMON!r}, *{stage.player!r})")
    assert inner.ask("wait()") == 0
    orphan = stage.enter()
    until(lambda: parent_of(orphan.pid) == parent_of(inner.pid), "the root to be the parent")
    assert orphan.ask("node()") == "inside"
    assert orphan.viewos("vuname", "-V") == "1\n"
    inner.close()
    outer.ask("wait()")
    assert orphan.ask("node()") == "inside"
    assert orphan.viewos("vuname", "-V") == "1\n"
    orphan.close()
    until(lambda: set(stage.views()) == {0}, "the end of the branch")
    assert outer.branch("-V", "inner").viewos("vuname", "-V", "-N") == "2 inner\n"


def test_a_branch_ends_with_its_last_process_and_its_status_is_programs(stage):
    outer = stage.run()
    words = [*stage.user.viewos_run, "--no-rc", "sh", "-c", "exit 7"]
    assert outer.ask(f"run(*{words!r})") == (7, "", "")
    words[-1] = "kill -TERM $$"
    assert outer.ask(f"run(*{words!r})") == (128 + signal.SIGTERM, "", "")
    until(lambda: set(stage.views()) == {0}, "the end of the branches")


def test_a_view_without_nesting_refuses_branches_in_words(stage):
    outer = stage.run("-x")
    status, out, err = outer.ask(f"run(*{stage.words()!r})")
    assert (status, out) == (125, "")
    assert err == "viewos-run: this view was started with -x: it has no branches\n"
    assert set(stage.views()) == {0}


def test_an_unknown_service_refuses_the_branch_in_words(stage):
    outer = stage.run()
    status, out, err = outer.ask(f"run(*{stage.words('-p', 'nosuch')!r})")
    assert (status, out) == (125, "")
    assert "unknown service nosuch" in err
    until(lambda: set(stage.views()) == {0}, "the end of the branch")


def test_branches_nest_64_deep_and_no_deeper(stage):
    outer = stage.run("-p", "misc,nodename=box")
    puppets = [outer]
    for depth in range(1, 65):
        puppets.append(puppets[-1].branch("-V", f"n{depth}"))
    assert puppets[-1].viewos("vuname", "-n", "-V", "-N") == "box 64 n64\n"
    puppets[-1].ask("sethostname(b'deep')")
    assert puppets[32].ask("node()") == "box"
    status, _, err = puppets[-1].ask(f"run(*{stage.words()!r})")
    assert status == 125
    assert err == "viewos-run: branches nest 64 deep at most, and this would be one more\n"
    for puppet in reversed(puppets):
        puppet.close()


def test_a_detached_branch_prints_its_id_and_outlives_its_starter(stage):
    outer = stage.run("-p", "misc,nodename=box")
    status, out, err = outer.ask(f"run(*{stage.words('-d', '-V', 'far')!r})")
    assert (status, out, err) == (0, f"{stage.serverid()}:1\n", "")
    far = stage.enter()
    assert far.viewos("vuname", "-n", "-V", "-N") == "box 1 far\n"
    assert outer.viewos("viewos", "ps", out.strip()).count(str(far.pid)) == 1


def test_rc_files_of_a_branch_are_told_that_they_are_nested(stage, tmp_path):
    rc = tmp_path / "rc"
    rc.write_text(f'#!/bin/sh\necho "$# $1 $(uname -n)" >> {tmp_path}/said\n')
    rc.chmod(0o755)
    words = [*stage.user.viewos_run, "-f", str(rc), "true"]
    outer = stage.run("-p", "misc,nodename=box")
    assert outer.ask(f"run(*{words!r})")[0] == 0
    assert (tmp_path / "said").read_text() == "1 nested box\n"


def test_a_program_is_run_in_a_branch_from_outside(stage):
    outer = stage.run("-p", "misc,nodename=outside")
    inner = outer.branch()
    inner.ask("sethostname(b'inside')")
    assert (
        outer.viewos("viewos", "exec", f"{stage.serverid()}:1", "--", "uname", "-n") == "inside\n"
    )
    assert (
        outer.viewos("viewos", "exec", f"{stage.serverid()}:0", "--", "uname", "-n") == "outside\n"
    )


def test_a_branch_may_not_touch_its_parent(stage):
    outer = stage.run("-p", "misc")
    inner = outer.branch()
    words = command("viewos", "del", "-V", f"{stage.serverid()}:0", "misc")
    status, _, err = inner.ask(f"run(*{words!r})")
    assert status != 0
    assert "ask from outside" in err
    assert outer.viewos("viewos", "del", "-V", f"{stage.serverid()}:1", "misc") == ""
    assert loaded(inner) == []
    assert loaded(outer) == ["misc"]


def test_a_process_from_outside_is_attached_to_a_branch(stage):
    outer = stage.run("-p", "misc,nodename=outside")
    inner = outer.branch()
    inner.ask("sethostname(b'inside')")
    outer.ask("spawn('true')")
    import subprocess

    stranger = subprocess.Popen(stage.player, env=stage.user.environment)
    puppet = stage.enter()
    try:
        before = puppet.ask("node()")
        outer.viewos("viewos", "attach", str(puppet.pid), f"{stage.serverid()}:1")
        assert before != "inside"
        assert puppet.ask("node()") == "inside"
        assert puppet.ask("run('uname', '-n')") == (0, "inside\n", "")
        assert puppet.viewos("vuname", "-V") == "1\n"
        inner.ask("sethostname(b'again')")
        assert puppet.ask("node()") == "again"
    finally:
        puppet.close()
        stranger.wait()


def test_a_branch_whose_root_is_killed_keeps_its_processes(stage):
    outer = stage.run("-p", "misc,nodename=outside")
    inner = outer.branch("-V", "inner")
    inner.ask("sethostname(b'inside')")
    root = parent_of(inner.pid)
    outer.ask(f"os.kill({root}, 9)")
    until(lambda: parent_of(inner.pid) != root, "the keeper to be the parent")
    assert inner.ask("node()") == "inside"
    assert inner.ask("run('uname', '-n')") == (0, "inside\n", "")
    assert inner.viewos("vuname", "-V", "-N") == "1 inner\n"
    assert outer.ask("node()") == "outside"
    inner.close()
    assert outer.ask("wait()") == 0
    until(lambda: set(stage.views()) == {0}, "the end of the branch")


def test_threads_that_ask_while_branches_are_made_never_see_a_wrong_name(stage):
    outer = stage.run("-p", "misc,nodename=box")
    outer.ask("[seen := set(), go := [1]] and globals().update(seen=seen, go=go)")
    ask = "exec('while go: seen.add(node())', globals())"
    start = f"[threading.Thread(target=lambda: {ask}).start() for _ in range(4)] and None"
    outer.ask(start)
    for turn in range(5):
        inner = outer.branch()
        inner.ask(f"sethostname(b'turn-{turn}')")
        assert inner.ask("many('node()', 200)") == {f"turn-{turn}": 200}
        inner.close()
        outer.ask("wait()")
    outer.ask("go.clear()")
    assert outer.ask("seen") == {"box"}


def test_many_branches_at_once_each_see_their_own_name(stage):
    outer = stage.run("-p", "misc,nodename=box")
    inner = [outer.branch("-V", f"b{n}") for n in range(12)]
    for n, puppet in enumerate(inner):
        puppet.ask(f"sethostname(b'name-{n}')")
    for puppet in inner:
        puppet.tell("many('node()', 500), many('run(\"uname\", \"-n\")', 10)")
    for n, puppet in enumerate(inner):
        assert puppet.hear() == ({f"name-{n}": 500}, {(0, f"name-{n}\n", ""): 10})
    assert outer.ask("node()") == "box"


def test_a_permanent_service_is_permanent_in_a_branch(stage, service):
    outer = stage.run()
    outer.viewos("um_add_service", "-p", service("Seven"))
    inner = outer.branch()
    status, _, err = inner.ask(f"run(*{command('um_del_service', 'seven')!r})")
    assert status != 0
    assert "permanent" in err
    assert inner.ask("os.getppid()") == 7
