"""Servers of trees that are killed, in real views of root and of an ordinary user."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

from helpers.commands import command
from helpers.puppets import Puppet
from helpers.waiting import until

from .conftest import Place, look, mount, mounts, umount


def servers(place: Place) -> dict[int, int]:
    """Keepers of tree servers, and their servers."""
    supervisor = place.stage.supervisor()
    found = {}
    for pid in children(supervisor):
        if Path(f"/proc/{pid}/comm").read_text().strip() == "viewos-tree":
            found[pid] = until(lambda pid=pid: children(pid), "a server")[0]
    return found


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_servers(place: Place) -> None:
    for server in servers(place).values():
        os.kill(server, signal.SIGKILL)


def lost(puppet: Puppet) -> dict[str, str]:
    _, out, _ = puppet.ask(f"run(*{command('viewos', 'mounts', '--json')!r})")
    return {row["target"]: row["lost"] for row in json.loads(out) if row["lost"]}


def test_a_directory_goes_on_and_what_was_in_memory_is_lost(puppet: Puppet, place: Place):
    memory = place.path / "memory"
    memory.mkdir()
    place.own()
    assert mount(puppet, "umfusereal", place.content, place.point) == ""
    assert mount(puppet, "umfuseram", "none", memory) == ""
    assert puppet.ask(f"open({str(memory / 'f')!r}, 'w').write('x')") == 1
    fd = puppet.ask(f"os.open({str(place.point / 'text')!r}, os.O_RDWR)")
    for _ in range(3):
        kill_servers(place)
        assert look(puppet, place.point) == place.natively()
        assert puppet.ask(f"os.pread({fd}, 4, 0)") == b"text"
    text = puppet.ask(f"open({str(memory / 'g')!r}, 'w')")
    assert f"[Errno {errno.EIO}]" in text
    assert lost(puppet) == {str(memory): "its server died, and what it had in memory with it"}
    err = puppet.ask(f"run(*{command('viewos', 'mounts')!r})")[2]
    assert f"{memory} is lost: its server died" in err
    assert "all calls fail with EIO" in place.stage.log()
    assert puppet.ask(f"os.close({fd})") is None
    umount(puppet, memory)
    umount(puppet, place.point)
    assert "fuse.umfusereal" not in mounts(puppet)


def test_it_goes_on_without_its_supervisor_as_well(puppet: Puppet, place: Place):
    assert mount(puppet, "umfusereal", place.content, place.point) == ""
    before = servers(place)
    supervisor = place.stage.kill_supervisor()
    for server in before.values():
        os.kill(server, signal.SIGKILL)
    assert look(puppet, place.point) == place.natively()
    until(lambda: place.stage.supervisor() not in (0, supervisor), "a successor")
    assert lost(puppet) == {}
    new = place.point / "new"
    assert puppet.ask(f"open({str(new)!r}, 'w').write('new')") == 3
    umount(puppet, place.point)


def test_the_end_of_a_keeper_ends_its_mounts_and_nothing_else(puppet: Puppet, place: Place):
    assert mount(puppet, "umfusereal", place.content, place.point) == ""
    for keeper in servers(place):
        os.kill(keeper, signal.SIGKILL)
    script = f"os.listdir({str(place.point)!r})"
    until(lambda: f"[Errno {errno.ENOTCONN}]" in str(puppet.ask(script)), "the end of the mount")
    assert puppet.ask(f"os.listdir({str(place.content)!r})") != []
    umount(puppet, place.point)
    assert mount(puppet, "umfusereal", place.content, place.point) == ""
    assert look(puppet, place.point) == place.natively()
    umount(puppet, place.point)
