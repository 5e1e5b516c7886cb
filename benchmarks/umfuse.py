"""What umfuse costs: a FUSE program in a view against the same one outside, and how soon a mount is
ready.

usage: python benchmarks/umfuse.py [ROUNDS]      (as root; squashfuse and mksquashfs are needed)

Both sides mount the same image by the same program and do the same: read every file, ask for the
attributes of every file, each time of a fresh mount, so nothing is cached. Rounds are made in turn; a
ratio is the median of the rounds' own. To hold: 1.02 for what a program serves; 50 ms until a tree of
ours is ready, 100 ms and the program's own start until one of its is.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import VIEWOS_RUN

from viewosd.agent import unsafe

FILES, LARGE = 2000, 64 << 20
CHUNK = 1 << 20


def mount(type: str, source: str, target: str) -> None:
    """mount(2); outside of a view, what umfuse would have run."""
    if type.startswith("outside"):
        subprocess.run(["squashfuse", "-o", "ro", source, target], check=True)
        while not os.path.ismount(target):
            time.sleep(0.001)
    else:
        unsafe.mount(source.encode(), target.encode(), type.encode(), 0)


def stats(root: str) -> float:
    """Seconds a file."""
    start = time.perf_counter()
    for number in range(FILES):
        os.stat(f"{root}/small/{number}")
    return (time.perf_counter() - start) / FILES


def read(root: str) -> float:
    """Bytes a second."""
    start, length = time.perf_counter(), 0
    with open(f"{root}/large", "rb", 0) as file:
        while data := file.read(CHUNK):
            length += len(data)
    return length / (time.perf_counter() - start)


def measure(type: str, source: str, target: str) -> dict[str, float]:
    start = time.perf_counter()
    mount(type, source, target)
    found = {"ready": time.perf_counter() - start}
    if type != "umfuseram":
        found["read"], found["stat"] = read(target), stats(target)
    start = time.perf_counter()
    unsafe.umount2(target.encode(), 0)
    return found | {"gone": time.perf_counter() - start}


def child(type: str, source: str, target: str) -> dict[str, float]:
    """`measure` in a process of its own: in a view, or in a mount namespace outside."""
    words = [sys.executable, __file__, type, source, target]
    view = [VIEWOS_RUN, "--no-rc", "-p", "umfuse", "--"]
    outside = ["unshare", "-m", "--propagation", "private"]
    prefix = outside if type.startswith("outside") else view
    return json.loads(subprocess.check_output([*prefix, *words]))


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
        place = Path(name)
        source, target = image(place), str(place / "point")
        os.mkdir(target)
        runs = [
            {
                type: child(type, source, target)
                for type in ("outside", "umfusesquashfs", "umfuseram")
            }
            for _ in range(rounds)
        ]

    def median(type: str, what: str) -> float:
        return statistics.median(run[type][what] for run in runs)

    def ratio(what: str) -> float:
        return statistics.median(r["umfusesquashfs"][what] / r["outside"][what] for r in runs)

    print("| what | in the view | outside | ratio | hold |\n| --- | --- | --- | --- | --- |")
    for what, unit, factor, hold in (
        ("stat", "us", 1e6, "<= 1.02"),
        ("read", "MB/s", 1e-6, ">= 0.98"),
    ):
        ours, theirs = (median(t, what) * factor for t in ("umfusesquashfs", "outside"))
        print(f"| squashfuse, {what} | {ours:.1f} {unit} | {theirs:.1f} {unit} "
              f"| {ratio(what):.3f} | {hold} |")  # fmt: skip
    for type, hold in (("umfuseram", "50 ms"), ("umfusesquashfs", "100 ms and the start")):
        outside = f"{median('outside', 'ready') * 1e3:.1f} ms" if "squash" in type else ""
        print(f"| {type}, ready | {median(type, 'ready') * 1e3:.1f} ms | {outside} | | {hold} |")
        print(f"| {type}, unmounted | {median(type, 'gone') * 1e3:.1f} ms | | | |")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(measure(*sys.argv[1:])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
