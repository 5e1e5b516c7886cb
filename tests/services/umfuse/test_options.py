"""Options to a command line."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewos_umfuse.options import command, parse, shown
from viewos_umfuse.programs import ARCHIVE, PROGRAMS, Program

ME = (1000, 1000)
PLAIN = Program("prog", "", image=False, everybody=False)


def line(type: str, *options: tuple[str, str], owner: tuple[int, int] = ME) -> str:
    return shown(command(PROGRAMS[type], parse(options), "SRC", "DST", owner))


def test_an_image_is_read_unless_rw_is_said():
    assert line("umfuseext2") == "fuse2fs -f -o fakeroot,ro SRC DST"
    assert line("umfuseext2", ("rw", "")) == "fuse2fs -f -o fakeroot,uid=1000,gid=1000,rw SRC DST"
    assert line("umfuseext2", ("rw+", ""), owner=(0, 0)) == (
        "fuse2fs -f -o fakeroot,rw,allow_other SRC DST"
    )
    assert line("umfuseext2", ("rw", ""), ("ro", "")) == line("umfuseext2", ("ro", ""))


def test_the_owner_is_said_once():
    words = line("umfuseext2", ("rw", ""), ("fuseuid", "7"))
    assert words == "fuse2fs -f -o uid=7,fakeroot,gid=1000,rw SRC DST"


def test_programs_order_their_words_as_they_want_them():
    assert line("umfuseiso9660") == "fuseiso -n SRC DST -f -o ro"
    assert line("umfusessh") == "sshfs -f SRC DST"
    assert line("umfusentfs") == "ntfs-3g -o no_detach,no_def_opts,silent,ro SRC DST"


def test_pre_post_format_and_nosource_make_any_command_line():
    options = [("pre", "-a 'b c'"), ("post", "z"), ("format", "%M x %S %O"), ("opt", "v,w")]
    wish = parse(options)
    assert command(PLAIN, wish, "SRC", "DST", ME) == [
        "prog", "-a", "b c", "DST", "x", "SRC", "-f", "-o", "opt=v\\,w", "z",
    ]  # fmt: skip
    assert command(PLAIN, parse([("nosource", "")]), "SRC", "DST", ME) == ["prog", "-f", "DST"]


def test_debug_and_human_are_libfuses_words():
    wish = parse([("debug", ""), ("human", "")])
    assert command(ARCHIVE, wish, "S", "D", ME) == [
        "archivemount", "-f", "-d", "-o", "ro,default_permissions", "S", "D",
    ]  # fmt: skip


def test_what_means_nothing_here_is_taken():
    assert line("umfusesquashfs", ("hard_remove", ""), ("permanent", "")) == line("umfusesquashfs")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("format", "%O %S", "without %M"),
        ("format", "%M %X", "no %X"),
        ("pre", "'", "quotation"),
        ("prog", "", "without a value"),
        ("fuseuid", "me", "no number"),
    ],
)
def test_nonsense_is_einval_in_words(name: str, value: str, why: str):
    with pytest.raises(OSError, match=why) as caught:
        parse([(name, value)])
    assert caught.value.errno == errno.EINVAL


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8))), st.booleans())
def test_any_options_are_a_command_line_or_einval(options: list[tuple[str, str]], readonly: bool):
    try:
        wish = parse(options, readonly=readonly)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return
        raise
    words = command(PLAIN, wish, "SRC", "DST", ME)
    assert words[0] == "prog"
    assert "DST" in words
