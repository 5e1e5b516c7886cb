"""Programs that make calls of many kinds, one after the other: all their output must agree."""

from __future__ import annotations

import glob
import os
import sys

import pytest


@pytest.mark.parametrize("flags", [(), ("-static",), ("-m32",), ("-m32", "-static")], ids=" ".join)
def test_a_program_of_every_width_sees_what_it_made(agree, program, flags):
    outcome = agree(program("hello", *flags))
    assert outcome.status == 3
    assert "entry moved" in outcome.lines


@pytest.mark.parametrize("flags", [(), ("-m32",)], ids=" ".join)
def test_a_directory_of_many_entries_is_listed_in_whole(agree, program, flags):
    names = " ".join(f"entry-{n}" for n in range(600))
    outcome = agree("sh", "-c", f'touch {names}; "$0"', program("hello", *flags))
    listed = {line for line in outcome.lines if line.startswith("entry entry-")}
    assert len(listed) == 600


COUNTS = r""""$@" 2>&1 | sed -nE 's/^(Ran [0-9]+ tests?) in .*/\1/p; /^(OK|FAIL|ERROR)/p'
"""
"""Run a suite of unittest, and tell what ended how; not how long it took."""


@pytest.mark.parametrize("module", ["test_posix", "test_tempfile"])
def test_a_module_of_the_standard_library_passes_its_tests(agree, module):
    place = os.environ.get("PYENV_ROOT", "~/.pyenv") + "/versions/3.11.*/bin/python3"
    for python in (sys.executable, *glob.glob(os.path.expanduser(place))):
        words = [python, "-c", f"import test.{module}"]
        if agree.runner.run(words).status == 0:
            break
    else:
        pytest.skip("this user has no interpreter that ships Python's test suite")
    outcome = agree("sh", "-c", COUNTS, "sh", python, "-m", "unittest", f"test.{module}")
    assert outcome.lines[-1].startswith("OK"), outcome.lines
