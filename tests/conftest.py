"""What tests of every folder use: the command, where views live, and another user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from helpers.files import remove

# No test asserts a time, and none leaves a database of examples behind.
hypothesis.settings.register_profile(
    "house",
    deadline=None,
    database=None,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.differing_executors,
    ],
)
hypothesis.settings.load_profile("house")

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
# What a supervisor imports and is not ours; copied where the other user can't reach it.
_LIBRARIES = (
    "trio", "attr", "attrs", "sortedcontainers", "outcome", "sniffio", "idna", "msgpack", "msgspec",
    "pyseccomp.py", "viewosd-*.dist-info",
)  # fmt: skip


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")


class User:
    """Somebody who runs viewos-run.

    Attributes:
        uid: theirs.
        prefix: words before a command that make it theirs.
        viewos_run: the command, without prefix.
        python: an interpreter that they can execute and that finds our packages.
        environment: what a command of theirs gets.
        runtime_dir: where their views are found.
    """

    def __init__(
        self,
        uid: int,
        prefix: list[str],
        viewos_run: list[str],
        python: list[str],
        runtime_dir: Path,
    ) -> None:
        self.uid, self.prefix, self.viewos_run = uid, prefix, viewos_run
        self.python, self.runtime_dir = python, runtime_dir
        self.environment = os.environ | {"VIEWOS_RUNTIME_DIR": str(runtime_dir)}

    def run(self, *words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
        """Run viewos-run with these words to its end."""
        return subprocess.run(
            [*self.prefix, *self.viewos_run, *words],
            **{"capture_output": True, "env": self.environment, "timeout": 100} | options,
        )

    def start(self, *words: str, **options: object) -> subprocess.Popen[bytes]:
        """Start viewos-run; the process is the keeper itself, prefix or not."""
        return subprocess.Popen(
            [*self.prefix, *self.viewos_run, *words], **{"env": self.environment} | options
        )

    def views(self) -> list[int]:
        """Server ids of the views that have a socket."""
        return sorted(int(p.stem) for p in self.runtime_dir.glob("[0-9]*.sock"))


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory that every user can enter; pytest's own can't be."""
    path = Path(tempfile.mkdtemp(prefix="viewos-test-"))
    path.chmod(0o755)
    yield path
    remove(path)


def _launcher(path: Path, python: str, places: list[Path]) -> list[str]:
    """The console script as pip would write it, for a tree that is not installed."""
    path.write_text(
        f"#!{python}\nimport sys\nsys.path[:0] = {[str(p) for p in places]!r}\n"
        "from viewos_clients.run import main\nmain()\n"
    )
    path.chmod(0o755)
    return [str(path)]


@pytest.fixture(scope="session")
def viewos_run(scratch: Path) -> list[str]:
    """The command: the installed one, or the same from the source tree."""
    script = Path(sys.executable).with_name("viewos-run")
    if script.exists():
        return [str(script)]
    places = [ROOT, ROOT / "clients", ROOT / "services"]
    return _launcher(scratch / "viewos-run", sys.executable, places)


@pytest.fixture
def runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where views are found, for this test alone; set in the environment."""
    path = tmp_path / "views"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("VIEWOS_RUNTIME_DIR", str(path))
    return path


@pytest.fixture
def me(viewos_run: list[str], runtime_dir: Path) -> User:
    """Whoever runs the tests."""
    return User(os.getuid(), [], viewos_run, [sys.executable], runtime_dir)


_AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@pytest.fixture(scope="session")
def _nobodys_command(scratch: Path, viewos_run: list[str]) -> tuple[list[str], list[str]]:
    """viewos-run and an interpreter that uid 65534 can execute: those of the tests where it can
    reach them, else copies.
    """
    if subprocess.run([*_AS_NOBODY, *viewos_run, "-h"], capture_output=True).returncode == 0:
        return viewos_run, [sys.executable]
    packages = scratch / "packages"
    for source in (ROOT / "viewosd", *(ROOT / "clients").glob("*"), *(ROOT / "services").glob("*")):
        shutil.copytree(source, packages / source.name)
    site = Path(pytest.__file__).parent.parent
    for pattern in _LIBRARIES:
        for source in site.glob(pattern):
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, packages / source.name)
    python = os.path.realpath(sys._base_executable)
    return _launcher(scratch / "nobodys-viewos-run", python, [packages]), [python]


@pytest.fixture
def nobody(request: pytest.FixtureRequest, scratch: Path) -> Iterator[User]:
    """Uid 65534, who owns nothing and may do nothing; needs root to become."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    command, python = request.getfixturevalue("_nobodys_command")
    place = Path(tempfile.mkdtemp(prefix="nobody-", dir=scratch))
    os.chown(place, NOBODY, NOBODY)
    user = User(NOBODY, _AS_NOBODY, command, python, place)
    # Of PATH only what they may search: a closed directory there would make "not found" "denied".
    user.environment |= {"HOME": "/nonexistent", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    yield user
    remove(place)


@pytest.fixture(params=["me", "nobody"])
def user(request: pytest.FixtureRequest) -> User:
    """Each in turn: whoever runs the tests, and as root an ordinary user as well."""
    return request.getfixturevalue(request.param)
