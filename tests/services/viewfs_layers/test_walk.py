"""What a layer changes, found."""

from __future__ import annotations

import os
import stat

from helpers.layer import Tree, write
from viewos_viewfs.layers.entry import VIRTUAL


def test_an_empty_layer_changes_nothing(tree: Tree):
    write(tree.target / "a", "x")
    assert tree.told() == {}


def test_files_are_added_modified_and_deleted(tree: Tree):
    write(tree.target / "d/old", "x")
    write(tree.target / "d/gone", "x")
    write(tree.upper / "d/old", "y")
    write(tree.upper / "d/new", "z")
    tree.whiteout("d/gone")
    assert tree.told() == {"d/gone": "deleted", "d/new": "added", "d/old": "modified"}


def test_a_copy_that_is_equal_is_no_change_whatever_its_time(tree: Tree):
    write(tree.target / "a", "x")
    write(tree.upper / "a", "x")
    os.utime(tree.upper / "a", ns=(1, 1))
    assert tree.told() == {}


def test_permissions_alone_are_metadata(tree: Tree):
    write(tree.target / "a", "x")
    write(tree.upper / "a", "x", 0o755)
    (change,) = tree.changes()
    assert (change.kind.value, change.details) == ("metadata", ("mode 0644 to 0755",))


def test_extended_attributes_alone_are_metadata_and_those_of_overlays_are_none(tree: Tree):
    write(tree.target / "a", "x")
    write(tree.upper / "a", "x")
    os.setxattr(tree.upper / "a", "user.overlay.origin", b"")
    assert tree.told() == {}
    os.setxattr(tree.target / "a", "user.one", b"1")
    os.setxattr(tree.upper / "a", "user.two", b"2")
    (change,) = tree.changes()
    assert change.details == ("without user.one", "with user.two")


def test_everything_in_a_deleted_directory_is_deleted(tree: Tree):
    write(tree.target / "d/e/f")
    tree.whiteout("d")
    assert tree.told() == dict.fromkeys(["d", "d/e", "d/e/f"], "deleted")


def test_an_opaque_directory_deletes_what_it_does_not_have(tree: Tree):
    for path in ("d/a", "d/b", "d/in/c", "d/in/d"):
        write(tree.target / path)
    tree.opaque("d")
    write(tree.upper / "d/a")
    write(tree.upper / "d/in/c")
    assert tree.told() == {"d/b": "deleted", "d/in/d": "deleted"}


def test_another_type_is_said_and_what_was_below_is_deleted(tree: Tree):
    write(tree.target / "d/f")
    write(tree.target / "f")
    write(tree.upper / "d")
    write(tree.upper / "f/g")
    assert tree.told() == {"d": "type", "d/f": "deleted", "f": "type", "f/g": "added"}


def test_a_whiteout_may_be_an_empty_file_with_a_mark(tree: Tree):
    write(tree.target / "a", "x")
    write(tree.upper / "a")
    os.setxattr(tree.upper / "a", "user.overlay.whiteout", b"")
    assert tree.told() == {"a": "deleted"}


def test_a_whiteout_over_nothing_is_no_change(tree: Tree):
    tree.whiteout("a")
    assert tree.told() == {}


def test_symbolic_links_are_compared_by_their_text_and_never_followed(tree: Tree):
    for name, text in (("same", "/etc"), ("other", "/nonexistent")):
        (tree.target / name).symlink_to("/etc")
        (tree.upper / name).symlink_to(text)
    write(tree.upper / "in/f")
    (tree.target / "in").symlink_to("/etc")
    assert tree.told() == {"other": "modified", "in": "type", "in/f": "added"}


def test_two_names_of_one_file_are_told_with_the_first(tree: Tree):
    write(tree.target / "a", "x")
    write(tree.target / "b", "x")
    write(tree.upper / "a", "x")
    for name in ("b", "c"):
        (tree.upper / name).hardlink_to(tree.upper / "a")
    links = {change.path: change.link for change in tree.changes()}
    assert links == {"b": "a", "c": "a"}
    (tree.target / "b").unlink()
    for name in ("b", "c"):
        (tree.target / name).hardlink_to(tree.target / "a")
    assert tree.told() == {}


def test_virtual_attributes_count_and_not_those_of_the_file_that_bears_them(tree: Tree):
    write(tree.target / "a", "x")
    write(tree.upper / "a", "x", 0o600)
    st = (tree.target / "a").stat()
    os.setxattr(tree.upper / "a", VIRTUAL, f"mode=0{st.st_mode:o}".encode())
    assert tree.told() == {}
    os.setxattr(tree.upper / "a", VIRTUAL, b"mode=0100644 uid=7 gid=8")
    (change,) = tree.changes()
    assert change.details == (f"owner {st.st_uid}:{st.st_gid} to 7:8",)


def test_a_regular_file_stands_for_a_device_or_a_link_of_no_user(tree: Tree):
    write(tree.upper / "null")
    os.setxattr(tree.upper / "null", VIRTUAL, b"mode=020666 rdev=1:3")
    write(tree.upper / "link", "/etc/passwd")
    os.setxattr(tree.upper / "link", VIRTUAL, b"mode=0120777")
    device, link = sorted(tree.changes(), key=lambda change: change.path, reverse=True)
    assert (device.entry.type, device.entry.rdev) == (stat.S_IFCHR, os.makedev(1, 3))
    assert link.entry.word == "symlink"
    (tree.target / "link").symlink_to("/etc/passwd")
    assert tree.told() == {"null": "added"}


def test_a_deep_tree_is_walked_to_its_ground(tree: Tree):
    path = "/".join(["d"] * 300)
    write(tree.upper / path / "f")
    assert len(tree.changes()) == 301
