"""What the file tree of a view costs: ratios to the same natively, in one run.

usage: python benchmarks/files.py [--rounds N]

Every row is measured natively and in the view in turn, round after round. To hold: files that
nothing was done to, and those below cow, move and ro, 1.05; the listing of a directory with a
hidden name 2, of others 1.05 where nothing is hidden; find /usr with one hidden path 1.3; a build
inside --cow 1.1; viewos-run --hide X true 250 ms.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lab import VIEWOS_RUN, Lab, markdown, time

Row = list[str]
HEADER = ["what", "in the view", "natively", "ratio", "best", "hold"]
C_FILE = "int f{n}(int a) {{ return a * {n}; }}\n"


class Trees:
    """A directory for each thing that is done to files, all alike."""

    NAMES = ("plain", "cow", "moved", "ro", "merged", "hiding")

    def __init__(self, lab: Lab) -> None:
        self.lab, self.place = lab, lab.place / "trees"
        self.program = str(lab.place / "files")
        compiler = os.environ.get("CC", "cc")
        source = str(Path(__file__).with_name("files.c"))
        subprocess.run([compiler, "-O2", "-o", self.program, source], check=True)
        for name in (*self.NAMES, "empty"):
            (self.place / name).mkdir(parents=True)
        for name in self.NAMES:
            for number in range(100):
                (self.place / name / f"file{number}").write_bytes(b"x" * 4096)

    def path(self, name: str) -> str:
        return str(self.place / name)

    def do(self, what: str, path: str) -> list[str]:
        times = {"list": self.lab.calls // 20}.get(what, self.lab.calls * 3)
        return [self.program, what, path, str(times)]

    def row(self, title: str, options: list[str], what: str, path: str, hold: str = "") -> Row:
        command = self.do(what, path)
        return self.compare(title, hold, [VIEWOS_RUN, *options, "--", *command], command)

    def compare(self, title: str, hold: str, ours: list[str], base: list[str]) -> Row:
        return self._row(title, hold, self.lab.measure(base=base, ours=ours))

    def wall(self, title: str, hold: str, inside: list[str], options: list[str]) -> Row:
        """A whole command, its time taken inside of the view."""
        timed = self.lab.timed(*inside)
        return self.compare(title, hold, [VIEWOS_RUN, *options, "--", *timed], timed)

    def _row(self, title: str, hold: str, found) -> Row:
        ratio, best = found.ratio("ours", "base"), found.least("ours", "base")
        figures = [time(found["ours"]), time(found["base"]), f"{ratio:.2f}", f"{best:.2f}"]
        return [title, *figures, hold]


def single_files(trees: Trees) -> list[Row]:
    """stat, open and read of one file, where something was done to it, and where not."""
    hidden = ["--hide", trees.path("hiding") + "/file7"]
    busy = [*hidden, "--cow", trees.path("cow"), "--ro", trees.path("ro")]
    cases = [
        ("unrelated", busy, "plain"),
        ("below cow", ["--cow", trees.path("cow")], "cow"),
        ("below move", ["--move", trees.path("plain"), trees.path("moved")], "moved"),
        ("below ro", ["--ro", trees.path("ro")], "ro"),
    ]
    return [
        trees.row(f"{what}, {title}", options, what, trees.path(name) + "/file5", "1.05")
        for title, options, name in cases
        for what in ("stat", "open", "read")
    ]


def listings(trees: Trees) -> list[Row]:
    hidden = ["--hide", trees.path("hiding") + "/file7"]
    cow = ["--cow", trees.path("cow")]
    plain, least = trees.do("list", trees.path("plain")), [trees.lab.limit, "list-continue"]
    return [
        trees.compare("list, a bare C supervisor continues it", "", [*least, *plain], plain),
        trees.row("list 100 names, one hidden", hidden, "list", trees.path("hiding"), "2"),
        trees.row("list 100 names, one hidden elsewhere", hidden, "list", trees.path("plain"), ""),
        trees.row("list, nothing hidden", cow, "list", trees.path("plain"), "1.05"),
        trees.row("list below cow", cow, "list", trees.path("cow"), ""),
        trees.wall("find /usr, one path hidden", "1.3", ["find", "/usr"], hidden),
    ]


def build(trees: Trees) -> list[Row]:
    source = trees.place / "source"
    source.mkdir()
    for number in range(20):
        (source / f"f{number}.c").write_text(C_FILE.format(n=number))
    script = (
        f"cd {source} && rm -f *.o && for f in *.c; do cc -O2 -c $f; done && ld -r -o all.o f*.o"
    )
    command = ["sh", "-c", script]
    return [trees.wall("a build inside --cow", "1.1", command, ["--cow", str(source)])]


def starts(trees: Trees) -> list[Row]:
    target = trees.path("plain") + "/file1"
    rows = []
    for title, options in (
        ("--hide X true", ["--hide", target]),
        ("--cow X true", ["--cow", trees.path("cow")]),
        ("--bind X Y true", ["--bind", trees.path("plain"), trees.path("empty")]),
    ):
        found = trees.lab.wall(base=["true"], ours=[VIEWOS_RUN, *options, "--", "true"])
        rows.append([title, time(found["ours"]), time(found["base"]), "", "", "250 ms"])
    return rows


def others(trees: Trees) -> list[Row]:
    """Peers, for the same things: ratio to native."""
    file, plain = trees.path("moved") + "/file5", trees.path("plain")
    rows = []
    if shutil.which("proot"):
        bind = ["proot", "-b", f"{plain}:{trees.path('moved')}"]
        rows += [_peer(trees, f"proot -b: {what}", bind, what, file) for what in ("stat", "open")]
    if shutil.which("bwrap"):
        bind = ["bwrap", "--dev-bind", "/", "/", "--bind", plain, trees.path("moved")]
        rows += [_peer(trees, f"bwrap --bind: {what}", bind, what, file) for what in ("stat",)]
    if shutil.which("fuse-overlayfs") and os.access("/dev/fuse", os.R_OK):
        rows += _fuse_overlayfs(trees)
    return rows


def _peer(trees: Trees, title: str, prefix: list[str], what: str, path: str) -> Row:
    command = trees.do(what, path)
    return trees.compare(title, "", [*prefix, *command], command)


def _fuse_overlayfs(trees: Trees) -> list[Row]:
    upper, work, at = (trees.place / name for name in ("fo-upper", "fo-work", "fo"))
    for directory in (upper, work, at):
        directory.mkdir()
    layers = f"lowerdir={trees.path('cow')},upperdir={upper},workdir={work}"
    subprocess.run(["fuse-overlayfs", "-o", layers, str(at)], check=True)
    try:
        rows = []
        for what in ("stat", "open", "read", "list"):
            below = "" if what == "list" else "/file5"
            theirs = trees.do(what, str(at) + below)
            native = trees.do(what, trees.path("cow") + below)
            rows.append(trees.compare(f"fuse-overlayfs: {what}", "", theirs, native))
        return rows
    finally:
        subprocess.run(["umount", str(at)], check=True)


def many_mounts(trees: Trees) -> list[Row]:
    """A view with 1,000 mounts: made by a program in it, then a file that has none is looked at."""
    command = trees.do("stat", trees.path("plain") + "/file5")
    script = (
        "i=0; while [ $i -lt 1000 ]; do"
        f" mount --bind {trees.path('plain')} {trees.path('empty')} || exit 1; i=$((i+1)); done; "
    )
    inside = ["sh", "-c", script + " ".join(command)]
    ours = [VIEWOS_RUN, "-p", "viewfs", "--", *inside]
    return [trees.compare("stat, unrelated, after 1,000 mounts", "", ours, command)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="viewos-bench-") as place:
        trees = Trees(Lab(place, rounds, 30_000))
        rows: list[Row] = []
        for part in (single_files, listings, build, starts, many_mounts, others):
            print(f"{part.__name__} …", file=sys.stderr, flush=True)
            rows += part(trees)
    print(markdown(HEADER, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
