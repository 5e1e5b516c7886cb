"""Real programs in a mounted overlay."""

from __future__ import annotations

import io
import mmap
import os
import shutil
import sqlite3
import stat
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from conftest import NOBODY
from helpers.apart import in_child, private_mounts
from helpers.overlays import Native, alike, snapshot
from viewos_viewfs.tree import Overlay
from viewosd.abi.mount import MOVE_MOUNT_F_EMPTY_PATH
from viewosd.testing.mounted import mounted
from viewosd.testing.unsafe import call

pytestmark = pytest.mark.root


@pytest.fixture
def cow(place):
    """The root of a mounted overlay over a small tree."""
    place.below.mkdir(b"dir", 0o755)
    place.below.write(b"dir/file", b"below", 0)
    place.below.write(b"big", os.urandom(5 << 20), 0)
    shutil.copy("/bin/true", place.lower / "program")
    with mounted(place.overlay) as mount:
        yield mount.root
        assert mount.log() == ""


def test_a_program_from_below_is_executed_and_replaced(cow):
    subprocess.run([cow / "program"], pass_fds=[int(cow.name)], check=True)
    shutil.copy("/bin/false", cow / "new")
    os.rename(cow / "new", cow / "program")
    assert subprocess.run([cow / "program"], pass_fds=[int(cow.name)]).returncode == 1


def test_big_files_are_read_and_changed(cow, place):
    data = bytearray((place.lower / "big").read_bytes())
    assert (cow / "big").read_bytes() == data
    with open(cow / "big", "r+b") as file:
        file.seek(1 << 20)
        file.write(b"changed")
    data[1 << 20 : (1 << 20) + 7] = b"changed"
    assert (cow / "big").read_bytes() == data
    assert (place.lower / "big").read_bytes() != data


def test_a_shared_mapping_of_a_file_from_below_is_the_copy(cow, place):
    with open(cow / "big", "r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
        shared[5000:5005] = b"HELLO"
        shared.flush()
        assert os.pread(file.fileno(), 5, 5000) == b"HELLO"
    assert (cow / "big").read_bytes()[5000:5005] == b"HELLO"
    assert (place.lower / "big").read_bytes()[5000:5005] != b"HELLO"


def at_a_path(cow: Path, place, work) -> None:
    """For programs that want to know where they are; nobody else sees the mount."""

    def inside() -> None:
        private_mounts()
        at = place.root / "mounted"
        at.mkdir()
        call("move_mount", int(cow.name), b"", -100, os.fsencode(at), MOVE_MOUNT_F_EMPTY_PATH)
        work(at)

    in_child(inside)


def test_a_database_works(cow, place):
    def work(at: Path) -> None:
        with closing(sqlite3.connect(at / "db")) as one, closing(sqlite3.connect(at / "db")) as two:
            one.execute("pragma journal_mode=wal")
            one.execute("create table t (n)")
            for n in range(50):
                (one, two)[n % 2].execute("insert into t values (?)", (n,))
                (one, two)[n % 2].commit()
            assert one.execute("select count(*), sum(n) from t").fetchone() == (50, 1225)

    at_a_path(cow, place, work)
    assert (place.upper / "db").exists()


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_a_repository_is_made_and_used(cow, place):
    def work(at: Path) -> None:
        def run(*words: str) -> str:
            git = ["git", "-c", "user.name=x", "-c", "user.email=x", *words]
            done = subprocess.run(git, cwd=at, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        run("init", "-q")
        run("add", ".")
        run("commit", "-qm", "one")
        run("mv", "dir", "moved")
        run("commit", "-qam", "two")
        run("checkout", "-q", "HEAD~1")
        assert (at / "dir/file").read_bytes() == b"below"
        run("checkout", "-q", "-")
        assert (at / "moved/file").read_bytes() == b"below"
        assert run("status", "--porcelain") == ""
        run("gc", "-q")
        run("fsck", "--strict")

    at_a_path(cow, place, work)


def test_a_tree_is_removed_and_copied_back(cow, place):
    fd = [int(cow.name)]
    before = snapshot(Native(os.fsencode(cow)))
    subprocess.run(["cp", "-a", f"{cow}/.", place.root / "copy"], pass_fds=fd, check=True)
    subprocess.run(["rm", "-rf", *cow.glob("*")], pass_fds=fd, check=True)
    assert os.listdir(cow) == []
    subprocess.run(["cp", "-a", f"{place.root}/copy/.", cow], pass_fds=fd, check=True)
    alike(snapshot(Native(os.fsencode(cow))), before)


def test_an_unlinked_file_and_one_without_a_name(cow):
    with open(cow / "dir/file", "r+b", buffering=0) as file:
        (cow / "dir/file").unlink()
        file.write(b"BELOW!")
        assert os.pread(file.fileno(), 9, 0) == b"BELOW!"
        assert os.fstat(file.fileno()).st_nlink == 0
    with open(os.open(cow, os.O_TMPFILE | os.O_RDWR), "wb") as file:
        file.write(b"found")
        file.flush()
        os.link(f"/proc/self/fd/{file.fileno()}", cow / "named", src_dir_fd=file.fileno())
    assert (cow / "named").read_bytes() == b"found"


def test_tar_unpacks_an_alien_archive_that_nobody_keeps(place):
    """tar is root's here, for the kernel lets nobody else make devices; the tree is nobody's."""
    place.give_layer(NOBODY)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, kind, mode, uid, gid in (
            ("root", tarfile.DIRTYPE, 0o755, 0, 0), ("root/program", tarfile.REGTYPE, 0o4755, 0, 0),
            ("root/data", tarfile.REGTYPE, 0o640, 2000, 4000),
            ("root/thing", tarfile.CHRTYPE, 0o620, 0, 4000),
            ("root/link", tarfile.SYMTYPE, 0o777, 2000, 4000),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, uid, gid, 10**9
            info.devmajor, info.devminor, info.linkname = 42, 44, "data"
            tar.addfile(info)
    (place.root / "alien.tar").write_bytes(archive.getvalue())

    def nobodys() -> Overlay:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return place.overlay(vstat=True)

    for unpack in (True, False):  # and again, from the layer
        with mounted(nobodys) as mount:
            if unpack:
                subprocess.run(
                    ["tar", "-xpf", place.root / "alien.tar", "--numeric-owner", "-C", mount.root],
                    pass_fds=[mount.fd], check=True,
                )  # fmt: skip
            found = {}
            for name in ("", "program", "data", "thing", "link"):
                st = (mount.root / "root" / name).lstat()
                assert st.st_mtime == 10**9
                found[name] = oct(st.st_mode), st.st_uid, st.st_gid
                if stat.S_ISCHR(st.st_mode):
                    assert st.st_rdev == os.makedev(42, 44)
            assert found == {
                "": ("0o40755", 0, 0), "program": ("0o104755", 0, 0),
                "data": ("0o100640", 2000, 4000), "thing": ("0o20620", 0, 4000),
                "link": ("0o120777", 2000, 4000),
            }  # fmt: skip
            assert os.readlink(mount.root / "root/link") == "data"
            assert mount.log() == ""
    assert {p.lstat().st_uid for p in Path(place.upper).rglob("*")} == {NOBODY}
