"""Mounted and unmounted again at once, by several programs side by side: always 0."""

from __future__ import annotations

import sys

import pytest

from helpers.puppets import Puppet

from .conftest import Place, mounts, need

# How often mount(2) and umount2(2) gave each result, with and without a look in between.
OFTEN = """
import collections, ctypes, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
source, type, *points = map(os.fsencode, sys.argv[1:])
found = collections.Counter()
def call(name, *args):
    found[name, libc[name](*args) and ctypes.get_errno()] += 1
def often(point):
    for number in range(12):
        call("mount", source, point, type, 0, None)
        if number % 3 == 0:
            os.listdir(point)
        if number % 3 == 1:
            open(point + b"/text").read()
        call("umount2", point, 0)
threads = [threading.Thread(target=often, args=(point,)) for point in points]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(dict(found))
"""


@pytest.mark.parametrize("type", ["umfuseext2", "umfusesquashfs"])
def test_mounts_come_and_go_side_by_side(puppet: Puppet, place: Place, type: str):
    if type == "umfuseext2":
        need("mke2fs", "fuse2fs")
        place.make("mke2fs", "-q", "-t", "ext2", "-d", "content", "image", "8M")
    else:
        need("mksquashfs", "squashfuse")
        place.make("mksquashfs", "content", "image", "-quiet", "-no-progress")
    points = [place.path / f"point{number}" for number in range(3)]
    for point in points:
        point.mkdir()
    place.own()
    words = [sys.executable, "-c", OFTEN, str(place.path / "image"), type, *map(str, points)]
    status, out, err = puppet.ask(f"run(*{words!r})")
    assert (status, err) == (0, "")
    assert out.strip() == "{('mount', 0): 36, ('umount2', 0): 36}"
    assert not [one for one in mounts(puppet) if one.startswith("fuse")]
    assert "a bug" not in place.stage.log()
