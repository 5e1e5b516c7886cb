"""The supervisor is killed, and its view goes on: nothing in it fails, nothing is forgotten."""

from __future__ import annotations

import errno
import os
import signal
import subprocess

import pytest

from helpers.commands import command
from helpers.deaths import MANY, asked, replaced, text
from helpers.waiting import until
from viewosd.keeper.processes import descendants, state_of

# -- what a program may see: nothing


def test_a_program_under_a_service_never_notices_that_supervisors_die(stage):
    puppet = stage.run("-p", "misc,nodename=box", env=MANY)
    for _ in range(8):
        puppet.tell("many('node()', 300)")
        replaced(stage)
        assert puppet.hear() == {"box": 300}


def test_a_call_that_waits_for_its_hook_is_asked_again_and_answered_once(stage, tmp_path):
    puppet = stage.run("-p", text("Marks", f"directory={tmp_path}"), env=MANY)
    puppet.tell("os.getsid(5)")
    for deaths in range(4):
        until(lambda n=deaths: asked(tmp_path, 5) == n + 1, "the hook to be asked")
        stage.kill_supervisor()
    until(lambda: asked(tmp_path, 5) == 5, "the last successor to ask")
    (tmp_path / "go-5").touch()
    assert puppet.hear() == 6
    assert puppet.ask("os.getsid(5)") == 6
    assert asked(tmp_path, 5) == 6


def test_a_call_that_may_not_be_done_twice_gets_the_errno_of_its_service(stage, tmp_path):
    puppet = stage.run("-p", text("Marks", f"directory={tmp_path}"))
    puppet.tell("call('syscall', 140, 0, 7)")
    until(lambda: asked(tmp_path, 7) == 1, "the hook to be asked")
    replaced(stage)
    assert puppet.hear() == -errno.EREMOTEIO
    assert asked(tmp_path, 7) == 1
    assert "getpriority: was perhaps done, and may not be done twice" in stage.log()
    (tmp_path / "go-7").touch()
    assert puppet.ask("call('syscall', 140, 0, 7)") == 7


def test_calls_of_many_threads_in_flight_are_all_answered(stage, tmp_path):
    puppet = stage.run("-p", text("Marks", f"directory={tmp_path}"))
    puppet.ask("globals().update(got=[])")
    wait = "threading.Thread(target=lambda n=n: got.append(call('getsid', n))).start()"
    puppet.ask(f"[{wait} for n in range(50)] and None")
    until(lambda: all(asked(tmp_path, n) for n in range(50)), "all hooks to be asked")
    stage.kill_supervisor()
    assert puppet.ask("os.times()[4] > 0")  # not received by anybody meanwhile
    for n in range(50):
        (tmp_path / f"go-{n}").touch()
    until(lambda: puppet.ask("sorted(got)") == list(range(1, 51)), "every call's answer")


# -- what is remembered


def test_names_order_and_permanence_are_kept(stage, tmp_path):
    puppet = stage.run("-V", "first", "-p", "misc")
    puppet.viewos("um_add_service", "-p", text("Works"))
    puppet.viewos("um_add_service", text("Marks", f"directory={tmp_path}"))
    puppet.viewos("um_mov_service", "marks", "0")
    puppet.viewos("viewname", "second")
    puppet.ask("sethostname(b'kept')")
    before = puppet.viewos("um_ls_service"), puppet.viewos("vuname", "-a")
    replaced(stage)
    assert puppet.ask("node()") == "kept"
    assert (puppet.viewos("um_ls_service"), puppet.viewos("vuname", "-a")) == before
    assert puppet.viewos("viewname") == "second\n"
    assert puppet.ask(f"run(*{command('um_del_service', 'works')!r})")[0] != 0
    puppet.viewos("um_del_service", "marks")
    replaced(stage)
    assert "marks" not in puppet.viewos("um_ls_service")


def test_branches_are_kept_with_their_own_services(stage):
    outer = stage.run("-V", "outer", "-p", "misc,nodename=box")
    inner = outer.branch("-V", "inner")
    deep = inner.branch()
    inner.ask("sethostname(b'inside')")
    replaced(stage)
    assert [p.ask("node()") for p in (outer, inner, deep)] == ["box", "inside", "box"]
    deep.ask("sethostname(b'deep')")
    replaced(stage)
    assert [p.ask("node()") for p in (outer, inner, deep)] == ["box", "inside", "deep"]
    assert [p.viewos("vuname", "-V") for p in (outer, inner, deep)] == ["0\n", "1\n", "2\n"]
    assert outer.branch().viewos("vuname", "-n", "-V") == "box 3\n"
    deep.close()
    inner.close()
    until(lambda: set(stage.views()) == {0, 3}, "the end of the branches")


def test_an_attached_process_and_one_that_was_run_from_outside_are_kept(stage, tmp_path):
    outer = stage.run("-p", "misc,nodename=box")
    inner = outer.branch()
    inner.ask("sethostname(b'inside')")
    stranger = subprocess.Popen(stage.player, env=stage.user.environment)
    attached = stage.enter()
    outer.viewos("viewos", "attach", str(attached.pid), f"{stage.serverid()}:1")
    words = command("viewos", "exec", f"{stage.serverid()}:1", "--", *stage.player)
    with (tmp_path / "said").open("w") as said:
        client = subprocess.Popen(words, env=stage.user.environment, stderr=said)
    run = stage.enter()
    try:
        replaced(stage)
        assert [p.ask("node()") for p in (outer, attached, run)] == ["box", "inside", "inside"]
        assert [p.viewos("vuname", "-V") for p in (attached, run)] == ["1\n", "1\n"]
        assert attached.ask("run('uname', '-n')")[1] == "inside\n"
        assert client.wait() == 125
        assert "the view's supervisor has ended" in (tmp_path / "said").read_text()
    finally:
        attached.close()
        stranger.wait()


def test_a_service_is_added_after_a_succession_and_all_hear_of_it(stage):
    outer = stage.run("-p", "misc,nodename=box")
    inner = outer.branch()
    replaced(stage)
    outer.viewos("um_add_service", text("Works"))
    assert outer.ask("os.getsid(3)") == 4
    assert inner.ask("os.getsid(0)") != 1
    replaced(stage)
    assert outer.ask("os.getsid(3)") == 4
    assert outer.ask("node()") == "box"


def test_an_empty_view_survives_its_small_supervisor_too(stage):
    puppet = stage.run("-V", "empty")
    replaced(stage)
    assert puppet.viewos("vuname", "-V", "-N") == "0 empty\n"
    assert puppet.branch("-V", "b").viewos("vuname", "-V", "-N") == "1 b\n"
    puppet.viewos("um_add_service", "misc,nodename=box")
    assert puppet.ask("node()") == "box"


def test_a_detached_view_survives(stage):
    words = stage.words("-d", "-p", "misc,nodename=box")
    done = subprocess.run(words, env=stage.user.environment, capture_output=True, text=True)
    puppet = stage.enter()
    assert done.stdout == f"{stage.serverid()}\n"
    old = int(done.stdout)
    os.kill(old, signal.SIGKILL)
    assert puppet.ask("node()") == "box"
    assert stage.probe()["pid"] != old


# -- the program as its starter sees it


@pytest.mark.parametrize(("end", "status"), [("os._exit(7)", 7), ("os.kill(os.getpid(), 15)", 143)])
def test_the_programs_end_is_its_keepers_after_a_succession(stage, end, status):
    puppet = stage.run("-p", "misc")
    replaced(stage)
    puppet.tell(end)
    assert stage.keepers[0].wait() == status


def test_signals_still_reach_the_program(stage):
    puppet = stage.run("-p", "misc")
    puppet.ask("globals().update(got=[])")
    puppet.ask("[signal.signal(signal.SIGUSR1, lambda *_: got.append(1))] and None")
    replaced(stage)
    stage.keepers[0].send_signal(signal.SIGUSR1)
    until(lambda: puppet.ask("got") == [1], "the signal")


def test_stops_are_still_mirrored(stage):
    puppet = stage.run("-p", "misc", process_group=0)
    keeper = stage.keepers[0].pid
    replaced(stage)
    os.kill(puppet.pid, signal.SIGSTOP)
    until(lambda: state_of(keeper) == "T", "the keeper to stop")
    os.kill(keeper, signal.SIGCONT)
    until(lambda: state_of(puppet.pid) == "S", "the program to go on")
    assert puppet.ask("1") == 1


def test_what_the_program_leaves_behind_is_the_successors(stage, tmp_path):
    puppet = stage.run("-p", "misc,nodename=box")
    puppet.ask(f"spawn(*{stage.player!r})")
    behind = stage.enter()
    replaced(stage)
    puppet.close()
    assert stage.keepers[0].wait() == 0
    assert behind.ask("many('node()', 100)") == {"box": 100}
    assert behind.viewos("vuname", "-n", "-V") == "box 0\n"
    behind.close()
    until(lambda: not stage.user.views(), "the end of the view")


def test_the_supervisor_and_the_program_end_at_the_same_time(stage):
    puppet = stage.run("-p", "misc,nodename=box")
    puppet.ask(f"spawn(*{stage.player!r})")
    behind = stage.enter()
    keeper, old = stage.keepers[0], stage.supervisor()
    os.kill(keeper.pid, signal.SIGSTOP)
    os.kill(old, signal.SIGKILL)
    os.kill(puppet.pid, signal.SIGKILL)
    os.kill(keeper.pid, signal.SIGCONT)
    assert keeper.wait() == 128 + signal.SIGKILL
    assert behind.ask("many('node()', 100)") == {"box": 100}
    assert behind.viewos("vuname", "-V") == "0\n"


def test_a_keeper_that_is_killed_after_a_succession_ends_its_view(stage):
    puppet = stage.run("-p", "misc,nodename=box")
    heir = replaced(stage)
    assert puppet.viewos("vuname", "-n") == "box\n"
    stage.keepers[0].kill()
    until(lambda: state_of(puppet.pid) in ("", "Z"), "the hang-up")
    until(lambda: state_of(heir) in ("", "Z"), "the end of the successor")
    stage.puppets.clear()


def test_a_supervisor_that_dies_while_it_starts_leaves_nothing(stage, tmp_path):
    rc = tmp_path / "rc"
    rc.write_text(f"#!/bin/sh\necho > {tmp_path}/begun\nexec sleep 1000\n")
    rc.chmod(0o755)
    words = [*stage.user.viewos_run, "-p", "misc", "-f", str(rc), "true"]
    keeper = subprocess.Popen(words, env=stage.user.environment, stderr=subprocess.PIPE)
    until((tmp_path / "begun").exists, "the rc file")
    below = descendants(keeper.pid)
    os.kill(stage.supervisor(keeper), signal.SIGKILL)
    _, said = keeper.communicate()
    assert keeper.returncode == 125
    assert said == b"viewos-run: the supervisor died before PROG could start\n"
    until(lambda: all(state_of(pid) in ("", "Z") for pid in below), "the end of all")
    assert os.listdir(stage.user.runtime_dir) == []


# -- clients


def test_a_client_finds_the_view_at_any_moment(stage):
    puppet = stage.run("-V", "here", "-p", "misc", env=MANY)
    words = command("viewos", "ls", "--json")
    for _ in range(6):
        asking = [
            subprocess.Popen(words, env=stage.user.environment, stdout=subprocess.PIPE)
            for _ in range(3)
        ]
        stage.kill_supervisor()
        for client in asking:
            out, _ = client.communicate()
            assert client.returncode == 0
            assert b'"here"' in out
    assert puppet.viewos("viewname") == "here\n"


def test_a_trace_goes_on_with_the_successor(stage, tmp_path):
    puppet = stage.run("-p", "misc,nodename=box")
    words = command("viewos", "trace", str(stage.serverid()))
    with (tmp_path / "out").open("w") as out, (tmp_path / "said").open("w") as said:
        tracing = subprocess.Popen(words, env=stage.user.environment, stdout=out, stderr=said)

    def shown() -> int:
        puppet.ask("node()")
        return (tmp_path / "out").read_text().count("uname(")

    until(shown, "a call to be shown")
    replaced(stage)
    puppet.viewos("viewname")
    before = shown()
    until(lambda: shown() > before + 3, "calls to be shown again")
    assert "the supervisor was replaced" in (tmp_path / "said").read_text()
    puppet.tell("os._exit(0)")
    assert tracing.wait() == 0  # with the view
