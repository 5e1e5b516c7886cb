"""scripts/setup, with the commands that would change the machine replaced by ones that tell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parents[2] / "scripts" / "setup"
PATIENCE = "-qq -o Acquire::http::Timeout=15 -o Acquire::Retries=1"
TELL = 'echo "$(basename $0) $*" >>"$LOG"\n'

Run = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Sets a tree up whose environment is there already; what was said, and what was called."""
    commands, log = tmp_path / "bin", tmp_path / "log"
    commands.mkdir()
    for name in ("sh", "grep", "basename", "env", "cat", "touch"):
        found = next(f"{d}/{name}" for d in os.get_exec_path() if os.access(f"{d}/{name}", os.X_OK))
        (commands / name).symlink_to(found)
    (tmp_path / "pyproject.toml").touch()
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)
    for path in (environment / "bin" / "python", environment / "bin" / "pip"):
        path.write_text("#!/bin/sh\n" + TELL)
        path.chmod(0o755)
    (environment / ".installed-test").touch()

    def setup(*packages: str, **programs: str) -> tuple[str, list[str]]:
        log.write_text("")
        for name, body in programs.items():
            path = commands / name.replace("_", "-")
            path.write_text("#!/bin/sh\n" + body)
            path.chmod(0o755)
        words = ["sh", "-euc", f". {SETUP}; setup test {' '.join(packages)}; echo went on"]
        env = {"PATH": str(commands), "LOG": str(log)}
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("went on\n")
        return done.stdout, log.read_text().splitlines()

    return setup


HAS = 'case "$*" in *missing*) exit 1;; esac\necho install ok installed\n'
"""dpkg-query of a machine where all is installed but what is called missing."""
ROOT, USER = "echo 0\n", "echo 1000\n"
AS_ROOT = TELL + '"$@"\n'


def test_what_is_there_is_left_alone(run: Run) -> None:
    said, called = run("gcc", dpkg_query=HAS, id=USER, apt_get=TELL, sudo=TELL)
    assert (said, called) == ("went on\n", [])


def test_root_installs_what_is_missing_and_nothing_else(run: Run) -> None:
    said, called = run("gcc", "missing", "missing-too", dpkg_query=HAS, id=ROOT, apt_get=TELL)
    assert "not installed yet: missing missing-too" in said
    assert called == [
        f"apt-get update {PATIENCE}",
        f"apt-get install -y {PATIENCE} --no-install-recommends missing missing-too",
    ]


def test_a_user_is_told_what_sudo_is_for(run: Run) -> None:
    said, called = run("missing", dpkg_query=HAS, id=USER, apt_get=TELL, sudo=AS_ROOT)
    assert "all that needs root here, which sudo is asked for" in said
    assert called[0] == f"sudo env DEBIAN_FRONTEND=noninteractive apt-get update {PATIENCE}"
    assert called[-1] == f"apt-get install -y {PATIENCE} --no-install-recommends missing"


def test_without_sudo_the_command_for_root_is_said_and_the_rest_is_done(run: Run) -> None:
    said, called = run("missing", dpkg_query=HAS, id=USER, apt_get=TELL)
    assert (
        "there is no sudo. As root:\n   apt-get install -y --no-install-recommends missing" in said
    )
    assert called == []


@pytest.mark.parametrize("fails", ["update", "install"])
def test_a_failure_of_apt_is_said_and_the_rest_is_done(run: Run, fails: str) -> None:
    broken = f'{TELL}[ "$1" != {fails} ]\n'
    said, called = run("missing", dpkg_query=HAS, id=ROOT, apt_get=broken)
    assert {"update": "as old as they were", "install": "not installed: missing; what"}[
        fails
    ] in said
    assert called[-1].startswith("apt-get install")


def test_elsewhere_than_on_debian_nothing_is_installed(run: Run) -> None:
    said, called = run("missing", id=ROOT)
    assert "no Debian here" in said
    assert called == []


def test_an_environment_that_was_left_half_made_is_made_anew(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin" / "pip").unlink()
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("needs /usr/bin/python3")
    # Its own pip would look for packages: the tree is empty, and that is as far as it need go.
    words = ["sh", "-c", f". {SETUP}; setup test"]
    env = {"PATH": f"{tmp_path}/bin", "LOG": str(tmp_path / "log"), "PIP_NO_INDEX": "1"}
    said = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True).stdout
    assert "a virtual environment in .venv" in said
