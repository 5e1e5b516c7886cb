"""Real programs under the mirror, which serves most of what they ask for: they must not notice.

The programs are those of the files beside this one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.alike import Alike, needs
from viewosd.testing import services

from . import test_binaries, test_python, test_shells, test_tools, test_tracers
from .test_binaries import go_program as go_program

ALONE = (
    test_binaries.test_a_static_busybox_as_shell_and_tools,
    test_binaries.test_perl_with_files_forks_and_sockets,
    test_binaries.test_node_with_workers_children_and_sockets,
    test_python.test_asyncio_processes_threads_and_signals,
    test_shells.test_a_bash_script_of_many_features,
    test_tools.test_git_makes_commits_clones_and_tells_its_status,
    test_tools.test_make_builds_a_program_with_four_jobs,
    test_tools.test_tar_keeps_attributes_holes_and_links,
    test_tools.test_sqlite_with_two_writers_and_a_log,
    test_tracers.test_a_traced_program_and_its_children_end_as_untraced_ones,
)
COMPILED = (
    test_tracers.test_strace_of_a_pipeline,
    test_tracers.test_gdb_stops_looks_and_changes,
    test_tracers.test_a_program_with_a_filter_of_its_own,
    test_tracers.test_storms_of_threads_forks_and_signals,
)


@pytest.fixture
def mirrored(me, scratch: Path) -> Alike:
    """Whoever runs the tests, in a view with the mirror."""
    return Alike(me, ["-p", f"{services.PATH}:Mirror"], scratch / "work")


@pytest.mark.parametrize("check", ALONE, ids=lambda check: check.__name__[5:])
def test_what_is_installed(mirrored: Alike, check: Callable[[Alike], None]) -> None:
    check(mirrored)


@pytest.mark.parametrize("check", COMPILED, ids=lambda check: check.__name__[5:])
def test_what_is_compiled(
    mirrored: Alike,
    program: Callable[..., str],
    check: Callable[[Alike, Callable[..., str]], None],
) -> None:
    check(mirrored, program)


@pytest.mark.parametrize("options", [("-static",), ("-m32",)], ids="-".join)
def test_other_builds(
    mirrored: Alike, program: Callable[..., str], options: tuple[str, ...]
) -> None:
    test_binaries.test_a_c_program_of_any_build(mirrored, program, options)


def test_a_go_program(mirrored: Alike, go_program: str) -> None:
    test_binaries.test_goroutines_that_are_preempted_by_a_signal(mirrored, go_program)


def test_a_user_namespace_of_its_own(mirrored: Alike) -> None:
    test_tracers.test_namespaces_of_its_own(mirrored, ["unshare", "-Ur", "id", "-u"])


def test_pipelines_while_children_end(mirrored: Alike) -> None:
    # A thousand of them, in other kinds of view: test_shells.py. Here they would take half a minute.
    needs("dash")
    script = "trap : CHLD; i=0; while [ $i -lt 150 ]; do echo $i | cat | tr 0 x >out || exit 1; i=$((i+1)); done; cat out; echo $i"
    mirrored.check("dash", "-c", script)
