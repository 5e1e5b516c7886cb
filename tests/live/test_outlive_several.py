"""The supervisor and helpers of a view's file tree are killed, one or several at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from helpers.puppets import Puppet, Stage, supervisor_of
from helpers.waiting import until
from viewosd.keeper.processes import descendants, state_of


@pytest.fixture
def point(user_stage: Stage, scratch: Path) -> Path:
    path = scratch / f"several-{os.urandom(4).hex()}"
    for one in (path, path / "point", path / "hidden"):
        one.mkdir()
        os.chown(one, user_stage.user.uid, user_stage.user.uid)
    return path


def helpers(stage: Stage, name: str) -> list[int]:
    """Those of a name below the keeper."""
    found = []
    for pid in descendants(stage.keepers[-1].pid):
        try:
            if Path(f"/proc/{pid}/comm").read_text().startswith(name):
                found.append(pid)
        except OSError:
            pass
    return found


def uses_its_mounts(puppet: Puppet, point: Path) -> None:
    """Mounts come and go."""
    assert puppet.ask(f"sorted(os.listdir({str(point)!r}))") == ["hidden", "point"]
    for _ in range(2):
        target = bytes(point / "point")
        assert puppet.ask(f"call('mount', b'none', {target!r}, b'viewfs', 0, b'tmpfs')") == 0
        assert puppet.ask(f"call('umount2', {target!r}, 0)") == 0


@pytest.mark.parametrize(
    "victims", ["viewos-agent", "viewos-agent viewosd", "viewosd viewos-agent"]
)
def test_a_view_whose_agent_is_killed_alone_or_with_the_supervisor_mounts_on(
    user_stage, point, victims
):
    puppet = user_stage.run("--tmpfs", str(point / "hidden"))
    uses_its_mounts(puppet, point)
    for _ in range(2):
        pids = [pid for name in victims.split() for pid in helpers(user_stage, name)[:1]]
        assert len(pids) == len(victims.split())
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        uses_its_mounts(puppet, point)
    puppet.close()
    user_stage.keepers[-1].wait()
    assert "Traceback" not in user_stage.log()


def test_nothing_is_left_when_keeper_supervisor_and_agent_are_killed_at_once(user_stage, point):
    puppet = user_stage.run("--tmpfs", str(point / "hidden"))
    uses_its_mounts(puppet, point)
    keeper = user_stage.keepers[-1]
    everybody = descendants(keeper.pid)
    for pid in (supervisor_of(keeper.pid), *helpers(user_stage, "viewos-agent"), keeper.pid):
        os.kill(pid, signal.SIGKILL)
    # The program goes on as it is, and ends as it likes.
    assert puppet.ask("os.getpid()") == puppet.pid
    puppet.close()
    until(lambda: not [pid for pid in everybody if state_of(pid) not in ("", "Z")], "the end")
    for path in user_stage.user.runtime_dir.glob("[0-9]*.sock"):
        path.unlink()  # nobody was left to do it
