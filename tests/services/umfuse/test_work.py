"""Real work in what can be written: a clone, a compilation and its run; then the tools check the image."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from helpers.puppets import Puppet

from .conftest import Place, look, mount, need, umount
from .test_ssh import sftp

COPY = """
set -e
mkdir "$1"/made
cp "$2"/sub/* "$1"/made
cp "$2"/hello.c "$1"
rm "$1"/made/file3
rmdir "$1"/made 2>/dev/null && exit 1
for file in "$1"/made/*; do cmp "$file" "$2"/sub/"${file##*/}"; done
"""
MOVE = """
mv "$1"/hello.c "$1"/made/moved.c
mv "$1"/made/moved.c "$1"/hello.c
"""
CLONE = """
cd "$1"
git clone -q --no-hardlinks "$2" clone
cd clone
git fsck --strict 2>/dev/null
test "$(git log --format=%s)" = first
git status --porcelain | { ! grep .; }
cd ..
"""
COMPILE = """
cd "$1"
gcc -O1 -o hello hello.c
./hello
"""
CAN = {
    "umfuseext2": (COPY, MOVE, CLONE, COMPILE),
    "umfusentfs": (COPY, MOVE, CLONE, COMPILE),
    "umfusessh": (COPY, MOVE, CLONE, COMPILE),
    "umfusearchive": (COPY, COMPILE),  # archivemount forgets that a new file was renamed
    "umfusefat": (COPY, MOVE),  # fusefat has no chmod(2)
}
"""What each program can do outside of a view as well."""
C = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'
IDENTITY = ("-c", "user.name=me", "-c", "user.email=me@there")


@pytest.fixture
def origin(place: Place) -> Path:
    need("git", "gcc")
    place.make("git", "init", "-q", "origin")
    (place.path / "origin" / "hello.c").write_text(C)
    (place.path / "origin" / "sub").mkdir()
    for number in range(20):
        (place.path / "origin" / "sub" / f"file{number}").write_text(f"{number}\n" * number)
    trust = ("-c", f"safe.directory={place.path}/origin")
    place.make("git", *trust, "-C", "origin", "add", ".")
    place.make("git", *trust, *IDENTITY, "-C", "origin", "commit", "-q", "-m", "first")
    return place.path / "origin"


def image_of(type: str, place: Place) -> tuple[str, str, list[str]]:
    """Source, options, and what finds nothing to complain of in the image afterwards."""
    image = place.path / "image"
    if type == "umfuseext2":
        need("mke2fs", "fuse2fs", "e2fsck")
        place.make("mke2fs", "-q", "-t", "ext4", "image", "32M")
        return str(image), "rw", ["e2fsck", "-fn", str(image)]
    if type == "umfusentfs":
        need("mkntfs", "ntfs-3g", "ntfsfix")
        image.write_bytes(bytes(32 << 20))
        place.make("mkntfs", "-F", "-Q", "-q", "image")
        return str(image), "rw", ["ntfsfix", "-n", str(image)]
    if type == "umfusefat":
        need("mkfs.vfat", "fusefat", "fsck.vfat")
        place.make("mkfs.vfat", "-C", "image", "32768")
        return str(image), "rw", ["fsck.vfat", "-n", str(image)]
    if type == "umfusearchive":
        need("archivemount", "tar")
        place.make("tar", "-cf", "image.tar", "-C", "content", "text")
        return f"{image}.tar", "rw", ["tar", "-tf", f"{image}.tar"]
    (place.path / "far").mkdir()
    return f"there:{place.path}/far", sftp(place), ["test", "-f", str(place.path / "far/hello.c")]


@pytest.mark.parametrize("type", CAN)
def test_real_work_is_done_and_kept(puppet: Puppet, place: Place, origin: Path, type: str):
    source, options, check = image_of(type, place)
    place.own()
    assert mount(puppet, type, source, place.point, options) == ""
    words = ["sh", "-c", "".join(CAN[type]), "-", str(place.point), str(origin)]
    said = puppet.ask(f"run(*{words!r})")
    assert said == (0, "hello\n" if COMPILE in CAN[type] else "", "")
    umount(puppet, place.point)
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done
    assert mount(puppet, type, source, place.point, options.replace("rw", "ro")) == ""
    found = look(puppet, place.point / "made")
    assert len(found) == 19
    assert {name: entry[1] for name, entry in found.items()} == {
        one.name: hashlib.sha256(one.read_bytes()).hexdigest()
        for one in (origin / "sub").iterdir()
        if one.name != "file3"
    }
    umount(puppet, place.point)
