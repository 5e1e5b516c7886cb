"""Options, flags and mountinfo: what mounting reads, and puts together again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewosd.abi import mount as abi
from viewosd.runtime.mounting import flags, mountinfo, options

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0="), min_size=1, max_size=8)


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=6))
def test_options_that_are_put_together_are_split_again(given):
    assert options.split(options.join(given)) == given


@given(st.binary(max_size=60))
def test_any_bytes_can_be_split_and_none_gets_lost(data):
    found = options.split(data)
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in found)
    assert options.split(options.join(found)) == [one for one in found if one != ("", "")]


@given(st.binary(max_size=40).filter(lambda b: b"permanent" not in b))
def test_taking_an_option_out_that_is_not_there_changes_nothing(data):
    assert options.take(data, "permanent") == (data, False)


@pytest.mark.parametrize(
    ("data", "left", "there"),
    [
        (b"permanent", b"", True),
        (b"a=1,permanent,b", b"a=1,b", True),
        (b"permanent=1", b"permanent=1", False),
        (rb"lowerdir=a\,permanent", rb"lowerdir=a\,permanent", False),
        (rb"a=\:,permanent", rb"a=\:", True),
        (b"", b"", False),
    ],
)
def test_an_option_is_taken_out_and_the_rest_is_as_it_was_written(data, left, there):
    assert options.take(data, "permanent") == (left, there)


@given(st.lists(TEXTS.filter(bool), min_size=1, max_size=4))
def test_layers_that_are_put_together_are_split_again(paths):
    assert options.layers(":".join(map(options.layer_text, paths))) == paths


@pytest.mark.parametrize("value", ["", "a::b", "a:", ":a"])
def test_data_only_layers_are_refused(value):
    with pytest.raises(ValueError, match="^" + value):
        options.layers(value)


def test_numbers_are_set_only_where_they_are():
    given = [("fd", "3"), ("user_id", "0"), ("x", "")]
    assert options.set_numbers(given, {"user_id": "7", "group_id": "8"}) == [
        ("fd", "3"), ("user_id", "7"), ("x", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (0xC0ED_0000 | abi.MS_RDONLY, abi.MS_RDONLY),
        (0xC0ED_0000 | abi.MS_RELATIME, 0),  # what is above 16 bits is the magic's
        (abi.MS_RELATIME | abi.MS_BIND, abi.MS_RELATIME | abi.MS_BIND),
    ],
)
def test_the_magic_number_of_old_programs_hides_the_high_half(call, meant):
    assert flags.without_magic(call) == meant


@pytest.mark.parametrize(
    ("given", "new", "makes", "source"),
    [
        (0, True, True, False),
        (abi.MS_RDONLY | abi.MS_NOSUID, True, True, False),
        (abi.MS_BIND, False, True, True),
        (abi.MS_BIND | abi.MS_REC, False, True, True),
        (abi.MS_BIND | abi.MS_REMOUNT | abi.MS_RDONLY, False, False, False),
        (abi.MS_REMOUNT, False, False, False),
        (abi.MS_MOVE, False, False, True),
        (abi.MS_MOVE | abi.MS_PRIVATE, False, False, False),  # path_mount() asks in this order
        (abi.MS_SLAVE | abi.MS_REC, False, False, False),
    ],
)
def test_flags_say_what_kind_of_mount_it_is(given, new, makes, source):
    assert flags.is_new(given) is new
    assert flags.makes_a_mount(given) is makes
    assert flags.has_source(given) is source


def test_flags_of_mountpoints_are_attributes_and_back():
    for flag in (
        abi.MS_RDONLY, abi.MS_NOSUID, abi.MS_NODEV, abi.MS_NOEXEC, abi.MS_NODIRATIME,
        abi.MS_NOSYMFOLLOW, abi.MS_NOATIME, abi.MS_STRICTATIME,
    ):  # fmt: skip
        assert flags.from_attributes(flags.attributes(flag)) == flag
    assert flags.attributes(abi.MS_RELATIME | abi.MS_SYNCHRONOUS) == 0
    assert flags.attributes(abi.MS_STRICTATIME | abi.MS_NOATIME) == abi.MOUNT_ATTR_STRICTATIME


def test_words_are_flags_and_later_ones_take_earlier_ones_back():
    words = options.split(b"ro,nosuid,size=4M,rw,rbind,defaults,ro=1,other")
    assert flags.from_words(words) == (
        abi.MS_NOSUID | abi.MS_BIND | abi.MS_REC,
        [("size", "4M"), ("ro", "1"), ("other", "")],
    )


INFO = (
    rb"22 1 0:21 / / rw,relatime shared:1 master:2 - ext4 /dev/root rw" + b"\n"
    rb"30 22 0:33 / /a\040b\134c rw - fuse.viewfs none\011x rw,user_id=0" + b"\n"
    b"noise\n"
    rb"31 30 0:34 /sub /a\040b\134c/d rw - tmpfs x rw" + b"\n"
    rb"40 22 0:35 / /e rw - tmpfs  rw" + b"\n"
)


def test_mountinfo_is_read_with_its_escapes_and_without_noise():
    found = mountinfo.parse(INFO)
    assert list(found) == [22, 30, 31, 40]
    assert found[30].point == b"/a b\\c"
    assert (found[30].type, found[30].source, found[30].device) == (
        "fuse.viewfs", b"none\tx", "0:33",
    )  # fmt: skip
    assert (found[31].parent, found[31].root) == (30, b"/sub")
    assert found[40].source == b""


def test_what_lies_on_a_mount_is_found_however_deep():
    found = mountinfo.parse(INFO)
    assert mountinfo.below(found, 30) == {30, 31}
    assert mountinfo.below(found, 22) == {22, 30, 31, 40}
    assert mountinfo.below(found, 99) == {99}


def test_this_machines_own_mountinfo_is_understood():
    with open("/proc/self/mountinfo", "rb") as file:
        text = file.read()
    assert len(mountinfo.parse(text)) == len(text.splitlines())


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_mountinfo(text):
    mountinfo.parse(text)
