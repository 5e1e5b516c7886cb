"""An ordinary user gives files and himself away, natively and in views that map the user alone."""

from __future__ import annotations

import json
import os

import pytest

from helpers.grounds import PROGRAMS, Ground, differences, good

GROUP = 50
"""Another group of the user's."""


def results(ground: Ground, kind: str) -> dict[str, str]:
    ground.fresh()
    for name in ("mine", "theirs"):
        (ground.work / name).touch()
    (ground.work / "link").symlink_to("mine")
    for path in ("mine", "link"):
        os.lchown(ground.work / path, ground.user.uid, ground.user.uid)
    argv = [ground.python, "-I", str(PROGRAMS / "ids.py")]
    if kind == "native":
        return json.loads(good(ground.native(*argv)))
    return json.loads(ground.inside(kind, *argv))


@pytest.fixture
def member(nobodys_ground: Ground) -> Ground:
    """An ordinary user with two groups."""
    user = nobodys_ground.user
    user.prefix = [f"--groups={GROUP}" if w == "--clear-groups" else w for w in user.prefix]
    return nobodys_ground


@pytest.mark.root
def test_who_may_give_what_to_whom_is_as_natively(member):
    native = results(member, "native")
    assert (native["another group of ours"], native["chown mine 12345 -1"]) == ("", "EPERM")
    assert differences(native, results(member, "hide")) == {}


@pytest.mark.root
def test_so_it_is_below_cow_but_for_what_overlayfs_copies_up_to_leave_as_it_is(member):
    # It can't copy an owner whom its user namespace lacks.
    known = {f"{call} theirs -1 -1": " -> EOVERFLOW" for call in ("chown", "lchown")}
    assert differences(results(member, "native"), results(member, "cow")) == known


@pytest.mark.root
def test_a_directory_of_another_group_of_ours_is_served_by_the_tree(member):
    member.fresh()
    os.chown(member.work, member.user.uid, GROUP)
    (member.work / "file").touch()
    os.chown(member.work / "file", member.user.uid, GROUP)
    script = "echo changed > file; mv file other; cat other; awk '$3 ~ /viewfs/' /proc/mounts"
    changed, mount = member.inside("cow", "sh", "-ec", script).splitlines()
    assert (changed, mount.split()[1]) == ("changed", str(member.work))
