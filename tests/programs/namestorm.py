"""Several processes make, rename, link and remove names at random: namestorm.py SEED ROUNDS
[uncounted].

Each process has a directory of its own, with a model of it, and all share one, where only what must
always hold is looked at; links are not counted with ``uncounted``. Exits with 0 and prints nothing when all is as it should be.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import sys

EXPECTED = {
    errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EINVAL,
    errno.EXDEV, errno.ESTALE, errno.EPERM, errno.ELOOP,
}  # fmt: skip
PROCESSES = 3


def private(directory: str, dice: random.Random, rounds: int) -> None:
    """Names of one process: the directory must be what the model is, whatever was done."""
    os.chdir(directory)
    model: dict[str, object] = {}  # a path: bytes, None for a directory, or "-> target"
    for name in sorted(os.listdir(".")):  # what lies below
        with open(name, "rb") as file:
            model[name] = file.read()

    def files() -> list[str]:
        return [p for p, what in model.items() if isinstance(what, bytes)]

    for number in range(rounds):
        dirs = ["", *(p + "/" for p, what in model.items() if what is None)]
        new = f"{dice.choice(dirs)}n{number}"
        what = dice.randrange(9)
        if what == 0 or not files():
            content = dice.randbytes(dice.randrange(3000))
            with open(new, "wb") as file:
                file.write(content)
            model[new] = content
            continue
        old = dice.choice(files())
        if what == 1:
            os.mkdir(new)
            model[new] = None
        elif what == 2:
            os.rename(old, new)
            model[new] = model.pop(old)
        elif what == 3:
            os.unlink(old)
            del model[old]
        elif what == 4:
            with open(old, "ab") as file:
                file.write(b"more")
            model[old] += b"more"
        elif what == 5:
            os.symlink(old, new)
            model[new] = f"-> {old}"
        elif what == 6:
            other = dice.choice(files())
            os.rename(old, other)
            model[other] = model[old]
            if other != old:
                del model[old]
        elif what == 7:
            os.truncate(old, 5)
            model[old] = model[old][:5].ljust(5, b"\0")
        else:
            empty = [
                p
                for p in model
                if model[p] is None and not any(o.startswith(p + "/") for o in model)
            ]
            if empty:
                os.rmdir(empty[0])
                del model[empty[0]]
    seen: dict[str, object] = {}
    for place, folders, names in os.walk("."):
        for name in folders + names:
            path = os.path.relpath(os.path.join(place, name), ".")
            if os.path.islink(path):
                seen[path] = f"-> {os.readlink(path)}"
            elif os.path.isdir(path):
                seen[path] = None
            else:
                with open(path, "rb") as file:
                    seen[path] = file.read()
    if seen != model:
        odd = {p for p in seen.keys() | model.keys() if seen.get(p, 0) != model.get(p, 0)}
        sys.exit(f"{directory}: not as the model: {sorted(odd)[:20]}")
    os.chdir("..")


def shared(dice: random.Random, rounds: int) -> None:
    """Names that others change meanwhile: any of the usual errors may come, and no other."""
    names = [f"shared/{place}{name}" for place in ("", "d0/", "d1/") for name in "abcdef"]
    for _ in range(rounds):
        one, other = dice.choice(names), dice.choice(names)
        try:
            what = dice.randrange(8)
            if what == 0:
                os.close(os.open(one, os.O_CREAT | os.O_WRONLY | os.O_APPEND))
            elif what == 1:
                os.unlink(one)
            elif what == 2:
                os.rename(one, other)
            elif what == 3:
                os.link(one, other)
            elif what == 4:
                os.mkdir(f"shared/d{dice.randrange(2)}")
            elif what == 5:
                os.symlink("a", one)
            elif what == 6:
                os.stat(one)
                os.listdir(os.path.dirname(one))
            else:
                os.rmdir(f"shared/d{dice.randrange(2)}")
        except OSError as error:
            if error.errno not in EXPECTED:
                sys.exit(f"{one} {other}: {error}")


def afterwards() -> None:
    """What holds of every tree: what is listed is there, is counted, and can be removed."""
    links: dict[tuple[int, int], list[int]] = {}
    for place, folders, names in os.walk("shared", topdown=False):
        if len(set(folders + names)) != len(folders) + len(names):
            sys.exit(f"{place} has a name twice")
        for name in folders + names:
            info = os.lstat(os.path.join(place, name))
            if stat.S_ISREG(info.st_mode):
                links.setdefault((info.st_dev, info.st_ino), []).append(info.st_nlink)
    for inode, counts in links.items():
        if set(counts) != {len(counts)} and "uncounted" not in sys.argv:
            sys.exit(f"{inode} has {len(counts)} names and says {counts}")
    for place, folders, names in os.walk("shared", topdown=False):
        for name in names + folders:
            path = os.path.join(place, name)
            os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    os.rmdir("shared")


def main() -> None:
    seed, rounds = int(sys.argv[1]), int(sys.argv[2])
    os.makedirs("shared", exist_ok=True)
    pids = []
    for number in range(PROCESSES):
        if (pid := os.fork()) == 0:
            dice = random.Random(seed + number)
            os.makedirs(f"own{number}", exist_ok=True)
            private(f"own{number}", dice, rounds)
            shared(dice, rounds)
            os._exit(0)
        pids.append(pid)
    failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    afterwards()
    sys.exit(failed)


main()
