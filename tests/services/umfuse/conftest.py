"""Real views with umfuse, of root and of an ordinary user, and a place with things to be mounted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import command
from helpers.puppets import Puppet, Stage, staged

# A node of our own where root alone may open the machine's, in a namespace of the test's own.
NODE = """
mount -t tmpfs none "$1" && mknod "$1/fuse" c 10 229 && chmod 666 "$1/fuse" &&
mount --bind "$1/fuse" /dev/fuse && shift && exec "$@"
"""
# What a tree looks like to who uses it.
LOOK = """
import hashlib, json, os, sys
found = {}
for top, names, files in os.walk(sys.argv[1]):
    for name in names + files:
        path = os.path.join(top, name)
        status = os.lstat(path)
        if os.path.islink(path):
            content = os.readlink(path)
        elif os.path.isdir(path):
            content = ""
        else:
            content = hashlib.sha256(open(path, "rb").read()).hexdigest()
        found[os.path.relpath(path, sys.argv[1])] = [oct(status.st_mode), content, int(status.st_mtime)]
print(json.dumps(found))
"""
Listing = dict[str, list[Any]]


class Place:
    """A user's directory.

    Attributes:
        content: a tree to be packed.
        point: an empty directory to mount on.
    """

    def __init__(self, stage: Stage, path: Path) -> None:
        self.stage, self.path = stage, path
        self.content, self.point = path / "content", path / "point"
        (self.content / "sub" / "deep").mkdir(parents=True)
        self.point.mkdir()
        (self.content / "text").write_text("text\n")
        (self.content / "empty").touch()
        (self.content / "large").write_bytes(os.urandom(300_001))
        (self.content / "sub" / "script").write_text("#!/bin/sh\n")
        (self.content / "sub" / "script").chmod(0o755)
        (self.content / "sub" / "secret").write_text("secret\n")
        (self.content / "sub" / "secret").chmod(0o600)
        (self.content / "sub" / "link").symlink_to("../text")
        for number, one in enumerate(sorted(self.content.rglob("*"))):
            os.utime(one, (1_600_000_000 + number * 2,) * 2, follow_symlinks=False)
        self.own()

    def own(self) -> None:
        """Give all of it to the user."""
        if os.geteuid() == 0:
            for one in (self.path, *self.path.rglob("*")):
                os.chown(one, self.stage.user.uid, self.stage.user.uid, follow_symlinks=False)

    def make(self, *words: str) -> None:
        """Run a tool in it."""
        done = subprocess.run(words, cwd=self.path, capture_output=True)
        assert done.returncode == 0, done
        self.own()

    def natively(self) -> Listing:
        """The content, as `look` tells it."""
        words = [sys.executable, "-c", LOOK, str(self.content)]
        found: Listing = json.loads(subprocess.check_output(words))
        return found


def need(*programs: str) -> None:
    """Skip a test whose programs are not installed, by their names."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def server_of(program: str, image: Path) -> int:
    """The process id of the program that serves an image."""

    def serves(process: Path) -> bool:
        words = words_of(process)
        return words[0].endswith(os.fsencode(program)) and bytes(image) in words

    (found,) = (int(one.name) for one in Path("/proc").glob("[0-9]*") if serves(one))
    return found


def words_of(process: Path) -> list[bytes]:
    """Its command line; one empty word of one that is gone."""
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def look(puppet: Puppet, path: Path) -> Listing:
    """What a tree looks like in a view."""
    status, out, err = puppet.ask(f"run({sys.executable!r}, '-c', {LOOK!r}, {str(path)!r})")
    assert status == 0, err
    found: Listing = json.loads(out)
    return found


def mount(puppet: Puppet, type: str, source: object, target: object, options: str = "") -> str:
    """Mount; why not, or ""."""
    words = ["viewos", "mount", "-t", type, *(["-o", options] if options else [])]
    _, _, err = puppet.ask(f"run(*{command(*words, str(source), str(target))!r})")
    return str(err)


def umount(puppet: Puppet, target: object) -> None:
    """umount2(2)."""
    assert puppet.ask(f"call('umount2', {os.fsencode(str(target))!r}, 0)") == 0


def mounts(puppet: Puppet) -> list[str]:
    """The types that are mounted in the view."""
    lines = puppet.ask("open('/proc/self/mounts').read()").splitlines()
    return [line.split()[2] for line in lines]


@pytest.fixture(params=["me", "nobody"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """Views of whoever runs the tests, and as root of an ordinary user as well."""
    user = request.getfixturevalue(request.param)
    if user.prefix and user.python != [sys.executable]:
        pytest.skip("another user can't execute the tests' interpreter where it lies")
    if os.geteuid() == 0:
        node = Path(tempfile.mkdtemp(dir="/tmp", prefix="viewos-test-"))
        words = ["unshare", "-m", "--propagation", "private"]
        if subprocess.run([*words, "sh", "-c", NODE, "-", str(node), "true"]).returncode:
            node.rmdir()
            pytest.skip("no /dev/fuse can be made here")
        user.prefix = [*words, "sh", "-c", NODE, "-", str(node), *user.prefix]
    elif not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no access to /dev/fuse")
    before = list(user.prefix)
    try:
        for stage in staged(user, tmp_path if request.param == "me" else user.runtime_dir):
            yield stage
            print(stage.log())  # shown where the test has failed
    finally:
        if os.geteuid() == 0:
            node.rmdir()
        user.prefix = before


@pytest.fixture
def place(stage: Stage, scratch: Path) -> Iterator[Place]:
    path = Path(tempfile.mkdtemp(dir=scratch))
    yield Place(stage, path)
    shutil.rmtree(path)


@pytest.fixture
def puppet(stage: Stage) -> Puppet:
    """A program in a view with umfuse."""
    return stage.run("-p", "umfuse")
