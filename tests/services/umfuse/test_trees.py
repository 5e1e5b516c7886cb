"""The trees of our own, in real views."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from helpers.puppets import Puppet

from .conftest import Place, look, mount, mounts, umount


def test_a_file_in_memory_is_mounted_on_a_file(puppet: Puppet, place: Place):
    point = place.content / "text"
    assert mount(puppet, "umfuseramfile", "none", point, "mode=600") == ""
    assert puppet.ask(f"open({str(point)!r}, 'w').write('in memory')") == 9
    assert puppet.ask(f"open({str(point)!r}).read()") == "in memory"
    mode = puppet.ask(f"os.stat({str(point)!r}).st_mode")
    assert (stat.S_ISREG(mode), mode & 0o777) == (True, 0o600)
    assert point.read_text() == "text\n"
    umount(puppet, point)
    assert puppet.ask(f"open({str(point)!r}).read()") == "text\n"


def test_a_file_in_memory_is_mounted_where_nothing_is(puppet: Puppet, place: Place):
    point = place.path / "new"
    assert mount(puppet, "umfuseramfile", "none", point) == ""
    assert puppet.ask(f"open({str(point)!r}, 'w').write('x')") == 1
    umount(puppet, point)
    assert puppet.ask(f"os.path.exists({str(point)!r})") is False


def test_a_file_in_memory_is_as_large_as_it_was_asked_for(puppet: Puppet, place: Place):
    point = place.content / "text"
    assert "on a file" in mount(puppet, "umfuseramfile", "none", place.point)
    assert mount(puppet, "umfuseramfile", "none", point, "size=64K") == ""
    text = puppet.ask(f"open({str(point)!r}, 'wb', 0).write(bytes(65536))")
    assert text == 65536
    assert f"[Errno {errno.ENOSPC}]" in puppet.ask(f"open({str(point)!r}, 'ab', 0).write(b'x')")
    umount(puppet, point)


def test_a_tree_in_memory_takes_what_is_copied_into_it(puppet: Puppet, place: Place):
    assert mount(puppet, "umfuseram", "none", place.point) == ""
    copied = place.point / "copied"
    assert puppet.ask(f"run('cp', '-a', {str(place.content)!r}, {str(copied)!r})")[0] == 0
    assert look(puppet, copied) == place.natively()
    assert puppet.ask(f"run('rm', '-r', {str(copied)!r})")[0] == 0
    umount(puppet, place.point)
    assert os.listdir(place.point) == []


def test_trees_are_mounted_in_trees(puppet: Puppet, place: Place):
    below = place.point / "below"
    assert mount(puppet, "umfuseram", "none", place.point) == ""
    assert puppet.ask(f"os.mkdir({str(below)!r})") is None
    assert mount(puppet, "umfuseram", "none", below) == ""
    assert puppet.ask(f"call('umount2', {bytes(place.point)!r}, 0)") == -errno.EBUSY
    umount(puppet, below)
    umount(puppet, place.point)


def test_a_real_directory_is_passed_through(puppet: Puppet, place: Place):
    assert mount(puppet, "umfusereal", place.content, place.point) == ""
    assert look(puppet, place.point) == place.natively()
    new = place.point / "new"
    assert puppet.ask(f"open({str(new)!r}, 'w').write('new')") == 3
    assert puppet.ask(f"os.link({str(new)!r}, {str(place.point / 'other')!r})") is None
    assert puppet.ask(f"os.chmod({str(new)!r}, 0o600)") is None
    assert puppet.ask(f"os.rename({str(new)!r}, {str(place.point / 'sub' / 'moved')!r})") is None
    umount(puppet, place.point)
    moved = (place.content / "sub" / "moved").stat()
    assert (moved.st_nlink, moved.st_mode & 0o777, moved.st_uid) == (2, 0o600, place.stage.user.uid)
    assert look(puppet, place.content) == place.natively()


def test_a_real_directory_is_mounted_below_itself(puppet: Puppet, place: Place):
    assert mount(puppet, "umfusereal", place.path, place.point) == ""
    again = place.point / "point" / "point"
    assert puppet.ask(f"os.path.exists({str(again)!r})") is False
    assert puppet.ask(f"os.listdir({str(place.point / 'point')!r})") == []
    umount(puppet, place.point)


@pytest.mark.parametrize("type", ["umfuseram", "umfusereal"])
def test_compiled_programs_run_from_it(puppet: Puppet, place: Place, type: str):
    assert mount(puppet, type, place.content, place.point) == ""
    program = place.point / "program"
    assert puppet.ask(f"run('cp', '/bin/echo', {str(program)!r})")[0] == 0
    assert puppet.ask(f"run({str(program)!r}, 'ran')") == (0, "ran\n", "")
    umount(puppet, place.point)


def test_fifty_trees_are_one_process(puppet: Puppet, place: Place):
    points = [place.path / f"point{n}" for n in range(50)]
    for point in points:
        point.mkdir()
    place.own()
    for point in points:
        words = f"b'none', {bytes(point)!r}, b'umfuseram', 0, None"
        assert puppet.ask(f"call('mount', {words})") == 0
    assert mounts(puppet).count("fuse.umfuseram") == 50
    below = Path(f"/proc/{place.stage.supervisor()}/task/{place.stage.supervisor()}/children")
    names = [Path(f"/proc/{p}/comm").read_text().strip() for p in below.read_text().split()]
    assert names.count("viewos-tree") == 1
    for point in points:
        umount(puppet, point)
