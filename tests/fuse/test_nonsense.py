"""Trees that answer nonsense: an error for that call, and nothing else is different afterwards."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from fuse.trees import errno_of
from helpers.waiting import until
from viewosd.filetree import ROOT, Attr, Dirent, Entry, FileTree, Lock, Opened, Statfs
from viewosd.testing.mounted import mounted

pytestmark = pytest.mark.root

FILE, DIRECTORY = stat.S_IFREG | 0o666, stat.S_IFDIR | 0o777


class Odd(FileTree):
    """A directory with "f", and whatever a test makes of it."""

    entry_s = attr_s = 0.0
    attr: object = Attr(2, FILE, size=4)
    entries: object = ()

    def getattr(self, node, handle, context):
        return {ROOT: Attr(ROOT, DIRECTORY), 2: Attr(2, FILE, size=4)}.get(node, self.attr)

    def lookup(self, parent, name, context):
        if name == b"odd":
            return Entry(3, self.attr)
        if name != b"f":
            raise OSError(errno.ENOENT, "only these")
        return Entry(2, Attr(2, FILE, size=4))

    def readdir(self, node, handle, offset, context):
        return list(self.entries)[offset:]


def serve(**members: object):
    return mounted(lambda: type("Odd", (Odd,), members)())


BIG = 1 << 70


@pytest.mark.parametrize(
    "attr",
    [
        Attr(3, 0, size=4),
        Attr(3, 0o170000),
        Attr(3, FILE, size=-1),
        Attr(3, FILE, size=BIG),
        Attr(3, FILE, size=(1 << 64) - 1),
        Attr(3, FILE, nlink=-1),
        Attr(3, FILE, uid=1 << 32),
        Attr(3, -1),
        Attr(BIG, FILE),
        Attr(3, FILE, mtime_ns=10**40),
        Attr(3, FILE, blksize=-5),
        Attr(3, FILE, blocks=-1),
        Attr(3, FILE, valid_s=float("nan")),
        None,
        "attributes",
        Attr("3", FILE),
    ],
    ids=repr,
)
def test_attributes_that_no_file_has_are_eio(attr):
    with serve(attr=attr) as mount:
        assert errno_of(os.stat, mount.root / "odd") == errno.EIO
        assert errno_of(os.stat, mount.root / "f") == 0
        assert errno_of(os.stat, mount.root) == 0


def test_a_file_that_becomes_a_directory_is_eio_until_it_is_looked_up_again():
    class Changes(Odd):
        opened = 0

        def getattr(self, node, handle, context):
            if node != 2:
                return Attr(ROOT, DIRECTORY)
            return Attr(2, DIRECTORY if self.opened else FILE, size=4)

        def open(self, node, flags, context):
            self.opened = 1
            return Opened()

        def release(self, node, handle, owner):
            self.opened = 0

    with mounted(Changes) as mount:
        fd = os.open(mount.root / "f", os.O_RDONLY)
        try:
            assert errno_of(os.fstat, fd) == errno.EIO
        finally:
            errno_of(os.close, fd)  # EIO: the kernel holds it for bad
        until(lambda: not errno_of(os.stat, mount.root / "f"), "it to be a file again")


@pytest.mark.parametrize("node", [0, ROOT, -1, BIG, None])
def test_what_was_made_must_be_a_node_of_its_own(node):
    def mkdir(self, parent, name, mode, context):
        return Entry(node, Attr(5, DIRECTORY))

    with serve(mkdir=mkdir) as mount:
        assert errno_of(os.mkdir, mount.root / "d") == errno.EIO
        assert (mount.root / "f").is_dir() is False


def test_a_made_file_of_another_type_is_eio():
    def mkdir(self, parent, name, mode, context):
        return Entry(5, Attr(5, FILE))

    with serve(mkdir=mkdir) as mount:
        assert errno_of(os.mkdir, mount.root / "d") == errno.EIO


@pytest.mark.parametrize(
    "name", [b"", b"a/b", b"/", b"a\0b", b"n" * 256, b"n" * 5000, "text", None, b".." * 600],
    ids=lambda name: repr(name)[:12],
)  # fmt: skip
def test_names_that_no_directory_has_end_a_listing(name):
    with serve(entries=[Dirent(b"f", 2, stat.S_IFREG, 1), Dirent(name, 3, 0, 2)]) as mount:
        got: list[str] = []
        code = errno_of(lambda: got.extend(entry.name for entry in os.scandir(mount.root)))
        assert code in (errno.EIO, errno.EINVAL, errno.ENAMETOOLONG)
        assert errno_of(os.stat, mount.root / "f") == 0


@pytest.mark.parametrize(
    "entries",
    [
        [Dirent(b"f", 2, 0, 1), Dirent(b"f", 2, 0, 2)],
        [Dirent(b"f", -2, 0, 1)],
        [Dirent(b"f", 2, 0, -1)],
        [Dirent(b"f", 2, 0, BIG)],
        [Dirent(b"f", 2, 0, 0)] * 3,
        [Dirent(b"f", BIG, 0, 1)],
        [("f",)],
        5,
        [None],
    ],
    ids=repr,
)
def test_listings_that_lie_come_to_an_end(entries):
    with serve(entries=entries) as mount, os.scandir(mount.root) as listing:
        # One that says to go on at its beginning goes round: who reads on for ever does.
        taken = zip(range(1000), listing, strict=False)
        assert errno_of(list, taken) in (0, errno.EIO)


def test_more_is_read_or_written_than_was_asked_for():
    class Generous(Odd):
        def read(self, node, handle, offset, size, context):
            return b"x" * (size + 100_000)

        def write(self, node, handle, offset, data, context):
            return len(data) + 1

        def setattr(self, node, change, handle, context):
            return self.attr

    with mounted(Generous) as mount:
        assert (mount.root / "f").read_bytes() == b"xxxx"
        fd = os.open(mount.root / "f", os.O_WRONLY)
        try:
            assert errno_of(os.write, fd, b"y") == errno.EIO
        finally:
            os.close(fd)


@pytest.mark.parametrize("returned", [None, "text", 7, -1, b"x" * 70_000, [b"a\0b"], [None], BIG])
def test_results_of_other_types_are_eio_or_refused(returned):
    def anything(self, *_):
        return returned

    methods = ("readlink", "statfs", "getxattr", "listxattr", "open", "opendir", "ioctl", "poll")
    with serve(**dict.fromkeys(methods, anything)) as mount:
        f, fine = mount.root / "f", {0, errno.EIO, errno.EINVAL, errno.ERANGE, errno.E2BIG}
        assert errno_of(os.statvfs, mount.root) == errno.EIO
        assert errno_of(os.getxattr, f, "user.a") in fine
        assert errno_of(os.listxattr, f) in fine
        assert errno_of(f.read_bytes) == errno.EIO
        assert errno_of(os.listdir, mount.root) == errno.EIO
        assert errno_of(os.stat, f) == 0


def test_a_link_to_nowhere_and_a_lock_of_nobody():
    import fcntl

    class Links(Odd):
        attr = Attr(3, stat.S_IFLNK | 0o777, size=4)
        target = b"x" * 100_000

        def readlink(self, node, context):
            return self.target

        def getlk(self, node, handle, owner, lock, context):
            return Lock(99, 10, 5, -1)

        def setlk(self, node, handle, owner, lock, wait, context):
            return "locked"

        def statfs(self, node, context):
            return Statfs(blocks=-5)

    with mounted(Links) as mount:
        assert errno_of(os.readlink, mount.root / "odd") in (errno.EIO, errno.EINVAL)
        assert errno_of(open, mount.root / "odd") != 0
        assert errno_of(os.statvfs, mount.root) == errno.EIO
        fd = os.open(mount.root / "f", os.O_RDWR)
        try:
            assert errno_of(fcntl.fcntl, fd, fcntl.F_GETLK, bytes(32)) == errno.EIO
            fcntl.lockf(fd, fcntl.LOCK_EX)
        finally:
            os.close(fd)


def test_timeouts_and_limits_of_a_tree_can_be_nonsense():
    for members in (
        {"entry_s": -5.0},
        {"attr_s": float("inf")},
        {"max_write": -7},
        {"max_write": BIG},
    ):
        with serve(**members) as mount:
            assert errno_of(os.stat, mount.root / "f") in (0, errno.EIO)
