"""Tree servers that are killed, hang or die, and what programs see of it."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuse.trees import errno_of
from helpers.treeservers import TreeServer, at, tree_server
from helpers.waiting import until
from viewosd.fuse import server as fuse_server

pytestmark = pytest.mark.root

REAL = "viewos_umfuse.real:Real"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TreeServer]:
    monkeypatch.setenv("VIEWOS_SUCCESSORS", "1000")
    with tree_server(tmp_path / "log") as started:
        yield started


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A real one, and a descriptor of it."""
    (tmp_path / "real").mkdir()
    fd = os.open(tmp_path / "real", os.O_PATH)
    yield tmp_path / "real", fd
    os.close(fd)


@pytest.fixture
def note(tmp_path: Path) -> str:
    (tmp_path / "note").touch()
    return str(tmp_path / "note")


def test_what_was_open_is_open_in_the_successor(server: TreeServer, directory):
    real, fd = directory
    for number in range(300):
        (real / f"name-{number:03}").touch()
    with at(server.serve(REAL, [fd])) as root:
        with open(root / "name-000", "w+b", 0) as file, os.scandir(root) as listing:
            file.write(b"before")
            (root / "deep" / "er").mkdir(parents=True)
            with open(root / "deep" / "er" / "gone", "w+b", 0) as gone:
                gone.write(b"unlinked")
                os.unlink(root / "deep" / "er" / "gone")
                seen = [next(listing).name for _ in range(20)]
                os.rename(root / "deep", root / "moved")
                for _ in range(3):
                    server.kill()
                    assert os.pread(file.fileno(), 10, 0) == b"before"
                    assert os.pread(gone.fileno(), 10, 0) == b"unlinked"
                    assert os.fstat(gone.fileno()).st_nlink == 0
                    assert os.listdir(root / "moved" / "er") == []
            seen += [entry.name for entry in listing]
        assert len(seen) == len(set(seen))
        assert {f"name-{number:03}" for number in range(300)} <= set(seen)
    assert server.log().count("a tree server was killed: another one goes on") == 3


def test_descriptors_do_not_become_more_with_each_death(server: TreeServer, directory):
    real, fd = directory
    (real / "file").write_text("x")
    with at(server.serve(REAL, [fd])) as root:
        counts = set()
        for _ in range(5):
            server.kill()
            assert (root / "file").read_text() == "x"
            until(lambda: os.statvfs(root).f_bsize, "an answer")
            counts.add(len(os.listdir(f"/proc/{server.keeper}/fd")))
        assert max(counts) < min(counts) + 8


def use(root: Path, number: int, stop: threading.Event, wrong: list[str]) -> None:
    """Use a file system; what is not EIO must be right. What failed with EIO is begun anew."""
    rng = random.Random(number)
    top = root / f"user{number}"
    content: dict[str, bytes] = {}

    def once() -> None:
        name = f"f{rng.randrange(5)}"
        what = rng.randrange(5)
        path = top / name
        if what == 0:
            data = rng.randbytes(rng.randrange(200_000))
            content.pop(name, None)
            path.write_bytes(data)
            content[name] = data
        elif what == 1 and name in content:
            assert path.read_bytes() == content[name], f"{path}: other contents"
        elif what == 2 and name in content:
            before = content.pop(name)
            os.rename(path, top / "moved")
            os.rename(top / "moved", path)
            content[name] = before
        elif what == 3:
            content.pop(name, None)
            path.unlink(missing_ok=True)
            assert not path.exists()
        else:
            missing = set(content) - set(os.listdir(top))
            assert not missing, f"{missing} are missing"

    while not stop.is_set():
        try:
            top.mkdir(exist_ok=True)
            once()
        except OSError as error:
            if error.errno == errno.EIO:
                continue  # it was made, or it was not
            wrong.append(f"{number}: {error!r}")
        except AssertionError as error:
            wrong.append(f"{number}: {error}")


def test_kills_at_any_moment_under_load_lose_nothing_but_calls_in_hand(
    server: TreeServer, directory
):
    real, fd = directory
    with at(server.serve(REAL, [fd])) as root:
        stop, wrong = threading.Event(), []
        users = [
            threading.Thread(target=use, args=(root, n, stop, wrong), daemon=True) for n in range(3)
        ]
        for user in users:
            user.start()
        rng = random.Random(5)
        for _ in range(12):
            stop.wait(rng.random() / 5)
            server.kill()
        stop.set()
        for user in users:
            user.join(50)
        assert not any(user.is_alive() for user in users), "somebody waits for ever"
        assert wrong == []
        assert sorted(os.listdir(root)) == sorted(os.listdir(real))


def test_calls_that_wait_are_asked_again(server: TreeServer, note: str):
    with at(server.serve("fuse.misbehaving:Waits", note=note)) as root:
        reader = reading(root)
        until(lambda: os.stat(note).st_size == 1, "the read")
        server.kill()
        until(lambda: os.stat(note).st_size == 2, "the read to be asked again")
        os.setxattr(root / "f", "user.go", b"")
        assert reader.communicate(timeout=50) == (b"late", None)


def test_a_kernel_that_sends_nothing_again_fails_what_was_in_hand(
    tmp_path: Path, note: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fuse_server.abi, "FUSE_NOTIFY_RESEND", 4095)  # as before Linux 6.9
    with (
        tree_server(tmp_path / "log") as server,
        at(server.serve("fuse.misbehaving:Waits", note=note)) as root,
    ):
        reader = reading(root)
        until(lambda: os.stat(note).st_size == 1, "the read")
        server.kill()
        assert f"[Errno {errno.EIO}]".encode() in reader.communicate(timeout=50)[0]
        reader = reading(root)
        until(lambda: os.stat(note).st_size == 2, "another read")
        os.setxattr(root / "f", "user.go", b"")
        assert reader.communicate(timeout=50) == (b"late", None)


READ = """
import os, sys
try: os.write(1, os.read(os.open(sys.argv[1], os.O_RDONLY), 4))
except OSError as error: os.write(1, str(error).encode())
"""


def reading(root: Path, script: str = READ) -> subprocess.Popen[bytes]:
    """A program that reads "f"."""
    words = ["/usr/bin/python3", "-c", script, str(root / "f")]
    return subprocess.Popen(words, pass_fds=[int(root.name)], stdout=subprocess.PIPE)


LOCK = """
import fcntl, os, select, sys
file = open(sys.argv[1], "r+b", 0)
{}
os.write(1, b"got it")
"""


@pytest.mark.parametrize(
    "how",
    [
        "fcntl.lockf(file, fcntl.LOCK_EX)",
        "fcntl.flock(file, fcntl.LOCK_EX)",
        "p = select.poll(); p.register(file, select.POLLIN); p.poll()",
    ],
)
def test_who_sleeps_is_woken_by_the_successor(server: TreeServer, note: str, how: str):
    with at(server.serve("fuse.misbehaving:Locked", note=note)) as root:
        sleeper = reading(root, LOCK.format(how))
        until(lambda: os.stat(note).st_size == 1, "somebody to wait")
        server.kill()
        until(lambda: os.stat(note).st_size == 2, "the call to be asked again")
        os.setxattr(root / "f", "user.go", b"")
        if "poll" in how:  # the tree forgot whom to wake: it dies once more
            server.kill()
        assert sleeper.communicate(timeout=50) == (b"got it", None)


def test_a_tree_that_is_in_memory_fails_with_eio_and_nobody_else_does(
    server: TreeServer, directory
):
    real, fd = directory
    (real / "file").write_text("x")
    memory = server.serve("viewosd.memorytree:MemoryTree", st_dev="0:77")
    with at(memory) as lost, at(server.serve(REAL, [fd])) as root:
        (lost / "file").write_text("in memory")
        with open(lost / "file", "r+b", 0) as file:
            assert server.lost() == {}
            server.kill()
            assert errno_of((lost / "new").touch) == errno.EIO
            assert errno_of(os.listdir, lost) == errno.EIO
            assert errno_of(file.write, b"x") == errno.EIO
            assert errno_of(os.fsync, file.fileno()) in (errno.EIO, 0)
        assert (root / "file").read_text() == "x"
        assert server.lost() == {"0:77": "its server died, and what it had in memory with it"}
        server.kill()
        assert errno_of((lost / "new").touch) == errno.EIO
    assert server.log().count("all calls fail with EIO") == 1


@pytest.mark.parametrize("tree", ["Refuses", "Forgetful"])
def test_a_tree_that_can_not_go_on_says_why(server: TreeServer, tree: str):
    with at(server.serve(f"fuse.misbehaving:{tree}", st_dev="0:9")) as root:
        assert (root / "f").read_bytes() == b"data"
        server.kill()
        assert errno_of((root / "f").read_bytes) == errno.EIO
        assert "its server died" in server.lost()["0:9"]


def test_a_handle_that_can_not_be_had_again_is_lost_alone(server: TreeServer):
    with at(server.serve("fuse.misbehaving:LosesHandles")) as root:
        fd = os.open(root / "f", os.O_RDONLY)
        server.kill()
        assert errno_of(os.read, fd, 4) == errno.EIO
        assert errno_of(os.close, fd) == errno.EIO
        assert (root / "f").read_bytes() == b"data"
    assert "a file that is open (node 2) is lost" in server.log()


@pytest.mark.parametrize(("tree", "method"), [("Dies", "read_bytes"), ("DiesInAWrite", "write")])
def test_a_call_that_ends_the_server_fails_alone(server: TreeServer, note: str, tree, method):
    with (
        at(server.serve(f"fuse.misbehaving:{tree}", note=note)) as root,
        at(server.serve("fuse.misbehaving:One")) as other,
    ):
        call = (root / "f").read_bytes if method == "read_bytes" else lambda: write(root / "f")
        assert errno_of(call) == errno.EIO
        assert os.stat(note).st_size == 1, "it was asked twice"
        assert (other / "f").read_bytes() == b"data"
        assert (root / "f").exists()


def write(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, b"x")
    finally:
        os.close(fd)


def test_a_call_that_blocks_the_server_fails_alone(
    tmp_path: Path, note: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VIEWOS_WATCHDOG_S", "1")
    with (
        tree_server(tmp_path / "log") as server,
        at(server.serve("fuse.misbehaving:Blocks", note=note)) as root,
        at(server.serve("fuse.misbehaving:One")) as other,
    ):
        reader = reading(root)
        until(lambda: os.stat(note).st_size == 1, "the read")
        assert (other / "f").read_bytes() == b"data"
        assert f"[Errno {errno.EIO}]".encode() in reader.communicate(timeout=50)[0]
        assert os.stat(note).st_size == 1
        assert "hung, or ended by itself" in server.log()


def test_a_program_that_waits_for_a_blocked_server_can_be_killed(
    tmp_path: Path, note: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VIEWOS_WATCHDOG_S", "1")
    with (
        tree_server(tmp_path / "log") as server,
        at(server.serve("fuse.misbehaving:Blocks", note=note)) as root,
    ):
        reader = reading(root)
        until(lambda: os.stat(note).st_size == 1, "the read")
        reader.kill()
        reader.communicate(timeout=50)


def test_when_too_many_have_died_trees_are_not_asked_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VIEWOS_SUCCESSORS", "2")
    with (
        tree_server(tmp_path / "log") as server,
        at(server.serve("fuse.misbehaving:One", st_dev="0:5")) as root,
    ):
        for _ in range(2):
            server.kill()
            assert (root / "f").read_bytes() == b"data"
        server.kill()
        assert errno_of((root / "f").read_bytes) == errno.EIO
        assert server.lost() == {"0:5": "tree servers of this view keep dying"}
        with pytest.raises(OSError, match="keep dying"):
            server.serve("fuse.misbehaving:One")


def test_a_tree_that_is_no_tree_is_an_error_for_who_asked(server: TreeServer):
    with pytest.raises(OSError, match="ModuleNotFoundError"):
        server.serve("no.such.module:Tree")
    with pytest.raises(OSError, match="a bug"):
        server.serve("fuse.misbehaving:One", unknown=1)
    with at(server.serve("fuse.misbehaving:One")) as root:
        assert (root / "f").read_bytes() == b"data"
