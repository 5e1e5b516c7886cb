"""viewos-run -s: from inside, only capabilities let somebody change the view."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from helpers.commands import command
from helpers.puppets import Puppet, Stage
from viewos_clients.session import Session

ADD = command("um_add_service", "misc,nodename=changed")


def refused(puppet: Puppet, words: list[str]) -> str:
    """Why a command that was run in the puppet's view could not be done; "" if it was."""
    status, _, error = puppet.ask(f"run(*{words!r})")
    assert (status == 0) == (error == ""), error
    return str(error)


def changes(puppet: Puppet, *words: str) -> list[str]:
    """What each way to change the view is refused for, run by ``words``."""
    ways = (
        command("um_add_service", "misc,nodename=changed"),
        command("viewname", "other"),
        command("viewos", "exec", "--", "true"),
        command("um_del_service", "misc"),
    )
    return [refused(puppet, [*words, *way]) for way in ways]


SCRATCH = f"{Path(__file__).parent}/file_services.py:Scratch"
SAID = [
    "from inside, 'add' needs CAP_SYS_MODULE",
    "from inside, 'name' needs CAP_SYS_ADMIN",
    "from inside, 'exec' needs CAP_SYS_ADMIN",
    "from inside, 'del' needs CAP_SYS_MODULE",
]


def bare(stage: Stage) -> list[str]:
    """Words before a command that take its capabilities away."""
    return ["setpriv", "--bounding-set=-all"] if stage.user.uid == 0 else []


def all_refused(errors: list[str]) -> bool:
    return all(said in error for said, error in zip(SAID, errors, strict=True))


def test_who_has_no_capability_can_not_change_a_secure_view_from_inside(user_stage, monkeypatch):
    puppet = user_stage.run("-s", "-p", "misc,nodename=box")
    assert all_refused(changes(puppet, *bare(user_stage)))
    assert puppet.ask("node()") == "box"
    assert puppet.viewos("um_ls_service").startswith("misc:")
    monkeypatch.setenv("VIEWOS_RUNTIME_DIR", str(user_stage.user.runtime_dir))
    with Session(user_stage.serverid()) as outside:
        outside.call("del", 0, "misc")
    assert puppet.ask("node()") == os.uname().nodename


def test_capabilities_of_a_user_namespace_do_not_count(user_stage):
    puppet = user_stage.run("-s", "-p", "misc,nodename=box")
    if puppet.ask("run('unshare', '-Ur', 'true')")[0]:
        pytest.skip("no user namespaces here")
    assert all_refused(changes(puppet, "unshare", "-Ur"))


@pytest.mark.root
def test_root_with_its_capabilities_changes_a_secure_view(stage):
    assert changes(stage.run("-s")) == [""] * 4


def test_without_the_option_everybody_of_the_owner_s_uid_changes_it(user_stage):
    puppet = user_stage.run()
    assert changes(puppet, *bare(user_stage)) == [""] * 4


def test_a_branch_of_a_secure_view_is_secure_and_one_may_be_so_alone(user_stage):
    outer = user_stage.run("-p", "misc,nodename=box")
    inner = outer.branch("-s")
    innermost = inner.branch()
    assert all_refused(changes(inner, *bare(user_stage)))
    assert all_refused(changes(innermost, *bare(user_stage)))
    assert refused(outer, [*bare(user_stage), *command("viewname", "free")]) == ""


def test_a_successor_keeps_to_it(user_stage):
    puppet = user_stage.run("-s", "-p", "misc,nodename=box")
    inner = puppet.branch()
    user_stage.kill_supervisor()
    assert all_refused(changes(puppet, *bare(user_stage)))
    assert all_refused(changes(inner, *bare(user_stage)))


def test_rc_files_still_make_the_view_what_it_shall_be(user_stage, scratch: Path):
    rc = scratch / "rc-of-a-secure-view"
    rc.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in ADD) + "\n")
    rc.chmod(0o755)
    puppet = user_stage.run("-s", "-f", str(rc))
    assert puppet.ask("node()") == "changed"
    assert all_refused(changes(puppet, *bare(user_stage)))
    rc.unlink()


def test_mounting_needs_the_capability_too(user_stage):
    point = Path(user_stage.address).with_name("point")
    point.mkdir()
    os.chown(point, user_stage.user.uid, user_stage.user.uid)
    puppet = user_stage.run("-s", "-p", SCRATCH)
    code = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.mount(b"none", {bytes(point)!r}, b"scratch", 0, None) and ctypes.get_errno())
"""
    words = [*bare(user_stage), sys.executable, "-c", code]
    assert puppet.ask(f"run(*{words!r})") == (0, f"{errno.EPERM}\n", "")
