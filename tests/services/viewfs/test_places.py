"""The mounts of a view as data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from viewos_viewfs.places import below, joined, other_names, parse, relative

TABLE = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
23 22 0:5 / /proc rw - proc proc rw
24 22 8:2 / /home rw - ext4 /dev/sdb rw
25 24 8:2 /u/pub /srv rw - ext4 /dev/sdb rw
26 22 8:2 / /mnt/with\040space rw - ext4 /dev/sdb rw
27 22 0:40 / /home/u/net rw - fuse.sshfs host: rw
28 24 0:6 / /home/tmp rw - tmpfs none rw
29 28 0:7 / /home/tmp rw - tmpfs again rw
"""
MOUNTS = parse(TABLE)


def test_a_line_is_a_mount():
    assert [m.point for m in MOUNTS][4] == b"/mnt/with space"
    assert (MOUNTS[3].id, MOUNTS[3].parent, MOUNTS[3].device) == (25, 24, b"8:2")
    assert (MOUNTS[3].root, MOUNTS[3].type) == (b"/u/pub", "ext4")


def test_what_shows_the_machine_and_what_is_served_is_not_overlaid():
    assert [m.type for m in MOUNTS if m.pseudo] == ["proc", "fuse.sshfs"]


def test_a_file_has_other_names_where_its_file_system_is_mounted_again():
    assert list(other_names(MOUNTS, 24, b"/home/u/pub/x")) == [
        b"/srv/x",
        b"/mnt/with space/u/pub/x",
    ]
    assert list(other_names(MOUNTS, 25, b"/srv")) == [b"/home/u/pub", b"/mnt/with space/u/pub"]
    assert list(other_names(MOUNTS, 24, b"/home/u/pub2")) == [b"/mnt/with space/u/pub2"]
    assert list(other_names(MOUNTS, 22, b"/etc/passwd")) == []
    assert list(other_names(MOUNTS, 99, b"/etc/passwd")) == []


def test_what_lies_below_comes_outermost_first_and_the_uppermost_alone():
    assert [(p, m.id) for p, m in below(MOUNTS, b"/home")] == [(b"tmp", 29), (b"u/net", 27)]
    assert [p for p, _ in below(MOUNTS, b"/")][:3] == [b"home", b"home/tmp", b"home/u/net"]
    assert below(MOUNTS, b"/srv") == []


names = st.lists(st.sampled_from([b"a", b"b", b"ab"]), max_size=4)


@given(names, names)
def test_a_path_is_relative_to_a_directory_name_by_name(directory, rest):
    top = b"/" + b"/".join(directory)
    path = b"/" + b"/".join([*directory, *rest])
    assert relative(path, top) == b"/".join(rest)
    assert joined(top, b"/".join(rest)) == path
    assert relative(path + b"c", top + b"c") is None or rest == []
