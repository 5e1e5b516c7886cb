"""rsync, cp and tar carry a tree of everything into a view and out again, and lose nothing."""

from __future__ import annotations

import os
import shutil
import socket
import struct
from pathlib import Path

import pytest

from helpers.counting import census, unlike
from helpers.grounds import Ground, good

LISTS = "--acls --xattrs --xattrs-include='*'"
COPY = {
    "rsync": 'rsync -aHAXS --numeric-ids "$1/" "$2"',
    "cp": 'cp -a --sparse=auto "$1/." "$2"',
    "tar": f'tar -C "$1" --sparse {LISTS} -cf - . | tar -C "$2" --numeric-owner {LISTS} -xpf -',
}
"""The contents of directory $1 to directory $2."""


def acl(uid: int) -> bytes:
    """user::rw-,user:UID:r--,group::r--,mask::rw-,other::r--: posix_acl_xattr.h."""
    entries = (1, 6, -1), (2, 4, uid), (4, 4, -1), (16, 6, -1), (32, 4, -1)
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def everything(top: Path, uid: int) -> None:
    """A tree with what file systems are full of."""
    (top / "deep/er/and").mkdir(parents=True)
    (top / "deep/er/file").write_text("x" * 100_000)
    (top / "deep/er/and/again").hardlink_to(top / "deep/er/file")
    (top / "linked").hardlink_to(top / "deep/er/file")
    with (top / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(5 << 20)
        file.write(b"middle")
        file.truncate(9 << 20)
    (top / "empty").touch()
    for name in (b"new\nline", b"\xff\xfe", b" blank ", b"-rf", b"*", "žluť".encode(), b"n" * 255):
        with open(os.fsencode(top) + b"/" + name, "wb") as file:
            file.write(name)
    for target in ("deep/er/file", "/nonexistent", "x" * 200, "."):
        (top / f"to {target[:9]}".replace("/", "_")).symlink_to(target)
    os.link(top / "to .", top / "to . again", follow_symlinks=False)
    os.mkfifo(top / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as sock:
        at = os.open(top, os.O_PATH)
        sock.bind(f"/proc/self/fd/{at}/socket")
        os.close(at)
    (top / "closed").mkdir()
    (top / "closed/inner").write_text("x")
    os.setxattr(top / "empty", "user.note", b"\0value")
    os.setxattr(top / "deep", "user.note", b"v" * 500)
    (top / "acl").write_text("x")
    os.setxattr(top / "acl", "system.posix_acl_access", acl(uid or 7))
    os.setxattr(top / "deep/er", "system.posix_acl_default", acl(uid or 7))
    if uid == 0:
        os.chown(top / "empty", 1234, 5678)
        os.chown(top / "to .", 1, 2, follow_symlinks=False)
        os.mknod(top / "device", 0o020620, os.makedev(1, 3))
        os.setxattr(top / "linked", "trusted.note", b"t")
        os.setxattr(top / "deep", "trusted.note", b"t")
        os.setxattr(
            top / "acl", "security.capability", bytes.fromhex("0100000200200000" + "00" * 12)
        )
    for path in sorted(top.rglob("*"), reverse=True):
        if os.geteuid() == 0 and uid:
            os.lchown(path, uid, uid)
    (top / "linked").chmod(0o4711)
    (top / "deep").chmod(0o2775)
    (top / "deep/er/and").chmod(0o1777)
    (top / "closed").chmod(0o500)
    (top / "closed/inner").chmod(0o400)
    for n, path in enumerate([*sorted(top.rglob("*"), reverse=True), top]):
        os.utime(path, ns=(10**18, 10**18 + n * 1_000_000_007), follow_symlinks=False)


@pytest.fixture
def tree(ground: Ground) -> Path:
    """The tree, in a directory of the user's outside of what views change."""
    made = ground.own(ground.place / "tree")
    everything(made, ground.user.uid)
    return made


@pytest.mark.parametrize(
    ("program", "kind"),
    [("rsync", kind) for kind in ("move", "cow", "vstat", "mincow", "foreign", "merge")]
    + [("cp", "cow"), ("cp", "vstat"), ("tar", "foreign"), ("tar", "vstat")],
)
def test_a_tree_is_the_same_after_its_way_into_a_view_and_out_again(ground, tree, program, kind):
    """``it`` and ``again`` are made in the view, ``out`` lies outside."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    if kind == "foreign" and not ground.user.uid:
        pytest.skip("root's files are not foreign to root")
    copy = COPY[program]
    if program == "tar":
        (tree / "socket").unlink()
        os.utime(tree, ns=(10**18, 10**18))
    before = census(tree)
    if kind == "foreign":
        ground.give_to_root()
    if kind == "vstat" and ground.user.uid:  # it has no access control lists: docs/viewfs.md
        for path, way in ((tree / "acl", "access"), (tree / "deep/er", "default")):
            os.removexattr(path, f"system.posix_acl_{way}")
        before = census(tree)
        copy = copy.replace("--acls", "")
    out = ground.own(ground.place / "out")
    script = f'copy() {{ {copy}; }}; mkdir it again; copy "$0" it; copy it again; copy again "$1"'
    assert ground.inside(kind, "sh", "-ec", script, tree, out) == ""
    assert unlike(before, census(out)) == []
    assert unlike(before, census(tree)) == []


def test_what_was_copied_into_a_layer_is_committed_as_it_was(ground, tree):
    if shutil.which("rsync") is None:
        pytest.skip("needs rsync")
    (tree / "socket").unlink()
    # rsync takes a directory that was changed in the same second for one that it need not touch.
    os.utime(tree, ns=(10**18, 10**18))
    before = census(tree)
    options = ["--cow", f"{ground.work}=@copied"]
    good(ground.run(*options, "--", "sh", "-c", f"set {tree} made; {COPY['rsync']}"))
    good(ground.native("viewos", "commit", "--layer", "@copied"))
    assert unlike(before, census(ground.work / "made")) == []
