"""What is no image, is in use, hangs or dies: an error in words, nobody hangs, nothing is left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from helpers.puppets import Puppet, Stage
from helpers.waiting import until

from .conftest import Place, mount, mounts, need, server_of, umount, words_of

TYPES = {
    "umfuseext2": "fuse2fs",
    "umfusefat": "fusefat",
    "umfuseiso9660": "fuseiso",
    "umfusesquashfs": "squashfuse",
    "umfusentfs": "ntfs-3g",
}


@pytest.fixture(params=["no image", "empty", "cut off"])
def damaged(request: pytest.FixtureRequest, place: Place) -> Path:
    image = place.path / "image"
    if request.param == "cut off":
        need("mksquashfs")
        place.make("mksquashfs", "content", "image", "-quiet", "-no-progress")
        os.truncate(image, 100)
    else:
        image.write_bytes(b"no image\n" * 5000 if request.param == "no image" else b"")
    place.own()
    return image


@pytest.mark.parametrize("type", TYPES)
def test_what_is_no_image_is_refused(puppet: Puppet, place: Place, damaged: Path, type: str):
    need(TYPES[type])
    why = mount(puppet, type, damaged, place.point)
    assert TYPES[type] in why, why
    assert why.count("\n") == 1
    assert not [one for one in mounts(puppet) if one.startswith("fuse")]


def test_an_archive_that_is_none_is_refused(puppet: Puppet, place: Place, damaged: Path):
    pytest.importorskip("ratarmountcore")
    assert "is no archive" in mount(puppet, "umfusearchive", damaged, place.point)


def test_missing_images_and_directories_say_so(puppet: Puppet, place: Place):
    words = f"{bytes(place.path / 'none')!r}, {bytes(place.point)!r}, b'umfuseext2', 0, None"
    assert puppet.ask(f"call('mount', {words})") == -errno.ENOENT
    for type in ("umfuseext2", "umfusearchive", "umfusereal"):
        why = mount(puppet, type, place.path / "none", place.point)
        assert f"{place.path}/none: No such file or directory" in why
    assert "is a directory" in mount(puppet, "umfuseext2", place.content, place.point)
    assert "which program" in mount(puppet, "umfuse", place.content, place.point)
    assert "no such option: nonsense" in mount(puppet, "umfuseram", "none", place.point, "nonsense")


def test_a_missing_program_is_named_with_its_package(stage: Stage, place: Place):
    (place.path / "image").write_bytes(bytes(4096))
    place.own()
    puppet = stage.run("-p", "umfuse")
    why = mount(puppet, "umfuse", place.path / "image", place.point, "prog=exfat-fuse-none")
    assert "there is no program exfat-fuse-none" in why
    if not any(os.access(f"{d}/bindfs", os.X_OK) for d in ("/usr/bin", "/bin")):
        why = mount(puppet, "umfuse", place.content, place.point, "prog=bindfs")
        assert "it is in Debian's package bindfs" in why


@pytest.mark.parametrize("type", [*TYPES, "umfusessh"])
def test_each_missing_program_is_named_with_its_package(stage: Stage, place: Place, type: str):
    program = TYPES.get(type, "sshfs")
    if any(os.access(f"/{d}/{program}", os.X_OK) for d in ("sbin", "usr/sbin")):
        pytest.skip(f"{program} is where administrators' programs are, which are found always")
    (place.path / "image").write_bytes(bytes(4096))
    place.own()
    before = stage.user.viewos_run
    stage.user.viewos_run = ["env", "PATH=/nonexistent", *before]
    try:
        puppet = stage.run("-p", "umfuse")
    finally:
        stage.user.viewos_run = before
    source = "there:" if type == "umfusessh" else place.path / "image"
    why = mount(puppet, type, source, place.point, "")
    if type == "umfusefat":  # looked at before
        assert "is no image that fusefat can read" in why
        return
    assert f"there is no program {program}; it is in Debian's package {program}\n" in why
    words = f"{bytes(place.path / 'image')!r}, {bytes(place.point)!r}, {type.encode()!r}, 0, None"
    assert puppet.ask(f"call('mount', {words})") == -errno.ENOPKG


def test_an_image_that_is_written_is_not_mounted_twice(stage: Stage, place: Place):
    need("mke2fs", "fuse2fs")
    place.make("mke2fs", "-q", "-t", "ext2", "image", "4M")
    other = place.path / "other"
    other.mkdir()
    place.own()
    image = place.path / "image"
    puppet, apart = stage.run("-p", "umfuse"), stage.run("-p", "umfuse")

    # Two views: a command must say which it means, and mount(2) knows.
    def call(who: Puppet, point: Path, options: bytes) -> object:
        words = f"{bytes(image)!r}, {bytes(point)!r}, b'umfuseext2', 0, {options!r}"
        return who.ask(f"call('mount', {words})")

    assert call(puppet, place.point, b"rw+") == 0
    assert call(puppet, other, b"ro") == -errno.EBUSY
    assert call(apart, place.point, b"rw+") == -errno.EBUSY
    umount(puppet, place.point)
    assert call(puppet, place.point, b"ro") == 0
    assert call(apart, place.point, b"ro") == 0
    assert call(puppet, other, b"rw+") == -errno.EBUSY
    umount(puppet, place.point)
    umount(apart, place.point)


def test_an_image_that_may_not_be_written_is_not_mounted_rw(puppet: Puppet, place: Place):
    need("mke2fs", "fuse2fs", "mksquashfs")
    if place.stage.user.uid:
        place.make("mke2fs", "-q", "-t", "ext2", "image", "4M")
        (place.path / "image").chmod(0o444)
        assert "Permission denied" in mount(
            puppet, "umfuseext2", place.path / "image", place.point, "rw"
        )
    place.make("mksquashfs", "content", "squash", "-quiet", "-no-progress")
    assert "can only read" in mount(
        puppet, "umfusesquashfs", place.path / "squash", place.point, "rw"
    )


def test_a_program_that_does_not_mount_ends_with_what_it_said(puppet: Puppet, place: Place):
    script = place.path / "prog"
    script.write_text("#!/bin/sh\necho I will not >&2\nexit 3\n")
    script.chmod(0o755)
    place.own()
    why = mount(puppet, "umfuse", "none", place.point, f"prog={script}")
    assert "it has ended with status 3; I will not" in why


def test_a_killed_mounter_leaves_a_program_that_never_mounts_to_its_end(stage, place: Place):
    """The view ends although a program hangs that should have mounted."""
    script = place.path / "prog"
    started = place.path / "started"
    script.write_text(f"#!/bin/sh\necho $$ > {started}\nexec sleep 600\n")
    script.chmod(0o755)
    place.own()
    puppet = stage.run("-p", "umfuse")
    options = f"prog={script}".encode()
    puppet.ask(
        f"threading.Thread(target=call, daemon=True, args=('mount', b'none', "
        f"{bytes(place.point)!r}, b'umfuse', 0, {options!r})).start()"
    )
    until(lambda: started.exists() and started.read_text().strip(), "the program to start")
    puppet.close()
    stage.keepers[-1].wait()
    pid = int(started.read_text())
    until(lambda: _ended(pid), "the end of the program")


def test_a_program_that_uses_the_mount_is_killed_while_its_server_hangs(stage, place: Place):
    need("mke2fs", "fuse2fs")
    place.make("mke2fs", "-q", "-t", "ext2", "-d", "content", "image", "8M")
    puppet = stage.run("-p", "umfuse")
    assert mount(puppet, "umfuseext2", place.path / "image", place.point) == ""
    server = server_of("fuse2fs", place.path / "image")
    os.kill(server, 19)
    # A thread that has taken a request before it stops keeps who asked, SIGKILL or not.
    until(lambda: {_state(one) for one in Path(f"/proc/{server}/task").iterdir()} == {"T"}, "it")
    try:
        child = puppet.ask(f"spawn('ls', '-l', {str(place.point)!r})")
        until(lambda: words_of(Path(f"/proc/{child}"))[0] == b"ls", "ls to run")
        puppet.ask(f"os.kill({child}, 9)")
        assert puppet.ask("wait()") == -9
        assert puppet.ask("1 + 1") == 2
    finally:
        os.kill(server, 18)
    umount(puppet, place.point)


def _state(process: Path) -> str:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _ended(pid: int) -> bool:
    return _state(Path(f"/proc/{pid}")) in ("", "Z", "X")
