"""Calls that few trees offer, through the kernel: poll, statx, copying, retrieve, passthrough."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import subprocess

import pytest

from fuse.trees import errno_of
from helpers.waiting import until
from viewosd.filetree import Attr, Entry, FileTree, Opened
from viewosd.memorytree import MemoryTree
from viewosd.testing.mounted import mounted

pytestmark = pytest.mark.root


class One(FileTree):
    """A directory with one file, "f"."""

    entry_s = attr_s = 0.0
    size = 4

    def getattr(self, node, handle, context):
        return Attr(node, 0o100666 if node == 2 else 0o040755, size=self.size if node == 2 else 0)

    def lookup(self, parent, name, context):
        if name != b"f":
            raise OSError(errno.ENOENT, "only f")
        return Entry(2, self.getattr(2, None, context))


def statx(path, mask):
    """stx_mask and stx_btime, ns."""
    buffer = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    assert not libc.statx(-100, os.fsencode(path), 0, mask, buffer)
    seconds, ns = struct.unpack_from("=qI", buffer.raw, 0x50)
    return struct.unpack_from("=I", buffer.raw)[0], seconds * 10**9 + ns


def test_poll_sleeps_until_the_tree_wakes_it():
    class Polled(One):
        ready, wakes = 0, ()

        def open(self, node, flags, context):
            return Opened(direct_io=True, nonseekable=True)

        def poll(self, node, handle, events, wake, context):
            if wake is not None:
                self.wakes += (wake,)
            return events & self.ready

        def setxattr(self, node, name, value, flags, context):
            self.ready = select.POLLIN
            for wake in self.wakes:
                wake()

        def statfs(self, node, context):
            return super().statfs(node, context)._replace(files=len(self.wakes))

    with mounted(Polled) as mount, open(mount.root / "f", "rb", 0) as file:
        poll = select.poll()
        poll.register(file, select.POLLIN)
        assert poll.poll(0) == []
        path = f"/proc/self/fd/{mount.fd}/f"
        script = f"import select; f = open('{path}'); print(select.select([f], [], []))"
        with subprocess.Popen(
            ["/usr/bin/python3", "-c", script], pass_fds=[mount.fd], stdout=subprocess.PIPE
        ) as sleeper:
            until(lambda: os.statvfs(mount.root).f_files, "somebody to sleep")
            os.setxattr(mount.root / "f", "user.ready", b"")
            assert b"'/proc/self" in sleeper.communicate(timeout=50)[0]
        assert poll.poll(0) == [(file.fileno(), select.POLLIN)]


def test_a_tree_without_poll_is_always_ready():
    with mounted(One) as mount, open(mount.root / "f", "rb", 0) as file:
        assert select.select([file], [], [], 0)[0] == [file]


def test_the_time_of_birth_is_told_by_trees_that_know_it():
    class Born(One):
        def born(self, node, handle, context):
            return 1_600_000_000_123_456_789

    basic, btime = 0x7FF, 0x800
    with mounted(Born) as mount:
        path = f"{mount.root}/f"
        mask, born = statx(path, basic | btime)
        if not mask & btime:
            pytest.skip("this kernel has no FUSE_STATX (Linux 6.6)")
        assert born == 1_600_000_000_123_456_789
    with mounted(One) as mount:
        assert not statx(f"{mount.root}/f", basic | btime)[0] & btime


def test_copies_are_made_in_the_tree():
    class Copies(MemoryTree):
        def copy_file_range(self, node, handle, offset, to, to_handle, to_offset, length, *_):
            data = self.nodes[node].data.read(offset, length)
            return self.write(to, to_handle, to_offset, memoryview(data.upper()), None)

    with mounted(Copies) as mount:
        (mount.root / "from").write_bytes(b"abcdef")
        with open(mount.root / "from", "rb") as one, open(mount.root / "to", "wb") as other:
            assert os.copy_file_range(one.fileno(), other.fileno(), 4, 1, 3) == 4
        assert (mount.root / "to").read_bytes() == b"\0\0\0BCDE"


def test_what_the_kernel_has_cached_is_retrieved():
    class Retrieves(MemoryTree):
        writeback = True

        async def getxattr(self, node, name, context):
            number = 99 if name == b"user.unknown" else node
            return await self.kernel.retrieve(number, 0, 100)

    with mounted(Retrieves) as mount:
        (mount.root / "f").write_bytes(b"cached")
        assert os.getxattr(mount.root / "f", "user.cached") == b"cached"
        assert os.getxattr(mount.root / "f", "user.unknown") == b""
        assert mount.log() == ""


class Through(One):
    """What is in a real file is read and written by the kernel itself, if it can."""

    passthrough = True

    def __init__(self, path):
        self.path, self.opened = path, 0

    @property
    def size(self):
        return os.stat(self.path).st_size

    def open(self, node, flags, context):
        self.opened += 1
        fd = os.open(self.path, os.O_RDWR)
        return Opened(fd, passthrough=fd)

    def release(self, node, handle, owner):
        self.opened -= 1
        os.close(handle)

    def read(self, node, handle, offset, size, context):
        return b"from the server"[offset : offset + size]

    def statfs(self, node, context):
        return super().statfs(node, context)._replace(files=self.opened)


def test_a_file_is_passed_through_to_the_kernel(tmp_path):
    path = tmp_path / "real"
    path.write_bytes(b"real contents!!")
    with mounted(lambda: Through(path)) as mount:
        f = mount.root / "f"
        if f.read_bytes() == b"from the server":
            pytest.skip("no passthrough here: Linux 6.9, CAP_SYS_ADMIN, a file system not stacked")
        with open(f, "r+b", 0) as one, open(f, "r+b", 0) as other:
            os.pwrite(one.fileno(), b"written", 0)
            assert os.pread(other.fileno(), 7, 0) == b"written"
            assert path.read_bytes() == b"writtenntents!!"
        until(lambda: not os.statvfs(mount.root).f_files, "its handles to be released")
        for _ in range(3):  # the kernel's file is given up and taken anew
            assert f.read_bytes().startswith(b"written")
        assert mount.log() == ""


def test_a_tree_that_is_written_back_is_not_passed_through(tmp_path):
    path = tmp_path / "real"
    path.write_bytes(b"real contents!!")
    with mounted(lambda: type("Both", (Through,), {"writeback": True})(path)) as mount:
        assert (mount.root / "f").read_bytes() == b"from the server"


def test_directories_have_no_ioctls_and_nobody_hangs_for_them():
    import fcntl

    with mounted(One) as mount:
        fd = os.open(mount.root, os.O_RDONLY)
        try:
            assert errno_of(fcntl.ioctl, fd, 0x5401) == errno.ENOTTY
        finally:
            os.close(fd)


def test_what_is_cached_asks_nobody():
    class Counted(MemoryTree):
        asked = 0

        def lookup(self, parent, name, context):
            self.asked += 1
            return super().lookup(parent, name, context)

        def getattr(self, node, handle, context):
            self.asked += 1
            return super().getattr(node, handle, context)

        def read(self, node, handle, offset, size, context):
            self.asked += 1
            return super().read(node, handle, offset, size, context)

        def getxattr(self, node, name, context):
            if name == b"user.asked":
                return str(self.asked).encode()
            return super().getxattr(node, name, context)

    with mounted(Counted) as mount:
        path = mount.root / "f"
        path.write_bytes(b"x" * 5000)
        assert (path.read_bytes(), path.stat().st_size) == (b"x" * 5000, 5000)
        before = os.getxattr(path, "user.asked")
        for _ in range(50):
            assert (path.stat().st_size, (mount.root / "g").exists()) == (5000, False)
            assert path.read_bytes() == b"x" * 5000
        assert int(os.getxattr(path, "user.asked")) - int(before) <= 1  # "g", once
