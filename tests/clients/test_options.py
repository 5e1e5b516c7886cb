"""The command line of viewos-run and its profiles, without running anything."""

from __future__ import annotations

import contextlib
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewos_clients.options import USAGE, OptionError, Options, escape


def test_options_end_at_the_program():
    options = Options.parse(["-V", "x", "prog", "-V", "y", "--", "-h"])
    assert options.viewname == "x"
    assert options.argv == ["prog", "-V", "y", "--", "-h"]


def test_two_dashes_end_the_options_and_a_single_one_is_a_program():
    assert Options.parse(["-q", "--", "-h"]).argv == ["-h"]
    assert Options.parse(["-", "-h"]).argv == ["-", "-h"]


@pytest.mark.parametrize(
    "words", [["-Vx"], ["-V", "x"], ["--viewname", "x"], ["--viewname=x"], ["-qVx"]]
)
def test_a_value_can_be_given_in_every_usual_way(words):
    assert Options.parse([*words, "prog"]).viewname == "x"


def test_services_keep_their_order_and_uname_is_one_of_them():
    options = Options.parse(
        ["-p", "a,x=1", "--hostname", "h,1", "-p", "b", "--uname", "sysname=S", "prog"]
    )
    assert options.steps == [
        ("service", "a,x=1"),
        ("service", r"misc,nodename=h\,1,sysname=S"),
        ("service", "b"),
    ]


def test_a_shorthand_is_a_service_and_a_mount_in_the_order_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image").touch()
    here = os.fsencode(tmp_path)
    words = "-p a --hide x --move s d -p b --ro /r --tmpfs /t --bind=s d --hostname h"
    mounts = "--mount proc,hidepid=2 proc /p --mount umfuseext2,ro image /mnt --cow ."
    assert Options.parse([*words.split(), *mounts.split(), "prog"]).steps == [
        ("service", "a"),
        ("service", "viewfs"),
        ("mount", "viewfs", "hide", b"none", here + b"/x"),
        ("mount", "viewfs", "move", here + b"/s", here + b"/d"),
        ("service", "b"),
        ("mount", "viewfs", "ro", b"/r", b"/r"),
        ("mount", "viewfs", "tmpfs", b"none", b"/t"),
        ("mount", "viewfs", "bind", here + b"/s", here + b"/d"),
        ("service", "misc,nodename=h"),
        ("mount", "proc", "hidepid=2", b"proc", b"/p"),
        ("service", "umfuse"),
        ("mount", "umfuseext2", "ro", here + b"/image", b"/mnt"),
        ("mount", "viewfs", "cow", b"none", here),
    ]


def test_a_service_that_was_preloaded_is_not_loaded_again_by_a_shorthand():
    options = Options.parse(["-p", "viewfs,x", "--hide", "/x", "--hide", "/y", "prog"])
    assert [step[:2] for step in options.steps] == [
        ("service", "viewfs,x"), ("mount", "viewfs"), ("mount", "viewfs"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "options"),
    [
        ("/x=/l", "cow,layer=/l"),
        ("/x=@work:/low,er", r"cow,layer=@work:/low\,er"),
        ("/x", "cow"),
    ],
)
def test_a_layer_is_a_directory_or_a_name_or_several(word, options):
    step = Options.parse(["--cow", word, "prog"]).steps[-1]
    assert step == ("mount", "viewfs", options, b"none", b"/x")


def test_a_path_with_an_equals_sign_is_one_where_it_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    assert Options.parse(["--cow", "a=b", "prog"]).steps[-1][-1] == os.fsencode(tmp_path / "a=b")


def test_a_profile_has_the_shorthands_too(tmp_path):
    profile = tmp_path / "p.toml"
    profile.write_text(
        'hide = ["/x", "/y"]\nmove = [["/s", "/d"]]\nmount = [["proc", "proc", "/p"]]\n'
    )
    options = "--hide /x --hide /y --move /s /d --mount proc proc /p"
    words = [*options.split(), "prog"]
    assert Options.parse(["-P", str(profile), "prog"]).steps == Options.parse(words).steps


@given(st.lists(st.text(), min_size=1))
def test_an_escaped_list_of_values_can_be_taken_apart_again(values):
    joined = ",".join(map(escape, values))
    assert [re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in _split(joined)] == values


def _split(text: str) -> list[str]:
    parts, at = [""], 0
    while at < len(text):
        step = 2 if text[at] == "\\" else 1
        if text[at] == ",":
            parts.append("")
        else:
            parts[-1] += text[at : at + step]
        at += step
    return parts


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no program to run"),
        (["-q"], "no program to run"),
        (["--frob", "prog"], "unknown option --frob"),
        (["-Z", "prog"], "unknown option -Z"),
        (["-V"], "-V needs a value"),
        (["--viewname=", "prog"], "--viewname needs a value that is not empty"),
        (["--detach=1", "prog"], "--detach takes no value"),
        (["-V", "a\nb", "prog"], "printable"),
        (["--uname", "colour=red", "prog"], "not FIELD=VALUE"),
        (["--uname", "sysname", "prog"], "not FIELD=VALUE"),
        (["--hide"], "--hide needs a value"),
        (["--move", "/x"], "--move needs 2 values"),
        (["--mount", ",ro", "none", "/x", "prog"], "begins with a type"),
        (["--bind", "/x", "", "prog"], "--bind: an empty word names nothing"),
        (["--cow", "/x=@a:", "prog"], "PATH=LAYER needs both"),
        (["--cow", "/x=", "prog"], "--cow /x=: PATH=LAYER needs both"),
        (["--as-root", "prog"], "--as-root needs the service identity, which is not installed"),
        (["-P", "/nonexistent/p.toml", "prog"], "no profile"),
    ],
)
def test_a_bad_command_line_is_refused_in_one_line(words, told):
    with pytest.raises(OptionError) as caught:
        Options.parse(words)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.lists(st.text(alphabet="-=Vpfxqodsvh,ab \\", max_size=6), max_size=6))
def test_any_command_line_is_understood_or_refused(words):
    with contextlib.suppress(OptionError):
        options = Options.parse(words)
        assert options.show or options.argv


def test_a_profile_says_what_options_say(tmp_path):
    profile = tmp_path / "p.toml"
    profile.write_text('name = "n"\nrc = "/bin/true"\nservices = ["one", "two,x=1"]\n')
    options = Options.parse(["-p", "zero", "-P", str(profile), "-p", "three", "prog"])
    assert (options.viewname, options.rc) == ("n", "/bin/true")
    assert [text for _, text in options.steps] == ["zero", "one", "two,x=1", "three"]


def test_a_profile_is_found_by_its_name_in_the_users_directory(tmp_path, monkeypatch):
    place = tmp_path / ".config/viewos/profiles"
    place.mkdir(parents=True)
    (place / "work.toml").write_text('name = "from-home"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Options.parse(["-P", "work", "prog"]).viewname == "from-home"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name = ", "p.toml: Invalid value"),
        ("colour = 1", "unknown key 'colour'"),
        ("services = 'misc'", "services is a list"),
        ("services = [1]", "services is a list"),
        ("name = 1", "name is a text"),
        ("hide = '/x'", "hide is a list of texts"),
        ("move = ['/x', '/y']", "move is a list of lists of 2 texts"),
        ("foreign = true", "foreign needs the service umbinfmt"),
    ],
)
def test_a_bad_profile_is_refused_with_its_name(tmp_path, text, told):
    profile = tmp_path / "p.toml"
    profile.write_text(text)
    with pytest.raises(OptionError) as caught:
        Options.parse(["-P", str(profile), "prog"])
    assert told in str(caught.value)
    assert str(profile) in str(caught.value)


def test_the_help_names_every_letter():
    for letter in "VpfPdsxqovh":
        assert f"-{letter}, --" in USAGE
