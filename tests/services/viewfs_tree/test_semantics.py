"""What an overlay does that a mere union would get wrong, called as the kernel calls it."""

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess

import pytest

from helpers.overlays import NOW, Native, alike, snapshot
from viewos_viewfs.tree import Overlay
from viewosd.filetree import ROOT, SetAttr


def code_of(call, *args, **named):
    with pytest.raises(OSError) as caught:  # noqa: PT011
        call(*args, **named)
    return caught.value.errno


@pytest.fixture
def full(place):
    """``place`` with a tree below."""
    below = place.below
    below.mkdir(b"dir", 0o755)
    below.mkdir(b"dir/sub", 0o755)
    below.write(b"dir/file", b"below", 0)
    below.write(b"dir/sub/deep", b"deep", 0)
    below.write(b"file", b"content", 0)
    below.symlink(b"link", b"dir/file")
    return place


def uppers(place):
    return sorted(str(p.relative_to(place.upper)) for p in place.upper.rglob("*"))


def test_opening_for_writing_copies_nothing(full):
    fs = full.serve()
    handle = fs.open(b"file", os.O_RDWR)
    assert fs.pread(handle, 100, 0) == b"content"
    assert uppers(full) == []
    fs.pwrite(handle, b"C", 0)
    assert uppers(full) == ["file"]
    fs.close(handle)
    assert (full.lower / "file").read_bytes() == b"content"


def test_a_truncated_file_is_not_copied_first(full):
    with open(full.lower / "big", "wb") as file:
        file.truncate(1 << 40)  # copying that would be noticed
        file.write(b"start")
    fs = full.serve()
    fs.truncate(b"big", 3)
    assert fs.read(b"big") == b"sta"
    fs.write(b"big", b"new", os.O_TRUNC)
    assert (full.upper / "big").read_bytes() == b"new"


def test_holes_stay_holes(full):
    with open(full.lower / "holes", "wb") as file:
        file.truncate(64 << 20)
        os.pwrite(file.fileno(), b"middle", 32 << 20)
    fs = full.serve()
    fs.chmod(b"holes", 0o600)
    st = (full.upper / "holes").stat()
    assert (st.st_size, st.st_blocks < 1000) == (64 << 20, True)
    handle = fs.open(b"holes", os.O_RDONLY)
    assert fs.pread(handle, 6, 32 << 20) == b"middle"
    at = fs.tree.lseek(*handle, 0, os.SEEK_DATA, NOW)
    assert 0 < at <= 32 << 20
    fs.close(handle)


def test_an_old_handle_reads_what_is_written_through_a_new_one(full):
    fs = full.serve()
    old, new = fs.open(b"file", os.O_RDONLY), fs.open(b"file", os.O_RDWR)
    fs.pwrite(new, b"CHANGED", 0)
    assert fs.pread(old, 100, 0) == b"CHANGED"
    fs.close(new)
    fs.close(old)


def test_a_file_that_is_unlinked_while_it_is_open_can_still_be_written(full):
    fs = full.serve()
    handle = fs.open(b"file", os.O_RDWR)
    fs.unlink(b"file")
    assert fs.fstat(handle).st_nlink == 0
    fs.pwrite(handle, b"!", 7)
    assert fs.pread(handle, 100, 0) == b"content!"
    assert fs.fstat(handle).st_nlink == 0
    fs.close(handle)
    assert code_of(fs.lstat, b"file") == errno.ENOENT
    assert (full.lower / "file").read_bytes() == b"content"


def test_names_of_one_file_stay_one_file(full):
    full.below.link(b"file", b"dir/other")
    full.below.link(b"file", b"third")
    fs = full.serve()
    before = fs.lstat(b"third")
    fs.write(b"file", b"+", os.O_APPEND)
    for path in (b"file", b"dir/other", b"third"):
        st = fs.lstat(path)
        assert (st.st_ino, st.st_nlink) == (before.st_ino, 3)
        assert fs.read(path) == b"content+"
    fs.unlink(b"dir/other")
    assert fs.lstat(b"third").st_nlink == 2
    full.end()
    assert (full.upper / "file").stat().st_ino == (full.upper / "third").stat().st_ino


def test_names_of_one_file_are_one_file_where_no_links_can_be_made(full, monkeypatch):
    full.below.link(b"file", b"dir/other")
    fs = full.serve()

    def link(*_args, **_named):
        raise OSError(errno.EMLINK, "no links")

    monkeypatch.setattr(os, "link", link)
    handle = fs.open(b"file", os.O_RDWR)
    fs.pwrite(handle, b"C", 0)
    assert fs.read(b"dir/other") == b"Content"
    assert fs.read(b"file") == b"Content"
    fs.close(handle)


def test_mincow_leaves_alone_what_another_layer_hides(full):
    fs = full.serve()
    fs.unlink(b"file")
    full.end()
    top, work = full.root / "top", full.root / "topwork"
    top.mkdir()
    work.mkdir()
    fds = [os.open(path, os.O_PATH) for path in (top, full.upper, full.lower, work)]
    full.served.append(type(fs)(Overlay(fds, mode="mincow", uppers=2)))
    fs = full.served[-1]
    fs.write(b"file", b"new", 0)
    fs.unlink(b"file")
    assert b"file" not in fs.listdir(b"")
    assert (full.lower / "file").read_bytes() == b"content"


def test_what_was_deleted_with_its_directory_does_not_come_back(full):
    fs = full.serve()
    fs.unlink(b"dir/sub/deep")
    fs.rmdir(b"dir/sub")
    fs.unlink(b"dir/file")
    fs.rmdir(b"dir")
    assert code_of(fs.lstat, b"dir/file") == errno.ENOENT
    fs.mkdir(b"dir", 0o700)
    assert fs.listdir(b"dir") == []
    fs.write(b"dir/sub", b"a file now", 0)
    full.end()
    fs = full.serve()
    assert (fs.listdir(b"dir"), fs.read(b"dir/sub")) == ([b"sub"], b"a file now")
    fs.unlink(b"dir/sub")
    fs.rmdir(b"dir")
    assert fs.listdir(b"") == [b"file", b"link"]


def test_a_directory_from_below_is_renamed_with_all_that_is_in_it(full):
    fs = full.serve()
    before = fs.lstat(b"dir/sub/deep")
    handle = fs.open(b"dir/sub/deep", os.O_RDWR)
    fs.rename(b"dir", b"moved")
    assert fs.listdir(b"") == [b"file", b"link", b"moved"]
    assert fs.lstat(b"moved/sub/deep").st_ino == before.st_ino
    fs.pwrite(handle, b"D", 0)
    assert fs.read(b"moved/sub/deep") == b"Deep"
    fs.close(handle)
    fs.mkdir(b"dir", 0o755)
    assert fs.listdir(b"dir") == []


def test_renames_refuse_what_the_kernel_does_not_check(full):
    fs = full.serve()
    assert code_of(fs.rename, b"file", b"link", 1) == errno.EEXIST
    assert code_of(fs.rename, b"file", b"missing", 2) == errno.ENOENT
    assert code_of(fs.rename, b"file", b"new", 4) == errno.EINVAL
    fs.mkdir(b"empty", 0o755)
    assert code_of(fs.rename, b"empty", b"dir") == errno.ENOTEMPTY
    assert code_of(fs.rmdir, b"dir") == errno.ENOTEMPTY
    assert code_of(fs.mknod, b"whiteout", stat.S_IFCHR | 0o600, 0) == errno.EPERM


def test_symbolic_links_are_never_followed(full):
    (full.root / "outside").write_text("untouched")
    full.below.symlink(b"away", os.fsencode(full.root / "outside"))
    fs = full.serve()
    fs.tree.setattr(fs.node(b"away"), SetAttr(mtime_ns=5), None, NOW)
    assert os.lstat(full.upper / "away").st_mtime_ns == 5
    fs.rename(b"away", b"dir/file")
    fs.unlink(b"dir/file")
    # Somebody outside puts a link where a directory was.
    fs.listdir(b"dir/sub")
    os.rename(full.lower / "dir/sub", full.lower / "dir/elsewhere")
    (full.lower / "dir/sub").symlink_to(full.root)
    assert code_of(fs.lstat, b"dir/sub/outside") == errno.ENOTDIR
    assert (full.root / "outside").read_text() == "untouched"


def test_what_changes_below_outside_is_seen(full):
    fs = full.serve()
    assert fs.read(b"file") == b"content"
    (full.lower / "new").write_text("new")
    os.replace(full.lower / "new", full.lower / "file")
    assert fs.read(b"file") == b"new"
    (full.lower / "file").unlink()
    assert code_of(fs.lstat, b"file") == errno.ENOENT


def test_a_file_that_becomes_a_fifo_outside_blocks_nobody(full):
    fs = full.serve()
    node = fs.node(b"file")
    (full.lower / "file").unlink()
    os.mkfifo(full.lower / "file")
    assert code_of(fs.tree.open, node, os.O_RDONLY, NOW) == errno.ESTALE
    assert code_of(fs.tree.open, node, os.O_RDWR, NOW) in (errno.ESTALE, errno.ENXIO)
    assert stat.S_ISFIFO(fs.lstat(b"file").st_mode)


@pytest.mark.parametrize("mode", ["cow", "mincow"])
@pytest.mark.parametrize("seed", range(3))
def test_data_is_what_it_would_be_in_a_directory(full, mode, seed):
    """Random writes, truncations, holes and copies, through handles of one file and another."""
    chance = random.Random(seed)
    plain = Native(os.fsencode(full.root))
    for fs in (plain, full.below):
        fs.write(b"data", chance.randbytes(100_000) if fs is plain else plain.read(b"data"), 0)
    fs = full.serve(mode)
    files = [(plain, plain.open(b"data", os.O_RDWR)), (fs, fs.open(b"data", os.O_RDWR))]
    late = fs.open(b"data", os.O_RDONLY)
    for _ in range(60):
        at, length = chance.randrange(200_000), chance.randrange(1, 50_000)
        to = at + length + chance.randrange(9000)
        data, what = chance.randbytes(length), chance.randrange(5)
        for side, handle in files:
            if what == 0:
                assert side.pwrite(handle, data, at) == length
            elif what == 1:
                side.truncate(b"data", at)
            elif what == 2:
                side.fallocate(handle, 3, at, length)  # a hole
            elif what == 3:
                side.fallocate(handle, 0, at, length)
            else:
                side.copy(handle, at, to, length)
        assert fs.pread(late, 300_000, 0) == plain.pread(files[0][1], 300_000, 0)
        assert fs.fstat(late).st_size == plain.fstat(files[0][1]).st_size
    for side, handle in (*files, (fs, late)):
        side.close(handle)
    assert fs.read(b"data") == plain.read(b"data")


def test_names_of_the_format_are_escaped(full):
    fs = full.serve()
    prefix = "trusted" if os.geteuid() == 0 else "user"
    name = f"{prefix}.overlay.opaque".encode()
    node = fs.node(b"dir")
    fs.tree.setxattr(node, name, b"y", 0, NOW)
    assert fs.tree.getxattr(node, name, NOW) == b"y"
    assert list(fs.tree.listxattr(node, NOW)) == [name]
    assert fs.listdir(b"dir") == [b"file", b"sub"]
    escaped = f"{prefix}.overlay.overlay.opaque"
    own = f"{prefix}.overlay.origin"
    assert sorted(os.listxattr(full.upper / "dir")) == [own, escaped]


def test_a_listing_that_is_being_read_is_not_disturbed(full):
    for n in range(300):
        full.below.write(b"dir/%d" % n, b"", 0)
    fs = full.serve()
    node = fs.node(b"dir")
    handle = fs.tree.opendir(node, 0, NOW).handle
    first = list(fs.tree.readdir(node, handle, 0, NOW))[:100]
    for n in range(0, 300, 2):
        fs.unlink(b"dir/%d" % n)
    fs.write(b"dir/new", b"", 0)
    rest = list(fs.tree.readdir(node, handle, first[-1].offset, NOW))
    names = [e.name for e in first + rest]
    assert len(names) == len(set(names)) == 304
    assert list(fs.tree.readdir(node, handle, rest[-1].offset, NOW)) == []
    again = {e.name for e in fs.tree.readdir(node, handle, 0, NOW)}
    assert len(again) == 155
    assert b"new" in again


def test_a_file_without_a_name_gets_one(full):
    fs = full.serve()
    entry, opened = fs.tree.tmpfile(fs.node(b"dir"), 0o640, os.O_RDWR, NOW)
    handle = fs.took(entry), opened.handle
    fs.pwrite(handle, b"found", 0)
    assert fs.fstat(handle).st_nlink == 0
    fs.tree.link(handle[0], fs.node(b"dir"), b"named", NOW)
    fs.close(handle)
    assert (fs.read(b"dir/named"), fs.lstat(b"dir/named").st_nlink) == (b"found", 1)


def test_descriptors_are_few_whatever_the_size_of_the_tree(full):
    for n in range(600):
        full.below.mkdir(b"dir/%d" % n, 0o755)
        full.below.write(b"dir/%d/file" % n, b"x", 0)
    fs = full.serve()
    before = len(os.listdir("/proc/self/fd"))
    for n in range(600):
        assert fs.lstat(b"dir/%d/file" % n).st_size == 1
    assert len(os.listdir("/proc/self/fd")) < before + 300
    fs.forget_all()
    assert len(fs.tree._union.nodes) == 1


def test_paths_deeper_than_the_interpreter_recurses(full):
    fs = full.serve()
    node = fs.node(b"dir")
    for _ in range(1500):
        node = fs.took(fs.tree.mkdir(node, b"d", 0o755, NOW))
    entry, opened = fs.tree.create(node, b"file", 0o644, os.O_RDWR, NOW)
    fs.close((fs.took(entry), opened.handle))
    fs.tree._union._directories.clear()
    assert fs.tree.getattr(entry.node, None, NOW).size == 0
    fs.forget_all()
    assert len(fs.tree._union.nodes) == 1
    subprocess.run(["rm", "-rf", full.upper / "dir"], check=True)  # Python's would recurse


def test_two_servers_do_not_share_a_layer(full):
    full.serve()
    with pytest.raises(OSError, match="in use") as caught:
        full.overlay()
    assert caught.value.errno == errno.EBUSY


def test_leftovers_of_a_dead_server_are_removed(full):
    (full.work / "viewos").mkdir()
    (full.work / "viewos/#1").mkdir()
    (full.work / "viewos/#1/half").write_text("done")
    full.serve()
    assert os.listdir(full.work / "viewos") == []


def test_merge_shows_the_upper_and_changes_the_lower(full):
    (full.upper / "file").write_text("above")
    (full.upper / "dir").mkdir()
    (full.upper / "dir/above").write_text("a")
    before = uppers(full)
    fs = full.serve("merge")
    assert fs.read(b"file") == b"above"
    assert fs.listdir(b"dir") == [b"above", b"file", b"sub"]
    for operation, *args in (
        ("unlink", b"file"), ("write", b"file", b"x", 0), ("chmod", b"file", 0o600),
        ("truncate", b"file", 0), ("rename", b"file", b"new"), ("rename", b"dir/file", b"file"),
        ("unlink", b"dir/above"), ("setxattr", b"file", "user.a", b"1"),
    ):  # fmt: skip
        assert code_of(getattr(fs, operation), *args) == errno.EROFS, (operation, args)
    fs.write(b"dir/file", b"+", os.O_APPEND)
    fs.write(b"dir/new", b"new", 0)
    fs.rename(b"dir/new", b"newer")
    fs.unlink(b"link")
    assert (full.lower / "dir/file").read_bytes() == b"below+"
    assert (full.lower / "newer").read_bytes() == b"new"
    assert not (full.lower / "link").is_symlink()
    assert uppers(full) == before


def test_exceptions_are_the_real_tree(full):
    fs = full.serve(excepts=[b"/dir/sub"])
    fs.write(b"dir/sub/deep", b"er", os.O_APPEND)
    fs.write(b"dir/sub/new", b"new", 0)
    assert (full.lower / "dir/sub/deep").read_bytes() == b"deeper"
    assert (full.lower / "dir/sub/new").read_bytes() == b"new"
    assert code_of(fs.rename, b"dir/sub/new", b"dir/new") == errno.EXDEV
    assert code_of(fs.rename, b"dir", b"moved") == errno.EBUSY
    assert uppers(full) == []
    fs.write(b"dir/file", b"", os.O_TRUNC)
    assert uppers(full) == ["dir", "dir/file"]
    assert fs.listdir(b"dir") == [b"file", b"sub"]


def test_layers_stack(full):
    fs = full.serve()
    fs.unlink(b"file")
    fs.write(b"dir/middle", b"middle", 0)
    full.end()
    top, work = full.root / "top", full.root / "topwork"
    top.mkdir()
    work.mkdir()
    fds = [os.open(path, os.O_PATH) for path in (top, full.upper, full.lower, work)]
    full.served.append(type(fs)(Overlay(fds, mode="cow", uppers=2)))
    fs = full.served[-1]
    assert fs.listdir(b"") == [b"dir", b"link"]
    fs.write(b"dir/middle", b"!", os.O_APPEND)
    fs.unlink(b"dir/file")
    assert fs.listdir(b"dir") == [b"middle", b"sub"]
    assert (full.upper / "dir/middle").read_bytes() == b"middle"
    assert (top / "dir/middle").read_bytes() == b"middle!"


def test_looking_at_everything_changes_nothing(full):
    before = snapshot(full.below)
    times = {p: p.stat().st_atime_ns for p in full.lower.rglob("*") if p.is_file()}
    fs = full.serve()
    alike(snapshot(fs), before)
    assert uppers(full) == []
    assert times == {p: p.stat().st_atime_ns for p in times}


def test_what_is_not_known_is_stale(full):
    fs = full.serve()
    assert code_of(fs.tree.getattr, 12345, None, NOW) == errno.ESTALE
    assert code_of(fs.tree.mkdir, ROOT, b"x" * 256, 0o755, NOW) == errno.ENAMETOOLONG
