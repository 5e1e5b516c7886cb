"""Where views are found, and that what killed ones left is taken away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from viewosd.keeper import place

pytestmark = pytest.mark.usefixtures("runtime_dir")


_LISTEN = """
import os, signal, sys
from viewosd.keeper import place
control = place.listen()
if sys.argv[1:] and not os.fork():
    sys.stdin.read()
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A keeper that made its socket and was killed. With an argument its child lives on."""


def _names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_a_socket_that_a_killed_keeper_did_not_publish_is_taken_away_by_the_next(
    runtime_dir: Path,
) -> None:
    subprocess.run([sys.executable, "-c", _LISTEN])
    assert len(_names(runtime_dir)) == 1
    with place.listen():
        assert _names(runtime_dir) == [f".{os.getpid()}.new"]
        place.abandon()
    assert not _names(runtime_dir)


def test_a_socket_that_a_killed_keeper_did_not_publish_is_taken_away_by_a_listing(
    runtime_dir: Path,
) -> None:
    subprocess.run([sys.executable, "-c", _LISTEN])
    assert place.sockets() == {}
    assert not _names(runtime_dir)


def test_a_socket_that_is_about_to_be_published_stays(runtime_dir: Path) -> None:
    with place.listen():
        assert place.sockets() == {}
        place.publish(os.getpid(), 4711)
        assert list(place.sockets()) == [4711]
        place.remove(4711)
    assert not _names(runtime_dir)


def test_a_socket_whose_maker_handed_it_on_stays(runtime_dir: Path) -> None:
    ours, theirs = os.pipe()
    with subprocess.Popen([sys.executable, "-c", _LISTEN, "on"], stdin=ours) as maker:
        os.close(ours)
        maker.wait(100)
        assert place.sockets() == {}
        assert _names(runtime_dir) == [f".{maker.pid}.new"]
        place.publish(maker.pid, maker.pid)
        assert list(place.sockets()) == [maker.pid]
        place.remove(maker.pid)
        os.close(theirs)


@pytest.mark.parametrize("name", [".new", ".x.new", ".1.new", "1.new", ".99999999.sock"])
def test_what_is_not_ours_stays(runtime_dir: Path, name: str) -> None:
    (runtime_dir / name).write_text("")
    assert place.sockets() == {}
    assert _names(runtime_dir) == [name]
