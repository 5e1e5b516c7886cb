"""Programs that make calls of many kinds, one after the other: all their output must agree."""

from __future__ import annotations

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
