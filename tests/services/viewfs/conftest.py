"""A small tree, a user and a view over it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import User, remove
from viewosd.testing.space import FakeSpace

# A node of our own where only root may open the machine's, in a namespace of the test's own.
FUSE = """
mount -t tmpfs none "$1" && mknod "$1/fuse" c 10 229 && chmod 666 "$1/fuse" &&
mount --bind "$1/fuse" /dev/fuse && shift && exec "$@"
"""


BIN = Path(sys.executable).parent


class Seat:
    """Somebody with a directory.

    Attributes:
        place: theirs; it holds ``a`` (``secret``, ``public``, ``sub/inner``) and ``b`` (``other``).
        foreign: what belongs to root, with a file ``f``.
    """

    def __init__(self, user: User, place: Path) -> None:
        self.user, self.place = user, place
        self.a, self.b, self.foreign = place / "a", place / "b", place / "foreign"
        (self.a / "sub").mkdir(parents=True)
        (self.a / "sub" / "inner").write_text("inner\n")
        (self.a / "secret").write_text("secret\n")
        (self.a / "public").write_text("public\n")
        self.b.mkdir()
        (self.b / "other").write_text("other\n")
        for name in ("data", "home", "device"):
            (place / name).mkdir()
        if os.geteuid() == 0:
            for path in (place, *place.rglob("*")):
                os.chown(path, user.uid, user.uid)
        self.foreign.mkdir()
        (self.foreign / "f").write_text("foreign\n")
        self.environment = user.environment | {
            "XDG_DATA_HOME": str(place / "data"),
            "HOME": str(place / "home"),
        }
        # The other commands lie beside viewos-run.
        self.environment["PATH"] = f"{BIN}:{user.environment['PATH']}"

    @property
    def layers(self) -> Path:
        """Where kept layers are."""
        return self.place / "data" / "viewos" / "layers"

    def own(self, path: Path) -> Path:
        """A new directory of theirs."""
        path.mkdir()
        if os.geteuid() == 0:
            os.chown(path, self.user.uid, self.user.uid)
        return path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """viewos-run with these words; it works in `place`."""
        private: list[str] = []
        if os.geteuid() == 0:
            private = ["unshare", "-m", "--propagation", "private", "sh", "-c", FUSE, "sh"]
            private.append(str(self.place / "device"))
        return subprocess.run(
            [*private, *self.user.prefix, *self.user.viewos_run, "--no-rc", *words],
            cwd=self.place,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=100,
        )

    def lines(self, *words: str) -> list[str]:
        """What a shell prints, run with options: the last word is its script."""
        *options, script = words
        done = self.run(*options, "--", "sh", "-c", script)
        assert done.stderr == "", done.stderr
        return done.stdout.splitlines()

    def refused(self, *words: str) -> str:
        """The line that says why a view was not begun."""
        done = self.run(*words, "--", "echo", "ran")
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr.count("\n") == 1
        return done.stderr.rstrip("\n")


def seated(user: User, scratch: Path) -> Iterator[Seat]:
    if os.geteuid() and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs /dev/fuse")
    if user.python != [sys.executable]:
        pytest.skip("another user can't execute the commands where they lie")
    place = Path(tempfile.mkdtemp(prefix="viewfs-", dir=scratch))
    place.chmod(0o755)
    yield Seat(user, place)
    remove(place)


@pytest.fixture
def seat(user: User, scratch: Path) -> Iterator[Seat]:
    """Whoever runs the tests, and as root an ordinary user as well."""
    yield from seated(user, scratch)


@pytest.fixture
def my_seat(me: User, scratch: Path) -> Iterator[Seat]:
    """Whoever runs the tests."""
    yield from seated(me, scratch)


@pytest.fixture
def nobodys_seat(nobody: User, scratch: Path) -> Iterator[Seat]:
    """An ordinary user."""
    yield from seated(nobody, scratch)


@pytest.fixture
def space() -> Iterator[FakeSpace]:
    fake = FakeSpace()
    yield fake
    fake.close()
