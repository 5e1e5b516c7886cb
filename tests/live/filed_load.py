"""usage: filed_load.py STOP PLACE

What programs do with a view's file tree, all at once, round after round, until the file STOP
exists; makes one named begun beside it. In PLACE: ``cow``, ``merge``, ``mincow``, ``vstat`` (each
overlaid in its way), ``plain`` with a hidden name, and room for mountpoints. Prints each different
outcome that each part had: one line each where nothing ever went wrong.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
MS_BIND, MNT_DETACH = 4096, 2


def check(result: int, what: str) -> str:
    return f"{what} ok" if result == 0 else f"{what} {os.strerror(ctypes.get_errno())}"


def mount(source: str, target: str, type: str, flags: int = 0, data: str = "") -> str:
    words = [word.encode() for word in (source, target, type)]
    return check(libc.mount(*words, flags, data.encode()), f"mount {type or 'bind'}")


def umount(target: str) -> str:
    return check(libc.umount2(target.encode(), 0), "umount")


def changes(place: str) -> str:
    """Copies up, makes, renames, lists and removes; afterwards it is as before."""
    said = []
    for number in range(3):
        with open(f"{place}/below-{number}", "a+") as file:
            file.write("x")
            file.seek(0)
            said.append(len(file.read()) > 0)
        os.truncate(f"{place}/below-{number}", 5)
        os.rename(f"{place}/below-{number}", f"{place}/renamed")
        said.append(sorted(os.listdir(place)))
        os.rename(f"{place}/renamed", f"{place}/below-{number}")
    os.mkdir(f"{place}/made")
    Path(place, "made", "file").write_text("new")
    os.link(f"{place}/made/file", f"{place}/linked")
    said.append(os.stat(f"{place}/linked").st_nlink)
    os.unlink(f"{place}/linked")
    os.unlink(f"{place}/made/file")
    os.rmdir(f"{place}/made")
    said.append(sorted(os.listdir(place)))
    return str(said)


def hidden(place: str) -> str:
    """A name that is hidden can be made and removed, and is never listed."""
    said = [os.listdir(place), os.path.exists(f"{place}/secret")]
    os.mkdir(f"{place}/other")
    os.rename(f"{place}/other", f"{place}/another")
    said.append(sorted(os.listdir(place)))
    os.rmdir(f"{place}/another")
    with open(f"{place}/secret", "x") as file:
        file.write("mine")
    said.append(os.listdir(place))
    os.unlink(f"{place}/secret")
    said.append(os.listdir(place))
    return str(said)


def mounts(place: str) -> str:
    """Mounts of every kind come and go."""
    point, missing = f"{place}/point", f"{place}/missing"
    said = [mount("none", point, "tmpfs")]
    Path(point, "file").write_text("x")
    said += [str(os.listdir(point)), umount(point), str(os.listdir(point))]
    said += [mount(f"{place}/bound", point, "", MS_BIND), str(os.listdir(point)), umount(point)]
    said += [mount("none", f"{point}", "viewfs", data="tmpfs"), umount(point)]
    said += [mount(f"{place}/bound", missing, "viewfs"), str(os.listdir(missing)), umount(missing)]
    said.append(str(os.path.exists(missing)))
    return str(said)


def covers(place: str) -> str:
    """A name is hidden and shown again."""
    said = [mount("none", f"{place}/bound/shown", "viewfs", data="hide")]
    said += [str(os.listdir(f"{place}/bound")), umount(f"{place}/bound/shown")]
    said.append(str(os.listdir(f"{place}/bound")))
    return str(said)


def layers(place: str) -> str:
    """Copy-on-write, begun, used and forgotten."""
    point = f"{place}/layered"
    said = [mount("none", point, "viewfs", data="cow")]
    Path(point, "below").write_text("changed")
    said += [Path(point, "below").read_text(), umount(point), Path(point, "below").read_text()]
    return str(said)


def served(place: str) -> str:
    """What a program of the view serves."""
    return f"{sorted(os.listdir(place))} {Path(place, 'file').read_text()}"


def main() -> None:
    stop, place = sys.argv[1:]
    seen: dict[str, set[str]] = {}
    rounds: dict[str, int] = {}

    def again(name: str, part: Callable[[str], str], where: str) -> None:
        seen[name], rounds[name] = set(), 0
        while not os.path.exists(stop):
            try:
                seen[name].add(part(where))
            except BaseException as error:
                seen[name].add(f"{type(error).__name__}: {error}")
                break
            rounds[name] += 1

    parts: list[tuple[str, Callable[[str], str], str]] = [
        (name, changes, f"{place}/{name}") for name in ("cow", "merge", "mincow", "vstat")
    ]
    parts += [("hidden", hidden, f"{place}/plain"), ("mounts", mounts, f"{place}/room")]
    parts += [("covers", covers, f"{place}/covers"), ("layers", layers, place)]
    if os.path.exists(f"{place}/slowfuse.py"):
        words = [sys.executable, f"{place}/slowfuse.py", f"{place}/served", place]
        server = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == b"mounted\n"
        os.stat(f"{place}/served")
        parts.append(("served", served, f"{place}/served"))
    threads = [threading.Thread(target=again, args=part) for part in parts]
    for thread in threads:
        thread.start()
    Path(stop).with_name("begun").touch()
    for thread in threads:
        thread.join()
    for name, _, _ in parts:
        for line in sorted(seen[name]):
            print(name, line)
    print("rounds", {name: number > 0 for name, number in rounds.items()})
    print(rounds, file=sys.stderr)
    if os.path.exists(f"{place}/slowfuse.py"):
        server.kill()
        server.wait()


main()
