"""A file tree of an ordinary user, in a user namespace of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.root  # to become another user, and to give it a /dev/fuse

ROOT = Path(__file__).parents[2]

# A /dev/fuse that everybody may open, as most machines have it, in a mount namespace of its own.
OPEN_TO_ALL = """
mount -t tmpfs node "$1" && mknod "$1/fuse" c 10 229 && chmod 666 "$1/fuse" &&
mount --bind "$1/fuse" /dev/fuse || exit 77
shift
exec "$@"
"""

SCRIPT = """
import os, sys
sys.path[:0] = sys.argv[1:]
from viewosd.testing.memory_tree import MemoryTree
from viewosd.testing.mounted import mounted

class Mine(MemoryTree):
    def __init__(self):
        super().__init__()
        self.nodes[1].attr.uid, self.nodes[1].attr.gid = os.getuid(), os.getgid()

with mounted(Mine) as mount:
    path = mount.root / "file"
    path.write_text("mine")
    print(path.read_text(), path.stat().st_uid, os.getuid())
    path.rename(mount.root / "other")
    print(os.listdir(mount.root), repr(mount.log()))
    try:
        os.mknod(mount.root / "device", 0o020600, os.makedev(1, 3))
    except PermissionError:
        print("no devices")
"""


def test_an_ordinary_user_serves_a_tree_in_its_own_namespace(nobody, scratch, tmp_path):
    copied = scratch / "packages"
    places = [copied] if copied.exists() else [ROOT]
    user = [
        *nobody.prefix,
        "unshare",
        "-m",
        f"--map-user={nobody.uid}",
        f"--map-group={nobody.uid}",
    ]
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", OPEN_TO_ALL, "sh", str(tmp_path),
         *user, "--keep-caps", *nobody.python, "-c", SCRIPT, *map(str, places)],
        capture_output=True, text=True, env=nobody.environment,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(f"no /dev/fuse can be given to another user here: {done.stderr}")
    assert done.stdout.splitlines() == [
        f"mine {nobody.uid} {nobody.uid}",
        "['other'] ''",
        "no devices",
    ], done.stderr
