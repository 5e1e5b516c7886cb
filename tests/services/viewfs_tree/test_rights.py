"""What an ordinary user may do in an overlay over files of others, and what is virtual."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress

import pytest

from conftest import NOBODY
from helpers.apart import in_child
from helpers.overlays import Served
from viewos_viewfs.layers.entry import look_in_layer
from viewos_viewfs.tree import kernel_checks
from viewosd.filetree import Context

pytestmark = pytest.mark.root
USER = Context(NOBODY, NOBODY, 1)


@pytest.fixture
def roots(place):
    """A tree of root's, with a layer of nobody's."""
    below = place.below
    for path, mode in ((b"dir", 0o755), (b"closed", 0o555), (b"secret", 0o700)):
        below.mkdir(path, mode)
    for path, mode in (
        (b"plain", 0o644),
        (b"readonly", 0o444),
        (b"private", 0o600),
        (b"dir/x", 0o755),
    ):
        below.write(path, b"root's", 0, mode)
    below.write(b"closed/x", b"root's", 0, 0o644)
    below.write(b"shared", b"anybody's", 0, 0o666)
    below.symlink(b"link", b"plain")
    below.setxattr(b"plain", "user.colour", b"red")
    place.give_layer(NOBODY)
    return place


def as_user(place, mode, work, **options):
    """Serve as nobody, and for nobody, in a child."""

    def inside():
        fs = Served(place.overlay(mode, **options), context=USER)
        try:
            return work(fs)
        finally:
            fs.tree.destroy()

    return in_child(inside, NOBODY)


@contextmanager
def failing(code):
    with pytest.raises(OSError) as caught:  # noqa: PT011
        yield
    assert caught.value.errno == code


def test_what_others_own_is_shown_as_the_users_with_what_he_may_do(roots):
    def work(fs):
        found = {}
        for path in (b"plain", b"readonly", b"private", b"dir", b"closed", b"secret"):
            st = fs.lstat(path)
            assert (st.st_uid, st.st_gid) == (NOBODY, 0)
            found[path.decode()] = oct(stat.S_IMODE(st.st_mode))
        return found

    assert as_user(roots, "cow", work) == {
        "plain": "0o644", "readonly": "0o644", "private": "0o0",
        "dir": "0o755", "closed": "0o755", "secret": "0o0",
    }  # fmt: skip
    merged = as_user(roots, "merge", work)
    assert (merged["plain"], merged["closed"]) == ("0o444", "0o555")


def test_cow_changes_what_the_user_may_not_write(roots):
    def work(fs):
        fs.write(b"plain", b"mine", os.O_TRUNC)
        fs.write(b"readonly", b"mine", os.O_TRUNC)
        fs.unlink(b"closed/x")
        fs.write(b"closed/y", b"new", 0)
        fs.rename(b"dir", b"closed/dir")
        with failing(errno.EACCES):
            fs.read(b"private")
        with failing(errno.EACCES):
            fs.open(b"private", os.O_RDWR)
        with failing(errno.EACCES):
            fs.lstat(b"secret/x")
        fs.unlink(b"private")
        assert fs.xattrs(b"plain") == {"user.colour": b"red"}
        assert fs.lstat(b"plain").st_mode == stat.S_IFREG | 0o644
        return fs.listdir(b""), fs.listdir(b"closed"), fs.read(b"closed/dir/x")

    before = {p: p.stat().st_mtime_ns for p in roots.lower.rglob("*")}
    assert as_user(roots, "cow", work) == (
        [b"closed", b"link", b"plain", b"readonly", b"secret", b"shared"], [b"dir", b"y"], b"root's"
    )  # fmt: skip
    assert before == {p: p.stat().st_mtime_ns for p in roots.lower.rglob("*")}
    # The truth is kept beside what could not be kept.
    assert os.getxattr(roots.upper / "plain", "user.viewos.stat") == b"uid=0 gid=0"
    assert os.getxattr(roots.upper / "readonly", "user.viewos.stat") == b"mode=00444 uid=0 gid=0"
    assert os.lstat(roots.upper / "plain").st_uid == NOBODY


@pytest.mark.parametrize("vstat", [False, True])
def test_an_empty_file_that_the_user_may_not_read_is_locked_and_written_in_a_copy(roots, vstat):
    roots.below.write(b"lock", b"", 0, 0o640)

    def work(fs):
        with failing(errno.EACCES):
            fs.open(b"lock", os.O_RDONLY)
        handle = fs.open(b"lock", os.O_RDWR)
        fs.pwrite(handle, b"pid", 0)
        fs.close(handle)
        return fs.read(b"lock"), oct(stat.S_IMODE(fs.lstat(b"lock").st_mode))

    assert as_user(roots, "cow", work, vstat=vstat) == (b"pid", "0o640")
    assert (roots.lower / "lock").read_bytes() == b""


@pytest.mark.parametrize("vstat", [False, True])
def test_the_root_of_a_new_layer_is_like_what_it_lies_over(roots, vstat):
    os.chmod(roots.lower, 0o751)
    os.utime(roots.lower, ns=(5, 10**18))

    def work(fs):
        st = fs.lstat(b"")
        return oct(st.st_mode), st.st_uid, st.st_mtime_ns

    owner = 0 if vstat else NOBODY
    assert as_user(roots, "cow", work, vstat=vstat) == ("0o40751", owner, 10**18)
    directory = os.open(roots.upper, os.O_PATH)
    entry = look_in_layer(directory, "")
    os.close(directory)
    assert (oct(entry.mode), entry.uid, entry.gid) == ("0o40751", 0, 0)


def test_mincow_writes_for_real_what_the_user_may_write(roots):
    os.chmod(roots.lower / "dir", 0o777)

    def work(fs):
        fs.write(b"shared", b"!", os.O_APPEND)
        fs.write(b"plain", b"!", os.O_APPEND)
        fs.write(b"dir/new", b"new", 0)
        fs.write(b"closed/new", b"new", 0)
        fs.rename(b"dir/x", b"dir/y")
        fs.unlink(b"readonly")
        fs.chmod(b"shared", 0o600)
        return fs.read(b"plain"), fs.listdir(b"dir")

    assert as_user(roots, "mincow", work) == (b"root's!", [b"new", b"y"])
    assert (roots.lower / "shared").read_bytes() == b"anybody's!"
    assert (roots.lower / "plain").read_bytes() == b"root's"
    assert sorted(os.listdir(roots.lower / "dir")) == ["new", "y"]
    assert (roots.lower / "dir/new").stat().st_uid == NOBODY
    assert sorted(os.listdir(roots.upper)) == ["closed", "plain", "readonly", "shared"]


def test_merge_refuses_what_the_user_may_not_write(roots):
    def work(fs):
        for operation, *args in (
            ("write", b"plain", b"x", 0), ("unlink", b"plain"), ("mkdir", b"dir/new", 0o755),
            ("truncate", b"plain", 0), ("rename", b"plain", b"new"),
        ):  # fmt: skip
            with failing(errno.EACCES):
                getattr(fs, operation)(*args)
        with failing(errno.EPERM):
            fs.chmod(b"plain", 0o777)
        fs.write(b"shared", b"!", os.O_APPEND)
        return fs.read(b"shared")

    assert as_user(roots, "merge", work) == b"anybody's!"


def test_directories_that_the_user_closed_still_work_inside(place):
    place.below.mkdir(b"module", 0o755)
    place.below.write(b"module/file", b"x", 0, 0o644)
    for path in (place.lower, place.lower / "module", place.lower / "module/file"):
        os.chown(path, NOBODY, NOBODY)
    os.chmod(place.lower / "module", 0o555)
    place.give_layer(NOBODY)

    def work(fs):
        fs.write(b"module/file", b"y", os.O_APPEND)  # takes no right to the directory
        first = stat.S_IMODE(fs.lstat(b"module").st_mode)
        fs.mkdir(b"shut", 0o500)
        second = stat.S_IMODE(fs.lstat(b"shut").st_mode)
        fs.chmod(b"shut", 0o750)
        return fs.read(b"module/file"), first, second, stat.S_IMODE(fs.lstat(b"shut").st_mode)

    assert as_user(place, "cow", work) == (b"xy", 0o555, 0o500, 0o750)
    assert os.getxattr(place.upper / "module", "user.viewos.stat") == b"mode=00555"
    assert os.listxattr(place.upper / "shut") == []


def seen(fs, path):
    st = fs.lstat(path)
    return oct(st.st_mode), st.st_uid, st.st_gid, os.major(st.st_rdev), os.minor(st.st_rdev)


def unpack_alien(fs):
    """As tar does it, of an archive that root made."""
    fs.mkdir(b"dev", 0o755)
    fs.chown(b"dev", 0, 0)
    fs.mknod(b"dev/thing", stat.S_IFCHR | 0o644, os.makedev(42, 44))
    fs.chown(b"dev/thing", 0, 0)
    fs.write(b"program", b"#!", 0, 0o600)
    fs.chown(b"program", 2000, 4000)
    fs.chmod(b"program", 0o6755)
    fs.symlink(b"alias", b"program")
    fs.chown(b"alias", 2000, 4000)
    fs.mknod(b"pipe", stat.S_IFIFO | 0o600)
    fs.chown(b"pipe", 0, 4000)
    fs.utime(b"alias", 5_000_000_000)


ALIEN = {
    b"dev": ("0o40755", 0, 0, 0, 0),
    b"dev/thing": ("0o20644", 0, 0, 42, 44),
    b"program": ("0o106755", 2000, 4000, 0, 0),
    b"alias": ("0o120777", 2000, 4000, 0, 0),
    b"pipe": ("0o10600", 0, 4000, 0, 0),
}


@pytest.mark.parametrize("mode", ["cow", "mincow"])
def test_an_alien_archive_is_unpacked_by_nobody(place, mode):
    place.give_layer(NOBODY)

    def first(fs):
        unpack_alien(fs)
        return {path: seen(fs, path) for path in ALIEN}

    def later(fs):
        assert fs.readlink(b"alias") == b"program"
        assert fs.lstat(b"alias").st_size == 7
        assert fs.lstat(b"alias").st_mtime_ns == 5_000_000_000
        assert fs.listdir(b"") == [b"alias", b"dev", b"pipe", b"program"]
        fs.rename(b"dev", b"devices")
        fs.link(b"devices/thing", b"again")
        found = {path: seen(fs, path) for path in ALIEN if not path.startswith(b"dev")}
        return found, seen(fs, b"again"), fs.lstat(b"again").st_nlink

    assert as_user(place, mode, first, vstat=True) == ALIEN
    found, again, nlink = as_user(place, mode, later, vstat=True)
    assert found.items() <= ALIEN.items()
    assert (again, nlink) == (ALIEN[b"dev/thing"], 2)
    text = b"mode=020644 uid=0 gid=0 rdev=42:44"
    assert os.getxattr(place.upper / "again", "user.viewos.stat") == text
    assert (place.upper / "again").stat().st_size == 0
    assert stat.S_IMODE((place.upper / "program").stat().st_mode) == 0o755


def test_diff_and_commit_read_what_is_virtual(roots):
    """The part of viewfs that carries layers out knows what this one wrote."""

    def work(fs):
        unpack_alien(fs)
        fs.write(b"readonly", b"!", os.O_APPEND)
        return {path: seen(fs, path) for path in (*ALIEN, b"readonly")}

    found = as_user(roots, "cow", work, vstat=True)
    assert found[b"readonly"][:3] == ("0o100444", 0, 0)
    for path, (mode, uid, gid, major, minor) in found.items():
        name = path.decode()
        directory = os.open(roots.upper / os.path.dirname(name), os.O_PATH)
        entry = look_in_layer(directory, os.path.basename(name))
        os.close(directory)
        assert (oct(entry.mode), entry.uid, entry.gid) == (mode, uid, gid), name
        assert entry.rdev == os.makedev(major, minor)


def test_virtual_attributes_of_what_lies_below(roots):
    def work(fs):
        assert seen(fs, b"plain")[:3] == ("0o100644", 0, 0)
        fs.chown(b"link", 7, 8)
        fs.chmod(b"plain", 0o4711)
        fs.chown(b"plain", 5, 6)  # takes the bit away, as chown(2) does
        assert seen(fs, b"plain")[0] == "0o100711"
        fs.chmod(b"plain", 0o4700)
        fs.write(b"plain", b"!", os.O_APPEND)
        return seen(fs, b"plain")[:3], seen(fs, b"link")[:3], fs.readlink(b"link")

    assert as_user(roots, "cow", work, vstat=True) == (
        ("0o104700", 5, 6), ("0o120777", 7, 8), b"plain"
    )  # fmt: skip
    assert (roots.upper / "link").is_file()
    assert (roots.lower / "plain").read_bytes() == b"root's"


def test_ids_without_a_number_are_shown_as_the_users_and_told_by_the_xattr(roots):
    def work(fs):
        fs.chown(b"dir/x", 2000, 4000)
        node = fs.node(b"dir/x")
        text = fs.tree.getxattr(node, b"user.viewos.stat", USER)
        fs.write(b"node", b"", 0)
        fs.tree.setxattr(fs.node(b"node"), b"user.viewos.stat", b"mode=020600 rdev=1:3", 0, USER)
        return seen(fs, b"dir/x")[1:3], text, seen(fs, b"node"), fs.xattrs(b"node")

    only = [[NOBODY, 1]]
    assert as_user(roots, "cow", work, vstat=True, uids=only, gids=only) == (
        (NOBODY, NOBODY), b"mode=0100755 uid=2000 gid=4000 rdev=0:0",
        ("0o20600", NOBODY, NOBODY, 1, 3), {},
    )  # fmt: skip


def test_without_vstat_nothing_is_virtual(roots):
    def work(fs):
        node = fs.node(b"plain")
        with failing(errno.ENODATA):
            fs.tree.getxattr(node, b"user.viewos.stat", USER)
        with failing(errno.EPERM):
            fs.tree.setxattr(node, b"user.viewos.stat", b"uid=0", 0, USER)
        with failing(errno.EPERM):
            fs.mknod(b"device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        assert fs.listdir(b"") == sorted(os.fsencode(n) for n in os.listdir(roots.lower))

    as_user(roots, "cow", work)


def test_access_says_what_open_does(roots):
    def work(fs):
        allowed = set()
        for path in (b"plain", b"readonly", b"private", b"closed", b"secret", b"dir/x"):
            for mask, letter in ((os.R_OK, "r"), (os.W_OK, "w"), (os.X_OK, "x")):
                with suppress(PermissionError):
                    fs.tree.access(fs.node(path), mask, USER)
                    allowed.add(f"{path.decode()} {letter}")
        return allowed

    assert as_user(roots, "cow", work, vstat=True) == {
        "plain r", "plain w", "readonly r", "readonly w", "closed r", "closed w", "closed x",
        "dir/x r", "dir/x w", "dir/x x",
    }  # fmt: skip
    assert (kernel_checks(0, True), kernel_checks(NOBODY, True), kernel_checks(NOBODY, False)) == (
        True, False, True,
    )  # fmt: skip


def test_what_root_serves_belongs_to_who_asks(place):
    place.below.mkdir(b"group", 0o2775)
    os.chown(place.lower / "group", 0, 1234)
    fs = place.serve()
    fs.context = USER
    fs.write(b"file", b"", 0)
    fs.mkdir(b"group/dir", 0o755)
    fs.write(b"group/file", b"", 0)
    fs.unlink(b"group/file")
    fs.symlink(b"group/file", b"x")
    owners = {p: (os.lstat(place.upper / p).st_uid, os.lstat(place.upper / p).st_gid)
              for p in ("file", "group/dir", "group/file")}  # fmt: skip
    assert owners == {
        "file": (NOBODY, NOBODY), "group/dir": (NOBODY, 1234), "group/file": (NOBODY, 1234)
    }  # fmt: skip
    assert (place.upper / "group/dir").stat().st_mode & stat.S_ISGID
