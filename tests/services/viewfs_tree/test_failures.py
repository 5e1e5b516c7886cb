"""A full disk, a server that is killed: nothing is half done."""

from __future__ import annotations

import errno
import itertools
import os
import signal

import pytest

from helpers.apart import in_child, mount, private_mounts
from helpers.overlays import Native, Served, alike, snapshot
from viewos_viewfs.tree import Overlay, location, moving, unsafe, work


@pytest.mark.root
def test_a_full_disk_leaves_everything_as_it_was(place):
    place.below.mkdir(b"dir", 0o755)
    for name in (b"big", b"dir/one", b"dir/two"):
        place.below.write(name, os.urandom(3 << 19), 0)
    place.below.write(b"small", b"x", 0)

    def work() -> None:
        private_mounts()
        layer = os.fsencode(place.root / "full")
        os.mkdir(layer)
        mount(b"none", layer, b"tmpfs", b"size=2560k")
        for name in (b"upper", b"work"):
            os.mkdir(os.path.join(layer, name))
        fds = [os.open(os.path.join(layer, b"upper"), os.O_PATH), os.open(place.lower, os.O_PATH)]
        fs = Served(Overlay(fds, mode="cow"))
        fs.write(b"filler", os.urandom(3 << 19), 0)
        before = snapshot(fs)
        for operation, *args in (
            ("write", b"big", b"x", os.O_APPEND), ("rename", b"dir", b"moved"),
            ("rename", b"dir/one", b"one"), ("chmod", b"big", 0o600), ("truncate", b"big", 5 << 18),
        ):  # fmt: skip
            with pytest.raises(OSError) as caught:  # noqa: PT011
                getattr(fs, operation)(*args)
            assert caught.value.errno == errno.ENOSPC, operation
            alike(snapshot(fs), before)
            assert os.listdir(os.path.join(layer, b"work/viewos")) == []
        handle = fs.open(b"big", os.O_RDWR)
        with pytest.raises(OSError) as caught:  # noqa: PT011
            fs.pwrite(handle, b"x", 0)
        assert caught.value.errno == errno.ENOSPC
        assert len(fs.pread(handle, 1 << 22, 0)) == 3 << 19
        fs.close(handle)
        fs.write(b"small", b"y", os.O_APPEND)
        fs.unlink(b"filler")
        fs.forget_all()  # as the kernel does: what it may still ask for is kept
        fs.write(b"big", b"x", os.O_APPEND)
        assert fs.lstat(b"big").st_size == (3 << 19) + 1
        fs.tree.destroy()

    in_child(work)
    os.rmdir(place.root / "full")


def killed_at(step: int) -> None:
    """This process is killed instead of its ``step``-th call that changes something."""
    left = itertools.count(step, -1)

    def counted(call):
        def counts(*args, **named):
            if next(left) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **named)

        return counts

    names = "rename mkdir rmdir mknod link unlink symlink setxattr removexattr utime chmod chown"
    for name in (*names.split(), "write", "ftruncate", "copy_file_range"):
        setattr(os, name, counted(getattr(os, name)))
    for module in (unsafe, moving, work):
        module.renameat2 = counted(unsafe.renameat2)
    assert location.os is os


OPERATIONS = {
    "write": lambda fs: fs.write(b"dir/file", b"written", 0),
    "chmod": lambda fs: fs.chmod(b"dir/sub/deep", 0o600),
    "unlink from below": lambda fs: fs.unlink(b"dir/file"),
    "unlink a copy": lambda fs: fs.unlink(b"copied"),
    "rmdir": lambda fs: fs.rmdir(b"emptied"),
    "rename a file": lambda fs: fs.rename(b"dir/file", b"new"),
    "rename over a file": lambda fs: fs.rename(b"dir/file", b"copied"),
    "rename a directory": lambda fs: fs.rename(b"dir", b"new"),
    "rename over a directory": lambda fs: fs.rename(b"dir", b"emptied"),
    "rename over a deleted file": lambda fs: fs.rename(b"dir", b"deleted"),
    "exchange": lambda fs: fs.rename(b"dir", b"copied", 2),
    "mkdir again": lambda fs: fs.mkdir(b"deleted-dir", 0o700),
    "create again": lambda fs: fs.mknod(b"deleted", 0o100600),
    "link again": lambda fs: fs.link(b"dir/file", b"deleted"),
}


def prepare(fs) -> None:
    """So that there are whiteouts, a copy, and an emptied directory."""
    for name in (b"emptied/x", b"deleted", b"deleted-dir/x"):
        fs.unlink(name)
    fs.rmdir(b"deleted-dir")
    fs.write(b"copied", b"!", os.O_APPEND)


def populate(fs) -> None:
    for name in (b"dir", b"dir/sub", b"emptied", b"deleted-dir"):
        fs.mkdir(name, 0o755)
    for name in (
        b"dir/file",
        b"dir/sub/deep",
        b"emptied/x",
        b"deleted",
        b"deleted-dir/x",
        b"copied",
    ):
        fs.write(name, name, 0)


def timeless(seen: dict) -> dict:
    return {path: one._replace(mtime_ns=0, nlink=0) for path, one in seen.items()}


@pytest.mark.parametrize("what", OPERATIONS)
def test_a_server_that_is_killed_has_done_it_or_not(place, what):
    """Killed before every call that changes something, in turn; another server goes on."""
    (place.root / "native").mkdir()
    native = Native(os.fsencode(place.root / "native"))
    for fs in (place.below, native):
        populate(fs)
    for fs in (place.serve(), native):
        prepare(fs)
    place.end()
    before = timeless(snapshot(native))
    OPERATIONS[what](native)
    after = timeless(snapshot(native))

    kills, now = 0, before
    while now == before:
        pid = os.fork()
        if not pid:
            try:
                fs = Served(place.overlay())
                killed_at(kills)
                OPERATIONS[what](fs)
            finally:
                os._exit(0)
        kills += os.waitpid(pid, 0)[1] != 0
        assert kills < 200
        now = timeless(snapshot(place.serve()))
        place.end()
        assert os.listdir(place.work / "viewos") == []
    assert now == after
    assert kills > 0
