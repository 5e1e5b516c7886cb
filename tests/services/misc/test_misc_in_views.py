"""misc under real programs: what they print, by whichever call they ask."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

FLAGS = [(), ("-static",), ("-m32",), ("-m32", "-static")]


def natively(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def in_view(user, *words: str) -> str:
    done = user.run(*words)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def test_hostname_and_uname_tell_the_views_name_and_all_else_as_outside(user):
    outside = natively("uname", "-a")
    assert outside.count(os.uname().nodename) == 1
    script = "hostname; uname -n; uname -a; cat /proc/sys/kernel/ostype"
    inside = in_view(user, "--hostname", "box", "--", "sh", "-c", script)
    assert inside == f"box\nbox\n{outside.replace(os.uname().nodename, 'box')}Linux\n"


def test_each_field_can_be_given(me):
    given = {"sysname": "Plan", "release": "9", "version": "#4", "machine": "vax"}
    options = [word for n, v in given.items() for word in ("--uname", f"{n}={v}")]
    inside = in_view(me, *options, "--", "uname", "-srvm")
    assert inside == "Plan 9 #4 vax\n"


@pytest.mark.parametrize("flags", FLAGS, ids="".join)
def test_static_and_32_bit_programs_see_it(user, program, flags):
    path = program("names", *flags)
    outside = natively(path)
    assert in_view(user, "--", path) == outside
    inside = in_view(user, "--hostname", "box", "--", path)
    assert inside == outside.replace(os.uname().nodename, "box")
    inside = in_view(user, "-p", "misc,nodename=a-long-name,release=6", "--", path)
    assert "a-long-name" in inside
    if "-m32" in flags:
        assert inside.splitlines()[-1].split()[:3] == ["Linux", "a-long-n", "6"]


def test_busybox_sees_it(user):
    if (busybox := shutil.which("busybox")) is None:
        pytest.skip("needs busybox")
    assert in_view(user, "--hostname", "box", "--", busybox, "hostname") == "box\n"


@pytest.mark.parametrize("words", [["i686"], ["--uname-2.6"], ["i686", "--uname-2.6"]])
def test_a_personality_tells_what_it_tells_outside(user, program, words):
    for flags in ((), ("-m32",)):
        command = ["setarch", *words, program("names", *flags)]
        outside = natively(*command)
        inside = in_view(user, "--hostname", "box", "--", *command)
        assert inside == outside.replace(os.uname().nodename, "box")
    command = ["setarch", *words, "uname", "-r"]
    assert in_view(user, "--uname", "release=9", "--", *command) == "9\n"


def test_a_program_without_rights_changes_it_for_the_whole_view_and_for_it_alone(user, program):
    script = (
        f"{program('names')} set new; (uname -n); hostname; hostname other; uname -n; exec hostname"
    )
    if user.uid != 0:  # hostname(1) looks at nobody's rights, but says so first
        script = script.replace(
            "hostname other", f"{program('names', '-m32')} set other >/dev/null"
        )
    before = os.uname()
    inside = in_view(user, "--hostname", "box", "--", "sh", "-c", script).splitlines()
    assert inside[:2] == ["sethostname: ok", "setdomainname: ok"]
    assert inside[2].split()[1] == "new"
    assert inside[3:] == ["new", "new", "other", "other"]
    assert os.uname() == before


def test_bad_pointers_and_lengths_fail_as_outside(user, program):
    if os.geteuid():
        pytest.skip("needs root, to be told EFAULT and not EPERM outside")
    for flags in ((), ("-m32",)):
        path = program("names", *flags)
        assert in_view(user, "--hostname", "box", "--", path, "bad") == natively(
            "unshare", "--uts", path, "bad"
        )


def test_many_processes_at_once_are_all_told_the_same(me):
    script = "for i in $(seq 40); do (for j in 1 2 3 4 5; do uname -n; done) & done; wait"
    inside = in_view(me, "--hostname", "box", "--", "sh", "-c", script)
    assert inside == "box\n" * 200


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--hostname", "x" * 65], "nodename is longer than 64 bytes"),
        (["-p", "misc,colour=red"], "misc has no option colour"),
        (["-p", "misc", "-p", "misc"], "service misc is already loaded"),
    ],
)
def test_a_bad_option_is_one_line_and_prog_does_not_run(me, words, line):
    done = me.run(*words, "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr.count(b"\n") == 1
    assert line in done.stderr.decode()
