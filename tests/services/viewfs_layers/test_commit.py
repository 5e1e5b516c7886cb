"""Commits: what the view showed is there for real, or nothing was changed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from helpers.layer import Tree, listing, write
from viewos_viewfs.layers import LayerError, Refused, commit, discard
from viewos_viewfs.layers.entry import VIRTUAL


def run(tree: Tree, *paths: str, **options):
    return commit(tree.as_layer(), str(tree.target), list(paths) or None, **options)


@pytest.fixture
def old(tree: Tree) -> Tree:
    """A target that is older than everything in its layer."""
    for path in ("keep", "mod", "gone", "d/gone", "d/e/gone", "typed/a", "file"):
        write(tree.target / path, path)
    tree.later()
    return tree


def test_a_commit_makes_the_target_what_the_view_showed_and_empties_the_layer(old: Tree):
    write(old.upper / "mod", "new")
    write(old.upper / "new/deep", "x")
    old.whiteout("gone")
    old.opaque("d")
    write(old.upper / "d/f", "f")
    write(old.upper / "typed", "was a directory")
    write(old.upper / "file/in", "was a file")
    (old.upper / "link").symlink_to("/etc/passwd")
    run(old)
    assert listing(old.target) == {
        "keep": "keep", "mod": "new", "new": "drwxr-xr-x", "new/deep": "x", "d": "drwxr-xr-x",
        "d/f": "f", "typed": "was a directory", "file": "drwxr-xr-x", "file/in": "was a file",
        "link": "-> /etc/passwd",
    }  # fmt: skip
    assert old.told() == {}
    assert os.listdir(old.upper) == []


def test_a_commit_of_some_paths_leaves_the_others_in_the_layer(old: Tree):
    write(old.upper / "mod", "new")
    write(old.upper / "n/a", "a")
    write(old.upper / "n/b", "b")
    old.whiteout("gone")
    run(old, "n/a", "gone")
    assert old.told() == {"mod": "modified", "n/b": "added"}
    assert listing(old.target / "n") == {"a": "a"}
    assert not (old.target / "gone").exists()
    with pytest.raises(LayerError, match="nothing has changed at keep"):
        run(old, "keep")
    run(old)
    assert listing(old.target / "n") == {"a": "a", "b": "b"}


def test_an_opaque_directory_hides_until_all_of_it_is_committed(old: Tree):
    old.opaque("d")
    write(old.upper / "d/f", "f")
    write(old.upper / "d/g", "g")
    run(old, "d/f")
    assert old.told() == {
        "d/e": "deleted",
        "d/e/gone": "deleted",
        "d/gone": "deleted",
        "d/g": "added",
    }
    run(old)
    assert listing(old.target / "d") == {"f": "f", "g": "g"}
    assert old.told() == {}


def test_permissions_times_and_extended_attributes_are_kept(old: Tree):
    write(old.upper / "tool", "x", 0o4755)
    write(old.upper / "dir/f", "x")
    (old.upper / "dir").chmod(0o1777)
    os.setxattr(old.upper / "tool", "user.note", b"n")
    for path in ("tool", "dir"):
        os.utime(old.upper / path, ns=(1_000_000_007, 2_000_000_009))
    run(old)
    for path, mode in (("tool", 0o4755), ("dir", 0o1777)):
        st = (old.target / path).stat()
        assert (stat.S_IMODE(st.st_mode), st.st_mtime_ns) == (mode, 2_000_000_009)
    assert os.listxattr(old.target / "tool") == ["user.note"]


def test_an_access_control_list_is_kept_and_one_of_the_directory_is_not_inherited(old: Tree):
    acl = bytes.fromhex("02000000" "01000600ffffffff" "0200040007000000" "04000400ffffffff"
                        "10000600ffffffff" "20000000ffffffff")  # fmt: skip
    write(old.upper / "f", "x")
    write(old.upper / "plain", "x")
    try:
        os.setxattr(old.upper / "f", "system.posix_acl_access", acl)
        os.setxattr(old.target, "system.posix_acl_default", acl)
        os.setxattr(old.upper, "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("the file system has no access control lists")
    mode = (old.upper / "f").stat().st_mode
    run(old)
    assert os.getxattr(old.target / "f", "system.posix_acl_access") == acl
    assert (old.target / "f").stat().st_mode == mode
    assert os.listxattr(old.target / "plain") == []


def test_holes_stay_holes(old: Tree):
    with open(old.upper / "sparse", "wb") as file:
        file.seek(1 << 20)
        file.write(b"x")
        file.truncate(1 << 28)
    run(old)
    st = (old.target / "sparse").stat()
    assert st.st_size == 1 << 28
    assert st.st_blocks * 512 < 1 << 20


def test_names_of_one_file_are_names_of_one_file(old: Tree):
    write(old.upper / "d/one", "x")
    for name in ("d/two", "three"):
        (old.upper / name).hardlink_to(old.upper / "d/one")
    run(old, "d/one")
    assert (old.target / "d/one").stat().st_nlink == 1
    run(old)
    assert {(old.target / p).stat().st_ino for p in ("d/two", "three")} == {
        (old.target / "d/one").stat().st_ino
    }


def test_a_linked_name_whose_first_is_left_out_is_a_file_of_its_own(old: Tree):
    write(old.upper / "a", "x")
    for name in ("b", "c"):
        (old.upper / name).hardlink_to(old.upper / "a")
    run(old, "b", "c")
    assert (old.target / "b").stat().st_ino == (old.target / "c").stat().st_ino
    assert not (old.target / "a").exists()
    run(old)  # what it has made itself is no conflict
    assert {(old.target / name).stat().st_nlink for name in "abc"} == {3}


def test_a_fifo_is_made_and_a_socket_is_named(old: Tree):
    import socket

    os.mkfifo(old.upper / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as sock:
        directory = os.open(old.upper, os.O_RDONLY)
        sock.bind(f"/proc/self/fd/{directory}/sock")
        os.close(directory)
    done = run(old)
    assert done.skipped == ["sock"]
    assert stat.filemode((old.target / "fifo").lstat().st_mode) == "prw-r-----"
    assert old.told() == {"sock": "added"}


def test_a_link_in_the_targets_way_is_not_followed(old: Tree, tmp_path: Path):
    away = tmp_path / "away"
    away.mkdir()
    write(old.upper / "d/f", "f")
    (old.target / "d").rename(tmp_path / "d")
    (old.target / "d").symlink_to(away)
    with pytest.raises(Refused):
        run(old)
    assert os.listdir(away) == []


@pytest.mark.parametrize("way", ["changed", "made", "deleted file"])
def test_what_was_changed_outside_is_named_and_nothing_is_done(old: Tree, way: str):
    write(old.upper / "other", "x")
    if way == "changed":
        write(old.upper / "mod", "view")
        old.later()
        write(old.target / "mod", "outside")
        named = "mod"
    elif way == "made":
        write(old.upper / "fresh", "view")
        old.later()
        write(old.target / "fresh", "outside")
        named = "fresh"
    else:
        old.whiteout("gone")
        old.later()
        write(old.target / "gone", "outside")
        named = "gone"
    before = listing(old.target)
    with pytest.raises(Refused) as caught:
        run(old)
    assert [path for path, _ in caught.value.reasons] == [named]
    assert caught.value.conflicts
    assert listing(old.target) == before
    run(old, force=True)
    assert old.told() == {}


def refused(tree: Tree) -> list[str]:
    """Paths that a commit names."""
    with pytest.raises(Refused) as caught:
        run(tree)
    assert caught.value.conflicts
    return [path for path, _ in caught.value.reasons]


@pytest.mark.parametrize("way", ["changed", "deleted"])
def test_an_empty_directory_put_outside_where_a_file_was_is_a_conflict(old: Tree, way: str):
    if way == "changed":
        write(old.upper / "mod", "view")
    else:
        old.whiteout("mod")
    old.later()
    (old.target / "mod").unlink()
    (old.target / "mod").mkdir()
    assert refused(old) == ["mod"]
    run(old, force=True)
    assert old.told() == {}


def test_a_directory_deleted_outside_in_which_the_view_changed_something_is_a_conflict(old: Tree):
    write(old.upper / "d/f", "f")
    write(old.upper / "made/f", "f")
    prefix = "trusted" if os.geteuid() == 0 else "user"
    os.setxattr(old.upper / "d", f"{prefix}.overlay.origin", b"")  # copied, as overlayfs says it
    run(old, "made")
    shutil.rmtree(old.target / "d")
    assert refused(old) == ["d"]
    run(old, force=True)
    assert listing(old.target / "d") == {"f": "f"}


def test_a_file_made_outside_in_a_directory_that_the_view_deleted_is_a_conflict(old: Tree):
    old.whiteout("d")
    old.later()
    write(old.target / "d/e/precious", "x")
    with pytest.raises(Refused) as caught:
        run(old)
    assert [path for path, _ in caught.value.reasons] == ["d/e/precious"]


def test_something_made_outside_in_a_directory_is_no_conflict_with_its_permissions(old: Tree):
    write(old.upper / "d/f", "f")
    (old.upper / "d").chmod(0o700)
    old.later()
    write(old.target / "d/outside", "x")
    run(old)
    assert listing(old.target / "d").keys() == {"e", "e/gone", "f", "gone", "outside"}
    assert stat.S_IMODE((old.target / "d").stat().st_mode) == 0o700


def test_a_mounted_layer_is_left_alone_and_can_be_committed_again(old: Tree):
    write(old.upper / "mod", "one")
    write(old.upper / "new/f", "f")
    run(old, mounted=True)
    assert old.told() == {}
    assert sorted(os.listdir(old.upper)) == ["mod", "new"]
    old.later()
    (old.upper / "mod").write_text("two")
    (old.upper / "new/f").unlink()  # the view deletes it: overlayfs knows of nothing below
    assert old.told() == {"mod": "modified", "new/f": "deleted"}
    run(old, mounted=True)
    assert listing(old.target / "new") == {}
    assert (old.target / "mod").read_text() == "two"
    old.later()
    (old.target / "mod").write_text("outside")
    (old.upper / "mod").write_text("three")
    with pytest.raises(Refused):
        run(old, mounted=True)
    run(old, force=True)
    assert os.listdir(old.upper) == []


def test_a_layer_that_lay_on_others_goes_on_hiding_them(old: Tree):
    meta = json.loads((old.layer / "meta.json").read_text())
    (old.layer / "meta.json").write_text(json.dumps(meta | {"on": ["base"]}))
    write(old.upper / "mod", "new")
    old.whiteout("of base")
    run(old)
    assert (old.target / "mod").read_text() == "new"
    assert sorted(os.listdir(old.upper)) == ["mod", "of base"]
    assert old.told() == {}


def test_a_full_disk_is_found_before_anything_is_changed(old: Tree, monkeypatch):
    write(old.upper / "mod", "x" * 100_000)
    full = os.statvfs_result((4096, 4096, 100, 3, 3, 100, 100, 100, 0, 255))
    monkeypatch.setattr(os, "fstatvfs", lambda fd: full)
    with pytest.raises(Refused, match="needs") as caught:
        run(old)
    assert caught.value.reasons == [("", "needs 100 KiB on its file system, which has 12")]


@pytest.mark.parametrize("at", ["make", "copy", "fsync", "rename"])
def test_a_disk_that_is_full_all_the_same_leaves_everything_as_it_is(old: Tree, at: str):
    write(old.upper / "mod", "new")
    old.whiteout("gone")
    before = listing(old.target)

    def step(what: str) -> None:
        if what == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space") as caught:
        run(old, step=step)
    assert caught.value.filename == "mod"
    assert listing(old.target) == before
    assert old.told() == {"gone": "deleted", "mod": "modified"}
    run(old)
    assert old.told() == {}


def test_a_directory_that_cannot_be_written_to_itself_can_be_committed(old: Tree):
    write(old.upper / "ro/f", "f")
    (old.upper / "ro").chmod(0o555)
    run(old)
    assert stat.S_IMODE((old.target / "ro").stat().st_mode) == 0o555
    assert old.told() == {}


def test_two_commits_at_once_are_one_too_many(old: Tree):
    write(old.upper / "mod", "x")
    layer = old.as_layer()
    with layer.held(alone=False), pytest.raises(LayerError, match="being committed"):
        commit(layer, str(old.target))


def test_a_discarded_layer_leaves_nothing_behind(old: Tree):
    write(old.upper / "a/b", "x")
    (old.layer / "work/work").mkdir()
    (old.layer / "work/work").chmod(0)
    (old.upper / "a").chmod(0)
    discard(old.as_layer())
    assert not old.layer.exists()
    with pytest.raises(LayerError, match="no layer"):
        discard(old.as_layer())


def test_a_layer_in_use_is_not_discarded(old: Tree):
    from viewos_viewfs.layers.store import hold

    fd = hold(str(old.layer))
    try:
        with pytest.raises(LayerError, match="a view has it mounted"):
            discard(old.as_layer())
    finally:
        os.close(fd)
    discard(old.as_layer())


@pytest.mark.root
def test_root_commits_virtual_owners_and_devices(old: Tree):
    write(old.upper / "mod", "x")
    os.setxattr(old.upper / "mod", VIRTUAL, b"mode=0104711 uid=7 gid=8")
    write(old.upper / "null")
    os.setxattr(old.upper / "null", VIRTUAL, b"mode=020666 rdev=1:3")
    run(old)
    st = (old.target / "mod").stat()
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o4711, 7, 8)
    assert (old.target / "null").stat().st_rdev == os.makedev(1, 3)


@pytest.mark.root
def test_file_capabilities_are_kept(old: Tree):
    write(old.upper / "ping", "x", 0o755)
    capability = bytes.fromhex("0100000200200000" + "00" * 12)
    os.setxattr(old.upper / "ping", "security.capability", capability)
    run(old)
    assert os.getxattr(old.target / "ping", "security.capability") == capability


@pytest.mark.root
def test_a_mount_point_outside_is_refused_in_words(tmp_path: Path):
    code = (
        "import sys; from helpers.layer import *; from pathlib import Path\n"
        "from viewos_viewfs.layers.__main__ import main\n"
        "tree = Tree(Path(sys.argv[1])); write(tree.target / 'm/a'); write(tree.upper / 'm/a', 'x')\n"
        "import subprocess\n"
        "subprocess.run(['mount', '-t', 'tmpfs', 'none', tree.target / 'm'], check=True)\n"
        "sys.exit(main(['commit', '--layer', str(tree.layer)]))\n"
    )
    import sys

    tests = Path(__file__).resolve().parents[2]
    words = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", code, tmp_path]
    done = subprocess.run(words, cwd=tests, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "it is a mount point outside" in done.stderr
