"""Images that are half there, go away, can't be read or lie on a full disk; servers that die at work."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from helpers.commands import command
from helpers.puppets import Puppet
from helpers.waiting import until

from .conftest import Place, look, mount, mounts, need, server_of, umount
from .test_images import clean

WRITE = """
import errno, sys
try:
    with open(sys.argv[1], "wb", 0) as file:
        for number in range(4096):
            file.write(bytes(4096))
            if number == 3:
                print("begun", flush=True)
except OSError as error:
    sys.exit(error.errno)
"""


@pytest.fixture
def ext4(place: Place) -> Path:
    need("mke2fs", "e2fsck", "fuse2fs")
    place.make("mke2fs", "-q", "-t", "ext4", "-d", "content", "ext4", "8M")
    return place.path / "ext4"


def served(puppet: Puppet) -> list[str]:
    return [one for one in mounts(puppet) if one.startswith("fuse")]


@pytest.mark.parametrize("options", ["", "rw"])
def test_an_image_whose_root_is_cut_off_is_refused(puppet: Puppet, place, ext4: Path, options: str):
    os.truncate(ext4, 4096)
    why = mount(puppet, "umfuseext2", ext4, place.point, options)
    assert "fuse2fs: it" in why, why
    assert ("root directory can't be read" in why) == (not options)
    assert not served(puppet)


def test_half_an_archive_has_its_names_and_eio(puppet: Puppet, place: Place):
    pytest.importorskip("ratarmountcore")
    place.make("tar", "-cf", "half.tar", "-C", "content", "text", "large")
    os.truncate(place.path / "half.tar", 100_000)
    assert mount(puppet, "umfusearchive", place.path / "half.tar", place.point) == ""
    assert puppet.ask(f"open({str(place.point / 'text')!r}).read()") == "text\n"
    assert "Errno 5" in puppet.ask(f"open({str(place.point / 'large')!r}, 'rb').read()")
    umount(puppet, place.point)


def test_an_image_that_is_deleted_while_it_is_mounted_is_there_to_the_end(puppet, place, ext4):
    assert mount(puppet, "umfuseext2", ext4, place.point, "rw") == ""
    shutil.copy(ext4, place.path / "before")
    ext4.unlink()
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    found = look(puppet, place.point)
    found.pop("lost+found")
    assert found.keys() == {*place.natively(), "new"}
    umount(puppet, place.point)
    assert not served(puppet)
    assert not ext4.exists()


def test_an_image_that_may_not_be_read_is_refused(puppet: Puppet, place: Place, ext4: Path):
    if not place.stage.user.uid:
        pytest.skip("root may")
    ext4.chmod(0)
    words = f"{bytes(ext4)!r}, {bytes(place.point)!r}, b'umfuseext2', 0, None"
    assert puppet.ask(f"call('mount', {words})") == -errno.EACCES


@pytest.mark.parametrize(
    ("type", "image"), [("umfuseext2", "mke2fs"), ("umfusesquashfs", "mksquashfs")]
)
def test_an_unknown_option_is_refused_in_the_programs_words(puppet, place, type: str, image: str):
    if image == "mke2fs":
        need("mke2fs", "fuse2fs")
        place.make("mke2fs", "-q", "-t", "ext4", "image", "4M")
    else:
        need("mksquashfs", "squashfuse")
        place.make("mksquashfs", "content", "image", "-quiet", "-no-progress")
    why = mount(puppet, type, place.path / "image", place.point, "no_such_option")
    assert "no_such_option" in why, why
    assert not served(puppet)


def test_viewmount_says_what_the_program_said(puppet: Puppet, place: Place):
    need("squashfuse")
    (place.path / "image").write_bytes(bytes(5000))
    place.own()
    image, point = str(place.path / "image"), str(place.point)
    words = command("viewmount", "-t", "umfusesquashfs", image, point)
    status, out, err = puppet.ask(f"run(*{words!r})")
    assert (status, out) == (32, "")
    assert err.startswith(f"viewmount: {point}: squashfuse: it has ended with status "), err
    assert "squashfs image" in err


def test_a_mountpoint_that_is_missing_is_made_and_goes_again(puppet, place: Place, ext4: Path):
    missing = place.path / "missing"
    assert mount(puppet, "umfuseext2", ext4, missing) == ""
    assert puppet.ask(f"open({str(missing / 'text')!r}).read()") == "text\n"
    umount(puppet, missing)
    assert not missing.exists()
    assert "No such file" in mount(puppet, "umfuseext2", ext4, missing / "below")
    (place.path / "none").touch()
    place.own()
    assert "fuse2fs" in mount(puppet, "umfuseext2", place.path / "none", missing)
    assert not missing.exists()


def test_a_file_is_no_mountpoint_of_an_image(puppet: Puppet, place: Place, ext4: Path):
    (place.path / "file").touch()
    place.own()
    words = f"{bytes(ext4)!r}, {bytes(place.path / 'file')!r}, b'umfuseext2', 0, None"
    assert puppet.ask(f"call('mount', {words})") == -errno.ENOTDIR
    assert not served(puppet)


def test_who_has_mounted_may_go(puppet: Puppet, place: Place, ext4: Path):
    words = command("viewmount", "-t", "umfuseext2", "-o", "rw", str(ext4), str(place.point))
    assert puppet.ask(f"run(*{words!r})") == (0, "", "")
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    umount(puppet, place.point)
    assert clean(ext4)


def test_a_writer_hears_of_its_servers_death(puppet: Puppet, place: Place, ext4: Path):
    assert mount(puppet, "umfuseext2", ext4, place.point, "rw") == ""
    words = ["python3", "-c", WRITE, str(place.point / "large")]
    puppet.ask(f"children.append(subprocess.Popen({words!r}, stdout=subprocess.PIPE, text=True))")
    assert puppet.ask("children[-1].stdout.readline()") == "begun\n"
    os.kill(server_of("fuse2fs", ext4), 9)
    # It may have come to the image's end before.
    assert puppet.ask("wait()") in (errno.ENOTCONN, errno.ECONNABORTED, errno.ENOSPC, errno.EIO)
    log = place.stage.log
    until(lambda: "fuse2fs has ended with signal 9" in log(), "the log to say it")
    umount(puppet, place.point)
    assert not served(puppet)


def test_a_full_disk_below_an_image_is_an_error_and_an_end(puppet: Puppet, place: Place, ext4):
    """The image is sparse, and lies in a tmpfs of the view that can't hold it."""
    small = place.path / "small"
    small.mkdir()
    place.own()
    assert mount(puppet, "tmpfs", "none", small, "size=1M") == ""
    copied = str(small / "image")
    assert puppet.ask(f"run('cp', '--sparse=always', {str(ext4)!r}, {copied!r})[0]") == 0
    assert mount(puppet, "umfuseext2", copied, place.point, "rw") == ""
    status = puppet.ask(f"run('python3', '-c', {WRITE!r}, {str(place.point / 'large')!r})[0]")
    assert status in (errno.EIO, errno.ENOSPC), status
    assert "large" in puppet.ask(f"os.listdir({str(place.point)!r})")
    umount(puppet, place.point)
    assert not served(puppet)
    umount(puppet, small)
