"""The ways to a mount: each command and spelling, each option, and images on other mounts of the view."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from helpers.commands import command
from helpers.puppets import Puppet, Stage

from .conftest import Place, look, mount, mounts, need, server_of, umount, words_of

KINDS = {
    "umfuseext2": ("mke2fs", "fuse2fs"),
    "umfusefat": ("mkfs.vfat", "fusefat"),
    "umfuseiso9660": ("genisoimage", "fuseiso"),
    "umfusesquashfs": ("mksquashfs", "squashfuse"),
    "umfusentfs": ("mkntfs", "ntfs-3g"),
    "umfusearchive": ("tar", "archivemount"),
}
MAKE = {
    "umfuseext2": "mke2fs -q -t ext4 -d content image 8M",
    "umfusefat": "mkfs.vfat -C image 8192 && mcopy -s -i image content/text ::/",
    "umfuseiso9660": "genisoimage -quiet -R -o image content",
    "umfusesquashfs": "mksquashfs content image -quiet -no-progress",
    "umfusentfs": "head -c 8388608 /dev/zero > image && mkntfs -F -Q -q image && ntfscp image content/text text",
    "umfusearchive": "tar -cf image -C content .",
}  # fmt: skip


def made(place: Place, type: str) -> Path:
    need(*KINDS[type], *(("mcopy",) if type == "umfusefat" else ()))
    place.make("sh", "-c", MAKE[type])
    return place.path / "image"


@pytest.mark.parametrize("type", KINDS)
def test_each_type_is_mounted_by_every_command(stage: Stage, place: Place, type: str):
    image, point = made(place, type), str(place.point)
    words = [*stage.user.prefix, *stage.user.viewos_run, "--no-rc"]
    words += ["--mount", type, str(image), point, "--", "cat", f"{point}/text"]
    done = subprocess.run(words, env=stage.user.environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "text\n", "")
    assert os.listdir(point) == []
    puppet = stage.run("-p", "umfuse")
    ways = [command("viewmount", "-t", type, str(image), point)]
    if stage.user.uid == 0:
        ways.append(["mount", "-i", "-t", type, str(image), point])
    for words in ways:
        assert puppet.ask(f"run(*{words!r})") == (0, "", "")
        assert puppet.ask(f"open({point + '/text'!r}).read()") == "text\n"
        umount(puppet, place.point)
    assert not [one for one in mounts(puppet) if one.startswith("fuse")]


def test_an_alias_is_a_type(puppet: Puppet, place: Place):
    image = made(place, "umfuseext2")
    words = command("um_fsalias", "ext4", "umfuseext2")
    assert puppet.ask(f"run(*{words!r})") == (0, "", "")
    call = f"call('mount', {bytes(image)!r}, {bytes(place.point)!r}, b'ext4', 0, None)"
    assert puppet.ask(call) == 0
    assert puppet.ask(f"open({str(place.point / 'text')!r}).read()") == "text\n"
    umount(puppet, place.point)


def test_any_program_is_served_by_its_own_command_line(puppet: Puppet, place: Place):
    """nosource, pre=, post=, format= and showcall, with a program that tells what it was given."""
    image = made(place, "umfusesquashfs")
    script = place.path / "prog"
    script.write_text(f'#!/bin/sh\necho "got: $*"\nexec squashfuse -f {image} "$4"\n')
    script.chmod(0o755)
    place.own()
    options = f"prog={script},pre=one two,post=last,format=-x %M %O,showcall,some=thing,nosource"
    assert mount(puppet, "umfuse", "none", place.point, options) == ""
    log = place.stage.log()
    line = f"one two -x {place.point} -f -o some=thing last"
    assert f"got: {line}" in log
    assert f"{script} 'one two'" not in log
    assert f"umfuse on {place.point}: {script} {line}" in log
    assert look(puppet, place.point) == place.natively()
    umount(puppet, place.point)


def test_a_program_that_goes_into_the_background_is_found_there(puppet, place: Place):
    image = made(place, "umfusesquashfs")
    options = "prog=squashfuse,format=%S %M"  # without -f
    assert mount(puppet, "umfuse", image, place.point, options) == ""
    assert look(puppet, place.point) == place.natively()
    server = server_of("squashfuse", image)
    umount(puppet, place.point)
    assert words_of(Path(f"/proc/{server}")) == [b""]


def test_files_are_whose_fuseuid_says(puppet: Puppet, place: Place):
    image, uid = made(place, "umfuseext2"), place.stage.user.uid
    if uid:
        subprocess.run(["debugfs", "-w", "-R", "sif text uid 7", image], capture_output=True)
    assert (
        mount(puppet, "umfuseext2", image, place.point, f"fuseuid={uid},fusegid={uid},human") == ""
    )
    told = puppet.ask(f"os.stat({str(place.point / 'text')!r})[4:6]")
    assert told == (uid, uid)
    words = words_of(Path(f"/proc/{server_of('fuse2fs', image)}"))
    assert b"default_permissions" in words[words.index(b"-o") + 1]
    umount(puppet, place.point)


def test_debug_is_what_the_program_tells_in_the_log(puppet: Puppet, place: Place):
    image = made(place, "umfusesquashfs")
    assert mount(puppet, "umfusesquashfs", image, place.point, "debug") == ""
    puppet.ask(f"os.listdir({str(place.point)!r})")
    umount(puppet, place.point)
    assert "LOOKUP" in place.stage.log() or "OPENDIR" in place.stage.log()


def test_an_image_may_lie_on_what_other_services_show(stage: Stage, place: Place):
    """On a copy-on-write directory, a moved one, and a hidden one's neighbour, and be written there."""
    image = made(place, "umfuseext2")
    for name in ("cow", "moved", "hidden"):
        (place.path / name).mkdir()
    os.rename(image, place.path / "cow" / "image")
    place.own()
    image = place.path / "cow" / "image"
    before = image.read_bytes()
    home = {"XDG_DATA_HOME": str(place.path)}  # where layers are kept
    puppet = stage.run("-p", "viewfs", "-p", "umfuse", env=home)
    assert mount(puppet, "viewfs", "none", place.path / "cow", "cow") == ""
    assert mount(puppet, "viewfs", place.path / "cow", place.path / "moved", "move") == ""
    assert mount(puppet, "viewfs", "none", place.path / "hidden", "hide") == ""
    lies = str(place.path / "moved" / "image")
    assert mount(puppet, "umfuseext2", lies, place.point, "rw") == ""
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    umount(puppet, place.point)
    assert mount(puppet, "umfuseext2", lies, place.point) == ""
    assert puppet.ask(f"open({str(place.point / 'new')!r}).read()") == "new"
    umount(puppet, place.point)
    assert image.read_bytes() == before
    hidden = place.path / "hidden" / "image"
    assert "No such file" in mount(puppet, "umfuseext2", hidden, place.point)


@pytest.mark.parametrize("program", ["fuse2fs", "squashfuse", "fuseiso", "ntfs-3g", "archivemount"])
def test_programs_typed_by_hand_mount_and_go(puppet: Puppet, place: Place, program: str):
    """Of libfuse 2 and 3, and one with its own; each by fusermount3 and by umount(8)."""
    (type,) = (type for type, (_, serves) in KINDS.items() if serves == program)
    image, point = str(made(place, type)), str(place.point)
    need("fusermount3")
    # Left alone fuseiso keeps a list in the home directory.
    first = {"fuse2fs": ["-o", "ro"], "fuseiso": ["-n"]}.get(program, [])
    words = [program, *first, image, point]
    for umounting in (["fusermount3", "-u", point], ["umount", point]):
        assert puppet.ask(f"run(*{words!r})[0]") == 0
        assert puppet.ask(f"open({point + '/text'!r}).read()") == "text\n"
        assert puppet.ask(f"run(*{umounting!r})") == (0, "", "")
        assert puppet.ask(f"os.listdir({point!r})") == []
