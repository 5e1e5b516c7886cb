"""What umfuse costs: a FUSE program in a view against the same one outside, and how soon a mount is
ready.

usage: python benchmarks/umfuse.py [ROUNDS]      (as root; squashfuse and mksquashfs are needed)

Both sides have the same image mounted by the same program at the same time, and do the same in turn, a
moment each: a ratio is the median of the pairs', so what else the machine does meets both. Nothing is
cached: names and attributes are believed for no time, and pages are dropped before each read. To hold:
1.02 for what a program serves; 50 ms until a tree of ours is ready, 100 ms and the program's own start
until one of its is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lab import VIEWOS_RUN

from viewosd.agent import unsafe

FILES, LARGE = 400, 32 << 20
CHUNK = 1 << 20
UNCACHED = "entry_timeout=0,attr_timeout=0,negative_timeout=0"
OUTSIDE, SQUASHFUSE, RAM = "outside", "umfusesquashfs", "umfuseram"


def mount(type: str, source: str, target: str) -> None:
    """mount(2); outside of a view, what umfuse would have run."""
    if type == OUTSIDE:
        subprocess.run(
            ["squashfuse", "-o", f"ro,allow_other,{UNCACHED}", source, target], check=True
        )
        os.stat(target)
    else:
        data = UNCACHED.encode() if type == SQUASHFUSE else None
        unsafe.mount(source.encode(), target.encode(), type.encode(), 0, data)


def stat(root: str) -> None:
    for number in range(FILES):
        os.stat(f"{root}/small/{number}")


def listing(root: str) -> None:
    for _ in range(10):
        os.listdir(f"{root}/small")


def read(root: str) -> None:
    with open(f"{root}/large", "rb", 0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(CHUNK):
            pass


def tar(root: str) -> None:
    """What tar does with small files, without its start."""
    with os.scandir(f"{root}/small") as found:
        for entry in found:
            entry.stat(follow_symlinks=False)
            with open(entry.path, "rb", 0) as file:
                file.read(CHUNK)


WORK: dict[str, Callable[[str], None]] = {"stat": stat, "list": listing, "read": read, "tar": tar}


def child(type: str, source: str, target: str) -> None:
    """Do what is asked, a word a line, and say how many seconds it took."""
    asked: dict[str, Callable[[], None]] = {
        "mount": lambda: mount(type, source, target),
        "umount": lambda: unsafe.umount2(target.encode(), 0),
        **{name: lambda work=work: work(target) for name, work in WORK.items()},
    }
    for line in sys.stdin:
        start = time.perf_counter()
        asked[line.strip()]()
        print(time.perf_counter() - start, flush=True)


class Side:
    """A child in a view, or in a mount namespace outside."""

    def __init__(self, type: str, source: str, target: str) -> None:
        words = [sys.executable, __file__, type, source, target]
        view = [VIEWOS_RUN, "--no-rc", "-p", "umfuse", "--"]
        outside = ["unshare", "-m", "--propagation", "private"]
        os.mkdir(target)
        prefix = outside if type == OUTSIDE else view
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen([*prefix, *words], text=True, **pipes)

    def ask(self, what: str) -> float:
        """Seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(what, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def image(place: Path) -> str:
    (place / "content" / "small").mkdir(parents=True)
    for number in range(FILES):
        (place / "content" / "small" / str(number)).write_bytes(b"x" * 100)
    (place / "content" / "large").write_bytes(os.urandom(LARGE))
    words = ["mksquashfs", "content", "image", "-quiet", "-no-progress", "-noD", "-noI"]
    subprocess.run(words, cwd=place, check=True, stdout=subprocess.DEVNULL)
    return str(place / "image")


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="viewos-bench-") as name:
        source = image(Path(name))
        sides = {type: Side(type, source, f"{name}/{type}") for type in (OUTSIDE, SQUASHFUSE, RAM)}
        try:
            report(sides, rounds)
        finally:
            for side in sides.values():
                side.close()


def report(sides: dict[str, Side], rounds: int) -> None:
    ready: dict[str, list[float]] = {type: [] for type in sides}
    gone: dict[str, list[float]] = {type: [] for type in sides}
    for number in range(rounds // 2 + 2):
        for type, side in sides.items():
            once = side.ask("mount"), side.ask("umount")
            if number:  # the first brings what it imports
                ready[type].append(once[0])
                gone[type].append(once[1])
    for side in sides.values():
        side.ask("mount")
    print("| what | in the view | outside | ratio | hold |\n| --- | --- | --- | --- | --- |")
    for what, scale in (("stat", FILES), ("list", 10), ("read", 1), ("tar", FILES)):
        pairs = []
        for number in range(rounds * 2 + 2):
            # Who is first may find the processor warm.
            order = (SQUASHFUSE, OUTSIDE) if number % 2 else (OUTSIDE, SQUASHFUSE)
            took = {type: sides[type].ask(what) for type in order}
            if number > 1:
                pairs.append((took[SQUASHFUSE], took[OUTSIDE]))
        ours, theirs = (statistics.median(one) / scale * 1e6 for one in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"| squashfuse, {what} | {ours:.1f} us | {theirs:.1f} us | {ratio:.3f} | <= 1.02 |")
    for type, hold in ((RAM, "50 ms"), (SQUASHFUSE, "100 ms and the start")):
        begun, ended = (statistics.median(one[type]) * 1e3 for one in (ready, gone))
        own = f"{statistics.median(ready[OUTSIDE]) * 1e3:.1f} ms" if type == SQUASHFUSE else ""
        print(f"| {type}, ready | {begun:.1f} ms | {own} | | {hold} |")
        print(f"| {type}, unmounted | {ended:.1f} ms | | | |")
    for side in sides.values():
        side.ask("umount")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        child(*sys.argv[1:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
