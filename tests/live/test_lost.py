"""Processes whose parents ended at once are of their view and branch nevertheless."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest

from helpers.live import PROGRAMS
from helpers.puppets import Puppet, Stage
from helpers.waiting import until
from viewos_clients.session import Session
from viewosd.keeper.processes import parent_of, state_of


@pytest.fixture
def stranger(stage: Stage) -> Iterator[Puppet]:
    """A puppet outside of any view."""
    process = subprocess.Popen(stage.player, env=stage.user.environment)
    puppet = stage.enter()
    yield puppet
    puppet.close()
    process.wait()


def orphaned(stage: Stage) -> list[str]:
    """A shell that starts a puppet and ends at once."""
    return ["sh", "-c", f"{shlex.join(stage.player)} </dev/null >/dev/null 2>&1 & :"]


def members(stage: Stage, view: int = 0) -> list[int]:
    with Session(stage.serverid()) as session:
        return list(session.call("ps", view)["pids"])


def test_an_orphan_of_an_attached_process_is_found_by_its_first_call(stage, stranger):
    main = stage.run("-p", "misc,nodename=box")
    main.viewos("um_attach", str(stranger.pid))
    for _ in range(5):
        stranger.ask(f"run(*{orphaned(stage)!r})")
        orphan = stage.enter()
        assert orphan.ask("node()") == "box"
        assert parent_of(orphan.pid) != stranger.pid
        assert orphan.pid in members(stage)
        assert orphan.ask(f"run(*{orphaned(stage)!r})")[0] == 0
        second = stage.enter()
        assert second.ask("node()") == "box"
        assert {second.pid, orphan.pid} <= set(members(stage))
        assert second.viewos("vuname", "-V") == "0\n"


def test_an_orphan_of_an_attached_process_is_trapped_for_what_comes_later(stage, stranger):
    main = stage.run("-p", "misc,nodename=box")
    main.viewos("um_attach", str(stranger.pid))
    stranger.ask(f"run(*{orphaned(stage)!r})")
    orphan = stage.enter()
    assert orphan.ask("node()") == "box"
    main.viewos("um_add_service", f"{PROGRAMS}/layers.py:Parent")
    assert orphan.ask("os.getppid()") == 4242
    assert orphan.ask("node()") == "box"


def test_an_orphan_of_an_attached_process_ends_with_the_view(stage, stranger):
    main = stage.run("-p", "misc,nodename=box")
    main.viewos("um_attach", str(stranger.pid))
    stranger.ask(f"run(*{orphaned(stage)!r})")
    orphan = stage.enter()
    assert orphan.ask("node()") == "box"
    with Session(stage.serverid()) as session, suppress(ConnectionError):
        session.call("stop", 0, 0.1)
    until(lambda: state_of(orphan.pid) in ("", "Z"), "its end")


def test_daemons_of_a_program_executed_in_a_branch_stay_there(stage):
    outer = stage.run("-p", "misc,nodename=outside")
    inner = outer.branch("-V", "inner")
    inner.ask("sethostname(b'inside')")
    where = f"{stage.serverid()}:1"
    for _ in range(5):
        outer.viewos("viewos", "exec", where, "--", *orphaned(stage))
        daemon = stage.enter()
        assert parent_of(daemon.pid) == stage.supervisor()
        assert daemon.ask("node()") == "inside"
        assert daemon.viewos("vuname", "-V", "-N") == "1 inner\n"
        daemon.ask(f"run(*{orphaned(stage)!r})")
        second = stage.enter()
        assert second.ask("node()") == "inside"
        assert {daemon.pid, second.pid} <= set(members(stage, 1))
        assert not {daemon.pid, second.pid} & set(members(stage, 0))
    assert outer.ask("node()") == "outside"
    stage.kill_supervisor()
    assert second.ask("node()") == "inside"
    assert second.ask("run('uname', '-n')") == (0, "inside\n", "")
    inner.close()
    outer.ask("wait()")
    assert second.ask("node()") == "inside"
    assert set(stage.views()) == {0, 1}


def test_a_branch_begun_by_an_executed_program_is_its_own(stage):
    outer = stage.run("-p", "misc,nodename=outside")
    inner = outer.branch()
    inner.ask("sethostname(b'inside')")
    outer.viewos("viewos", "exec", f"{stage.serverid()}:1", "--", *orphaned(stage))
    daemon = stage.enter()
    assert daemon.ask("node()") == "inside"
    innermost = daemon.branch()
    innermost.ask("sethostname(b'innermost')")
    innermost.ask(f"run(*{orphaned(stage)!r})")
    orphan = stage.enter()
    for _ in range(3):
        assert orphan.ask("node()") == "innermost"
        assert innermost.ask("node()") == "innermost"
        assert daemon.ask("node()") == "inside"
    assert set(members(stage, 2)) >= {innermost.pid, orphan.pid}
    assert daemon.pid in members(stage, 1)


def test_an_orphan_of_a_process_attached_to_a_branch_is_of_that_branch(stage, stranger):
    outer = stage.run("-p", "misc,nodename=outside")
    inner = outer.branch()
    inner.ask("sethostname(b'inside')")
    outer.viewos("viewos", "attach", str(stranger.pid), f"{stage.serverid()}:1")
    assert stranger.ask("node()") == "inside"
    stranger.ask(f"run(*{orphaned(stage)!r})")
    orphan = stage.enter()
    assert orphan.ask("node()") == "inside"
    assert orphan.pid in members(stage, 1)
