"""Kills at random moments while a build, sqlite3, pipelines and threads run: the short storm.

The long one is scripts/soak-live.
"""

from __future__ import annotations

from helpers.alike import needs
from helpers.storm import Storm


def test_programs_in_a_storm_of_kills_have_the_output_of_a_quiet_run():
    needs("gcc", "sqlite3")
    quiet, loud = Storm.run(0, 0, seed=3), Storm.run(10, 0, seed=3)
    assert loud.output == quiet.output
    assert (loud.killed, quiet.killed) == (10, 0)
    assert (loud.status, quiet.status) == (0, 0)
    lines = loud.output.splitlines()
    assert [line.split()[0] for line in lines] == ["build", "database", "pipeline", "calls"]
    assert all("status 0" in line for line in lines[:3])
    assert lines[3] == "calls {True}"
    assert "supervisor 11 of its view takes over" in loud.log
    assert "Traceback" not in loud.log
