"""The figures that trees of our own are to hold, each beside what it is measured against.

usage: python benchmarks/trees.py [ROUNDS]      (as root: it mounts, in a namespace of its own)

PYFUSE3=PATH adds pyfuse3's own example, passthroughfs.py of its source distribution, run by the Python
that has pyfuse3 (PYFUSE3_PYTHON, else /usr/bin/python3). Both sides of a row are measured in turn, round
after round; a figure is the best of all rounds, a ratio the median of the rounds' own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from viewos_umfuse.real import Real
from viewosd.agent import unsafe
from viewosd.filetree import Opened
from viewosd.memorytree import MemoryTree
from viewosd.testing.mounted import mounted, tmpfs

CALLS, SIZE, CHUNK, MOUNTS = 1000, 32 << 20, 1 << 20, 50


class Uncached(MemoryTree):
    """Nothing is believed for longer than a call."""

    entry_s = attr_s = negative_s = 0.0

    def open(self, *_args: object) -> Opened:
        return Opened()


class UncachedReal(Real):
    entry_s = attr_s = negative_s = 0.0


class Served(UncachedReal):
    """Reads and writes go through the server, as an ordinary user's do."""

    @property
    def passthrough(self) -> bool:  # type: ignore[override]
        return False

    @passthrough.setter
    def passthrough(self, value: bool) -> None: ...


def stat(root: str) -> float:
    """Microseconds for one."""
    fd = os.open(root, os.O_PATH)
    began = time.perf_counter()
    for _ in range(CALLS):
        os.stat("file", dir_fd=fd)
    took = time.perf_counter() - began
    os.close(fd)
    return took / CALLS * 1e6


def read(root: str, *, drop: bool = True) -> float:
    """GB/s, by reads of 1 MiB."""
    fd = os.open(f"{root}/file", os.O_RDONLY)
    if drop:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    into = [bytearray(CHUNK)]
    began = time.perf_counter()
    for at in range(0, SIZE, CHUNK):
        os.preadv(fd, into, at)
    took = time.perf_counter() - began
    os.close(fd)
    return SIZE / took / 1e9


def cached_read(root: str) -> float:
    """GB/s of what is in the page cache."""
    return read(root, drop=False)


def write(root: str) -> float:
    """GB/s, over what is there."""
    fd, data = os.open(f"{root}/file", os.O_WRONLY), bytes(CHUNK)
    began = time.perf_counter()
    for at in range(0, SIZE, CHUNK):
        os.pwrite(fd, data, at)
    took = time.perf_counter() - began
    os.close(fd)
    return SIZE / took / 1e9


@contextmanager
def pyfuse3(source: str, place: Path) -> Iterator[str]:
    """The example, mounted."""
    point = place / "pyfuse3"
    point.mkdir()
    python = os.environ.get("PYFUSE3_PYTHON", "/usr/bin/python3")
    words = [python, os.environ["PYFUSE3"], source, str(point)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as server:
        while not os.path.ismount(point) and server.poll() is None:
            time.sleep(0.01)
        try:
            yield str(point)
        finally:
            unsafe.umount2(os.fsencode(point), 0)
            server.wait()


Row = tuple[str, Callable[[str], float], str, str, str, str]
ROWS: list[Row] = [
    ("stat, uncached", stat, "ram", "tmpfs", "us", "<= 60 us"),
    ("stat, cached", stat, "ram, cached", "tmpfs", "us", "as the kernel"),
    ("read of 1 MiB from RAM", read, "ram", "tmpfs", "GB/s", ">= 1.2 GB/s"),
    ("write of 1 MiB to RAM", write, "ram", "tmpfs", "GB/s", ">= 0.5 GB/s"),
    ("stat, a real directory", stat, "real", "native", "us", ""),
    ("read, passed through", cached_read, "real", "native", "GB/s", ">= 0.9 of native"),
    ("write, passed through", write, "real", "native", "GB/s", ""),
    ("read, by the server", read, "served", "native", "GB/s", ""),
    ("stat, pyfuse3's example", stat, "pyfuse3", "native", "us", ""),
    ("read, pyfuse3's example", read, "pyfuse3", "native", "GB/s", ""),
]  # fmt: skip


def many() -> float:
    """Microseconds for a stat in the last of fifty mounts of one view's server."""
    from helpers.treeservers import at, tree_server

    with (
        tempfile.TemporaryDirectory() as name,
        tree_server(Path(name) / "log") as server,
        ExitStack() as stack,
    ):
        tree = "viewosd.memorytree:MemoryTree"
        roots = [stack.enter_context(at(server.serve(tree))) for _ in range(MOUNTS)]
        for root in roots:
            (root / "file").touch()
        began = time.perf_counter()
        for root in roots * 4:
            os.utime(root / "file")
        return (time.perf_counter() - began) / MOUNTS / 4 * 1e6


def main(rounds: int) -> None:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="viewos-bench-")))
        native = place / "native"
        native.mkdir()
        source = os.open(native, os.O_PATH)
        root = {
            "native": str(native),
            "tmpfs": str(stack.enter_context(tmpfs()).root),
            "ram": str(stack.enter_context(mounted(Uncached)).root),
            "ram, cached": str(stack.enter_context(mounted(MemoryTree)).root),
            "real": str(stack.enter_context(mounted(lambda: UncachedReal([source]))).root),
            "served": str(stack.enter_context(mounted(lambda: Served([source]))).root),
        }
        os.close(source)
        if "PYFUSE3" in os.environ:
            root["pyfuse3"] = stack.enter_context(pyfuse3(str(native), place))
        for one in ("native", "tmpfs", "ram", "ram, cached"):
            Path(root[one], "file").write_bytes(bytes(SIZE))
        print("| what | ours | against | ratio | hold |\n| --- | --- | --- | --- | --- |")
        for what, measure, ours, theirs, unit, hold in ROWS:
            if ours not in root:
                continue
            pairs = [(measure(root[ours]), measure(root[theirs])) for _ in range(rounds)]
            best = min if unit == "us" else max
            one, other = (best(side) for side in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            print(
                f"| {what} | {one:.2f} {unit} | {theirs}: {other:.2f} {unit} | {ratio:.2f} | {hold} |"
            )
    with suppress(ImportError):  # of the tests, which may not be there
        print(f"| utime in each of {MOUNTS} mounts of one process | {many():.0f} us | | | |")


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    if not os.environ.get("VIEWOS_BENCH_PRIVATE"):
        os.environ["VIEWOS_BENCH_PRIVATE"] = "1"
        words = ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv]
        os.execvp(words[0], words)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
