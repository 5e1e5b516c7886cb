"""Images made by the real tools, mounted in real views, compared and checked by the real tools."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from helpers.puppets import Puppet, Stage
from helpers.waiting import until

from .conftest import Place, look, mount, mounts, need, server_of, umount


def clean(image: Path) -> bool:
    """Does e2fsck find nothing to do?"""
    return subprocess.run(["e2fsck", "-fn", image], capture_output=True).returncode == 0


@pytest.fixture
def ext4(place: Place) -> Path:
    need("mke2fs", "e2fsck", "fuse2fs")
    place.make("mke2fs", "-q", "-t", "ext4", "-d", "content", "ext4", "8M")
    return place.path / "ext4"


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_an_ext_image_looks_as_what_it_was_made_of(puppet: Puppet, place: Place, kind: str):
    need("mke2fs", "fuse2fs")
    place.make("mke2fs", "-q", "-t", kind, "-d", "content", "image", "8M")
    assert mount(puppet, "umfuseext2", place.path / "image", place.point) == ""
    found = look(puppet, place.point)
    found.pop("lost+found", None)
    assert found == place.natively()
    assert puppet.ask(f"call('mkdir', {bytes(place.point / 'x')!r}, 0o755)") == -errno.EROFS
    umount(puppet, place.point)
    assert puppet.ask(f"os.listdir({str(place.point)!r})") == []


def test_a_squashfs_image_looks_as_what_it_was_made_of(puppet: Puppet, place: Place):
    need("mksquashfs", "squashfuse")
    place.make("mksquashfs", "content", "image", "-quiet", "-no-progress")
    assert mount(puppet, "umfusesquashfs", place.path / "image", place.point) == ""
    assert look(puppet, place.point) == place.natively()
    umount(puppet, place.point)


def test_an_iso_image_has_the_content(puppet: Puppet, place: Place):
    need("genisoimage", "fuseiso")
    place.make("genisoimage", "-quiet", "-R", "-o", "image", "content")
    assert mount(puppet, "umfuseiso9660", place.path / "image", place.point) == ""
    found = {name: entry[1:] for name, entry in look(puppet, place.point).items()}
    assert found == {name: entry[1:] for name, entry in place.natively().items()}
    umount(puppet, place.point)


@pytest.mark.parametrize(("bits", "blocks"), [("12", "4096"), ("16", "16384"), ("32", "40000")])
def test_a_fat_image_is_read_and_written(puppet: Puppet, place: Place, bits: str, blocks: str):
    need("mkfs.vfat", "mcopy", "fusefat", "fsck.vfat")
    place.make("mkfs.vfat", "-F", bits, "-C", "image", blocks)
    place.make("mcopy", "-i", "image", "content/text", "content/large", "::/")
    assert mount(puppet, "umfusefat", place.path / "image", place.point, "rw") == ""
    large = (place.content / "large").read_bytes()
    assert puppet.ask(f"open({str(place.point / 'large')!r}, 'rb').read()") == large
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    umount(puppet, place.point)
    assert subprocess.run(["fsck.vfat", "-n", place.path / "image"]).returncode == 0
    assert mount(puppet, "umfusefat", place.path / "image", place.point) == ""
    assert puppet.ask(f"open({str(place.point / 'new')!r}).read()") == "new"
    umount(puppet, place.point)
    if bits != "16":  # there fusefat leaves a first byte that mtools does not like, and fsck does
        done = subprocess.check_output(["mtype", "-i", place.path / "image", "::/new"])
        assert done == b"new"


def test_an_ntfs_image_is_read_and_written(puppet: Puppet, place: Place):
    need("mkntfs", "ntfs-3g", "ntfscat")
    (place.path / "image").write_bytes(bytes(8 << 20))
    place.make("mkntfs", "-F", "-Q", "-q", "image")
    assert mount(puppet, "umfusentfs", place.path / "image", place.point, "rw") == ""
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    umount(puppet, place.point)
    assert subprocess.check_output(["ntfscat", place.path / "image", "new"]) == b"new"


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_an_archive_looks_as_what_it_was_made_of(puppet: Puppet, place: Place, kind: str):
    pytest.importorskip("ratarmountcore")
    archive = place.path / f"archive.{kind}"
    if kind == "zip":
        need("zip")
        subprocess.run(["zip", "-qry", archive, "."], cwd=place.content, check=True)
    else:
        place.make("tar", "-caf", archive.name, "-C", "content", ".")
    place.own()
    assert mount(puppet, "umfusearchive", archive, place.point) == ""
    found = look(puppet, place.point)
    if kind == "zip":  # it has times of its own
        assert [e[:2] for e in found.values()] == [found[n][:2] for n in found]
        assert {n: e[1] for n, e in found.items()} == {n: e[1] for n, e in place.natively().items()}
    else:
        assert found == place.natively()
    umount(puppet, place.point)


def test_what_is_written_to_an_ext4_image_is_there_when_umount_returns(
    puppet: Puppet, place: Place, ext4: Path
):
    data = os.urandom(1_000_000)
    (place.path / "data").write_bytes(data)
    place.own()
    assert mount(puppet, "umfuseext2", ext4, place.point, "rw") == ""
    copied = str(place.point / "copied")
    puppet.ask(f"run('cp', {str(place.path / 'data')!r}, {copied!r})")
    assert puppet.ask(f"os.mkdir({str(place.point / 'new')!r})") is None
    umount(puppet, place.point)
    assert clean(ext4)
    assert subprocess.check_output(["debugfs", "-R", "cat copied", ext4]) == data


def test_an_ext4_image_is_clean_after_a_view_that_ended_with_it_mounted(
    stage: Stage, place: Place, ext4: Path
):
    puppet = stage.run("-p", "umfuse")
    assert mount(puppet, "umfuseext2", ext4, place.point, "rw") == ""
    assert puppet.ask(f"open({str(place.point / 'late')!r}, 'w').write('late')") == 4
    puppet.close()
    assert stage.keepers[-1].wait() == 0
    assert clean(ext4)
    assert subprocess.check_output(["debugfs", "-R", "cat late", ext4]) == b"late"


def test_an_image_in_an_image_in_an_archive(puppet: Puppet, place: Place):
    pytest.importorskip("ratarmountcore")
    need("mksquashfs", "squashfuse", "mke2fs", "fuse2fs")
    place.make("mksquashfs", "content", "inner", "-quiet", "-no-progress")
    (place.path / "middle").mkdir()
    (place.path / "inner").rename(place.path / "middle" / "inner")
    place.make("mke2fs", "-q", "-t", "ext2", "-d", "middle", "outer", "8M")
    place.make("tar", "-cf", "all.tar", "outer")
    points = [place.path / f"point{n}" for n in range(3)]
    for point in points:
        point.mkdir()
    place.own()
    assert mount(puppet, "umfusearchive", place.path / "all.tar", points[0]) == ""
    assert mount(puppet, "umfuseext2", points[0] / "outer", points[1]) == ""
    assert mount(puppet, "umfusesquashfs", points[1] / "inner", points[2]) == ""
    assert look(puppet, points[2]) == place.natively()
    for point in reversed(points):
        umount(puppet, point)


def test_a_mount_of_its_own_does_not_keep_another_ones_image(puppet: Puppet, place: Place, ext4):
    """Each program has a copy of the mounts that were there before it."""
    need("mksquashfs", "squashfuse")
    place.make("mksquashfs", "content", "image", "-quiet", "-no-progress")
    other = place.path / "other"
    other.mkdir()
    place.own()
    assert mount(puppet, "umfuseext2", ext4, place.point, "rw") == ""
    assert mount(puppet, "umfusesquashfs", place.path / "image", other) == ""
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    umount(puppet, place.point)
    assert clean(ext4)
    assert subprocess.check_output(["debugfs", "-R", "cat new", ext4]) == b"new"
    umount(puppet, other)


def test_a_branch_uses_the_mount_on_when_its_parent_has_unmounted(stage: Stage, place, ext4: Path):
    outer = stage.run("-p", "umfuse")
    assert mount(outer, "umfuseext2", ext4, place.point, "rw") == ""
    inner = outer.branch()
    umount(outer, place.point)
    assert inner.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    inner.close()  # an ordinary user's branch can't unmount what it began with
    until(lambda: clean(ext4), "the program to write back")
    assert subprocess.check_output(["debugfs", "-R", "cat new", ext4]) == b"new"


def test_a_successor_waits_for_the_program_as_well(stage: Stage, place: Place, ext4: Path):
    puppet = stage.run("-p", "umfuse")
    assert mount(puppet, "umfuseext2", ext4, place.point, "rw") == ""
    stage.kill_supervisor()
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    umount(puppet, place.point)
    assert clean(ext4)
    assert subprocess.check_output(["debugfs", "-R", "cat new", ext4]) == b"new"


def test_fuse_programs_are_typed_by_hand_as_ever(puppet: Puppet, place: Place, ext4: Path):
    point = str(place.point)
    assert puppet.ask(f"run('fuse2fs', '-o', 'ro', {str(ext4)!r}, {point!r})[0]") == 0
    assert "text" in puppet.ask(f"os.listdir({point!r})")
    need("fusermount3")
    assert puppet.ask(f"run('fusermount3', '-u', {point!r})") == (0, "", "")
    assert puppet.ask(f"run('fuse2fs', '-o', 'ro', {str(ext4)!r}, {point!r})[0]") == 0
    assert puppet.ask(f"run('umount', {point!r})[0]") == 0
    assert "fuse.ext4" not in mounts(puppet)


@pytest.mark.parametrize("word", ["rw+", "rw"])
def test_mount_2_itself_makes_it_too(puppet: Puppet, place: Place, ext4: Path, word: str):
    words = f"{bytes(ext4)!r}, {bytes(place.point)!r}, b'umfuseext2', 0, {word.encode()!r}"
    assert puppet.ask(f"call('mount', {words})") == 0
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    umount(puppet, place.point)
    assert clean(ext4)


def test_a_program_that_is_killed_is_told_of_and_can_be_unmounted(stage, place, ext4: Path):
    puppet = stage.run("-p", "umfuse")
    assert mount(puppet, "umfuseext2", ext4, place.point) == ""
    os.kill(server_of("fuse2fs", ext4), 9)
    listed = f"os.listdir({str(place.point)!r})"
    until(lambda: "not connected" in str(puppet.ask(listed)), "the end of the server")
    until(lambda: "fuse2fs has ended with signal 9" in stage.log(), "the log to say it")
    umount(puppet, place.point)
    assert puppet.ask(listed) == []
    assert mount(puppet, "umfuseext2", ext4, place.point) == ""
    umount(puppet, place.point)
