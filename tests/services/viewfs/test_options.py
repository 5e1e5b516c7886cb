"""What a mount of type viewfs may ask for."""

from __future__ import annotations

import errno
from itertools import combinations

import pytest

from viewos_viewfs.options import MODES, Wish, parse


def test_without_a_mode_it_moves():
    assert parse([]) == Wish("move")
    assert parse([], read_only=True) == Wish("ro")
    assert parse([("cow", "")], read_only=True) == Wish("cow")


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_is_an_option(mode):
    assert parse([(mode, "")]).mode == mode
    assert parse([(mode, ""), (mode, "")]).mode == mode


@pytest.mark.parametrize("pair", list(combinations(MODES, 2)), ids=" and ".join)
def test_modes_exclude_each_other(pair):
    with pytest.raises(OSError, match="exclude each other") as caught:
        parse([(mode, "") for mode in pair])
    assert caught.value.errno == errno.EINVAL


def test_exceptions_are_paths_below_the_mountpoint():
    wish = parse([("cow", ""), ("except", "/a/b"), ("except", "c/")])
    assert wish.excepts == (b"a/b", b"c")
    for wrong in ("", "/", "/a/../b", "a//b", "."):
        with pytest.raises(OSError, match="except="):
            parse([("except", wrong)])


def test_layers_are_paths_or_names():
    wish = parse([("cow", ""), ("layer", "/some/where:@kept:other")])
    assert wish.layers == ("/some/where", "kept", "other")
    for wrong in ("", "a:", "@", "a/b", ".hidden", "@../x"):
        with pytest.raises(OSError, match="layer="):
            parse([("cow", ""), ("layer", wrong)])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([("nonsense", "")], "no such option: nonsense"),
        ([("size", "4M")], "no such option: size=4M"),
        ([("vstat", "")], "vstat goes with"),
        ([("hide", ""), ("vstat", "")], "vstat goes with"),
        ([("layer", "x")], "layer= goes with"),
        ([("hide", ""), ("except", "/a")], "nothing shows through"),
        ([("cow", "yes")], "no such option: cow=yes"),
    ],
)
def test_what_makes_no_sense_is_said_in_words(options, why):
    with pytest.raises(OSError, match=why) as caught:
        parse(options)
    assert caught.value.errno == errno.EINVAL


def test_renew_alone_has_no_mode():
    assert parse([("renew", "")]) == Wish("", renew=True)
    assert parse([("renew", ""), ("cow", "")]) == Wish("cow", renew=True)


def test_what_is_the_runtimes_own_is_passed_over():
    assert parse([("permanent", ""), ("defaults", ""), ("hide", "")]) == Wish("hide")
