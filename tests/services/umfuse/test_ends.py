"""However a view ends, what was written to an image is in it, and the image is clean."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from helpers.commands import command
from helpers.puppets import Puppet, Stage
from helpers.waiting import until

from .conftest import Place, mount, mounts, need, server_of, umount
from .test_images import clean


@pytest.fixture
def ext4(place: Place) -> Path:
    need("mke2fs", "e2fsck", "debugfs", "fuse2fs")
    place.make("mke2fs", "-q", "-t", "ext4", "-d", "content", "ext4", "8M")
    return place.path / "ext4"


def content(image: Path, name: str) -> bytes:
    return subprocess.check_output(["debugfs", "-R", f"cat {name}", image], stderr=-3)


def ended(image: Path) -> bool:
    try:
        server_of("fuse2fs", image)
    except ValueError:
        return True
    return False


def test_a_program_may_end_at_once_when_it_has_written(stage: Stage, place: Place, ext4: Path):
    words = [*stage.user.prefix, *stage.user.viewos_run, "--no-rc"]
    words += ["--mount", "umfuseext2,rw", str(ext4), str(place.point), "--"]
    words += ["sh", "-c", 'cp "$1"/large "$2"/copied && exit 7', "-", *map(str, (place.content, place.point))]  # fmt: skip
    done = subprocess.run(words, env=stage.user.environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    assert ended(ext4)
    assert clean(ext4)
    assert content(ext4, "copied") == (place.content / "large").read_bytes()


def test_a_view_that_is_stopped_unmounts(stage: Stage, place: Place, ext4: Path):
    puppet = stage.run("-p", "umfuse")
    assert mount(puppet, "umfuseext2", ext4, place.point, "rw") == ""
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    words = [*stage.user.prefix, *command("viewos", "stop", str(stage.serverid()), "5")]
    assert subprocess.run(words, env=stage.user.environment).returncode == 0
    stage.keepers[-1].wait()
    assert ended(ext4)
    assert clean(ext4)
    assert content(ext4, "new") == b"new"


def test_an_image_is_clean_though_the_supervisor_was_killed_in_between(stage, place, ext4: Path):
    puppet = stage.run("-p", "umfuse")
    assert mount(puppet, "umfuseext2", ext4, place.point, "rw") == ""
    words = ["sh", "-c", f"while date > {place.point}/often; do sleep 0.01; done"]
    puppet.ask(f"spawn(*{words!r})")
    until(lambda: puppet.ask(f"os.path.exists({str(place.point / 'often')!r})"), "a file")
    stage.kill_supervisor()
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    puppet.ask("children[-1].kill()")
    puppet.ask("wait()")
    puppet.close()
    stage.keepers[-1].wait()
    until(lambda: ended(ext4), "the program to write back")
    assert clean(ext4)
    assert content(ext4, "new") == b"new"


def test_a_successor_knows_the_mounts_of_before(stage: Stage, place: Place, ext4: Path):
    puppet = stage.run("-p", "umfuse")
    assert mount(puppet, "umfuseext2", ext4, place.point) == ""
    before = puppet.viewos("viewos", "mounts")
    stage.kill_supervisor()
    assert puppet.viewos("viewos", "mounts") == before
    os.kill(server_of("fuse2fs", ext4), signal.SIGKILL)
    until(lambda: "fuse2fs has ended with signal 9" in stage.log(), "the log to say it")
    umount(puppet, place.point)
    assert mount(puppet, "umfuseext2", ext4, place.point) == ""
    umount(puppet, place.point)


def test_a_mount_during_which_the_supervisor_is_killed_leaves_nothing(stage, place: Place):
    """Whether a successor begins it again, or says that it does not."""
    script, started = place.path / "prog", place.path / "started"
    script.write_text(
        f"#!/bin/sh\n[ ! -e {started} ] || exit 3\necho $$ >> {started}\nexec sleep 600\n"
    )
    script.chmod(0o755)
    place.own()
    puppet = stage.run("-p", "umfuse")
    puppet.tell(
        f"call('mount', b'none', {bytes(place.point)!r}, b'umfuse', 0, {b'prog=' + bytes(script)!r})"
    )
    until(lambda: started.exists() and started.read_text().strip(), "the program to start")
    stage.kill_supervisor()
    pid = int(started.read_text().split()[0])
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the program")
    assert puppet.hear() < 0
    assert puppet.ask("1 + 1") == 2
    assert not [one for one in mounts(puppet) if one.startswith("fuse")]


def test_fusermount_unmounts_what_umfuse_has_mounted(puppet: Puppet, place: Place, ext4: Path):
    need("fusermount3")
    assert mount(puppet, "umfuseext2", ext4, place.point, "rw") == ""
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    assert puppet.ask(f"run('fusermount3', '-u', {str(place.point)!r})") == (0, "", "")
    assert ended(ext4)
    assert clean(ext4)
    assert content(ext4, "new") == b"new"


def test_a_program_that_writes_back_slowly_is_waited_for(puppet: Puppet, place: Place, ext4: Path):
    """Stopped while it should write, as by a slow disk."""
    assert mount(puppet, "umfuseext2", ext4, place.point, "rw") == ""
    server = server_of("fuse2fs", ext4)
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    os.kill(server, signal.SIGSTOP)
    puppet.tell(f"call('umount2', {bytes(place.point)!r}, 0)")
    until(lambda: str(place.point) not in Path(f"/proc/{puppet.pid}/mounts").read_text(), "umount")
    os.kill(server, signal.SIGCONT)
    assert puppet.hear() == 0
    assert ended(ext4)
    assert clean(ext4)
