"""The supervisor is killed at each step of a re-arm: its successor arms everybody."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from helpers.commands import command
from helpers.puppets import Stage
from helpers.waiting import until

STEPS = ["prepared", "listeners closed", "filter installed", "listener fetched", "listener parked",
         "armed"]  # fmt: skip


def _listeners(pid: int) -> list[str]:
    """Those in a program's own table."""
    found = (os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
    return [link for link in found if "seccomp" in link]


def _kill_at(step: str, stage: Stage) -> None:
    here = Path(__file__).with_name("dies_arming.py")
    dies = shutil.copy(here, stage.user.runtime_dir)
    puppet = stage.run("-p", "misc,nodename=box")
    child = puppet.branch()
    old = stage.supervisor()
    add = command("um_add_service", f"{dies}:Dies,step={step}")
    assert puppet.ask(f"run(*{add!r})[0]") != 0  # the client has lost its supervisor
    until(lambda: stage.supervisor() != old, "a successor")
    until(lambda: puppet.ask("node()") == child.ask("node()") == "box", "the successor's re-arm")
    assert _listeners(puppet.pid) == _listeners(child.pid) == []
    puppet.viewos("um_add_service", f"{dies}:Dies,step={step}")
    assert puppet.ask("os.getsid(0)") == 777
    assert child.ask("os.getsid(0)") != 777  # a branch has its own services
    assert child.ask("node()") == "box"


@pytest.mark.parametrize("step", STEPS)
def test_after_a_kill_at_any_step_of_a_re_arm_every_call_is_answered(stage, step):
    _kill_at(step, stage)


def test_after_a_kill_an_ordinary_user_s_listeners_are_found_too(user_stage):
    _kill_at("filter installed", user_stage)
