"""Random changes to an overlay of the kernel's and to a plain directory; then commits.

    overlaid.py DIRECTORY SEED COUNT

In a mount namespace of its own. Ends with status 0 if the overlay's lower directory is what the
plain one is, after each commit, and what the overlay shows is, too.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import sys
from pathlib import Path

from helpers.layer import Tree
from viewos_clients.unsafe import mount, umount
from viewos_viewfs.layers import commit

NAMES = ["a", "b", "c"]


def seen(root: Path) -> dict[str, list[object]]:
    """Everything that must agree; names of one file by the first of them."""
    found: dict[str, list[object]] = {}
    first: dict[int, str] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        st, name = path.lstat(), str(path.relative_to(root))
        attributes: list[object] = [stat.filemode(st.st_mode), st.st_uid, st.st_gid]
        if stat.S_ISREG(st.st_mode):
            attributes += [path.read_bytes(), first.setdefault(st.st_ino, name)]
        elif stat.S_ISLNK(st.st_mode):
            attributes.append(os.readlink(path))
        if not stat.S_ISLNK(st.st_mode):
            names = (
                n for n in os.listxattr(path) if n.startswith("user.") and ".overlay." not in n
            )
            attributes.append({n: os.getxattr(path, n) for n in names})
        found[name] = attributes
    return found


def shown(root: Path) -> dict[str, object]:
    """The same without names of one file, which overlayfs does not tell everywhere."""
    return {p: a[:4] + a[5:] if len(a) == 6 else a for p, a in seen(root).items()}


def change(root: Path, dice: random.Random) -> None:
    """One operation; it may fail."""

    def some() -> Path:
        return root.joinpath(*(dice.choice(NAMES) for _ in range(dice.randint(1, 3))))

    what, a, b, number = dice.randrange(12), some(), some(), dice.randrange(1 << 30)
    if what in (0, 1):
        a.write_text(str(number))
    elif what == 2:
        with open(a, "a") as file:
            file.write(str(number))
    elif what == 3:
        a.unlink()
    elif what in (4, 5):
        a.mkdir()
    elif what == 6:
        shutil.rmtree(a)
    elif what == 7:
        os.rename(a, b)
    elif what == 8:
        os.link(a, b)
    elif what == 9:
        os.symlink(str(number), a)
    elif what == 10:
        os.chmod(
            a, 0o700 | number & 0o1077
        )  # overlayfs drops set-uid bits where a file is written to
    else:
        os.setxattr(a, "user.n", str(number).encode())


def both(merged: Path, plain: Path, dice: random.Random, count: int) -> None:
    """The same on both sides. What overlayfs can't do (EXDEV: directories) happens on neither."""
    for _ in range(count):
        state = dice.getstate()
        try:
            change(merged, dice)
        except (OSError, shutil.Error):
            continue
        dice_again = random.Random()
        dice_again.setstate(state)
        change(plain, dice_again)


def mounted(tree: Tree, merged: Path) -> None:
    options = f"lowerdir={tree.target},upperdir={tree.upper},workdir={tree.layer}/work"
    options += ",userxattr" if os.geteuid() else ",redirect_dir=off"
    mount(b"none", bytes(merged), b"overlay", 0, options.encode())


def unlink(root: Path) -> None:
    """Make a file of each name: overlayfs does it with lower ones that are changed."""
    for path in root.rglob("*"):
        st = path.lstat()
        if not stat.S_ISDIR(st.st_mode) and st.st_nlink > 1:
            shutil.copy2(path, f"{path}.copy", follow_symlinks=False)
            os.lchown(f"{path}.copy", st.st_uid, st.st_gid)
            os.rename(f"{path}.copy", path)


def one(directory: Path, seed: int) -> None:
    dice = random.Random(seed)
    tree, plain, merged = Tree(directory), directory / "plain", directory / "merged"
    merged.mkdir()
    for _ in range(40):
        try:
            change(tree.target, dice)
        except (OSError, shutil.Error):
            continue
    shutil.copytree(tree.target, plain, symlinks=True)
    unlink(tree.target)
    for round in range(3):
        shutil.copystat(tree.target, tree.upper)
        tree.later()
        mounted(tree, merged)
        both(merged, plain, dice, 30)
        assert shown(merged) == shown(plain), (seed, round, "the two differ before the commit")
        if round == 1:
            commit(tree.as_layer(), str(tree.target), mounted=True)
            both(merged, plain, dice, 10)
            assert shown(merged) == shown(plain), (seed, "the view has changed with the commit")
            umount(bytes(merged), 0)
            mounted(tree, merged)
            assert shown(merged) == shown(plain), (seed, "the view is another when mounted again")
        umount(bytes(merged), 0)
        commit(tree.as_layer(), str(tree.target))
        assert seen(tree.target) == seen(plain), (seed, round, "the commit is not what was shown")
        assert not os.listdir(tree.upper), (seed, round, os.listdir(tree.upper))
        unlink(tree.target)
        unlink(plain)


if __name__ == "__main__":
    begin, count = int(sys.argv[2]), int(sys.argv[3])
    for seed in range(begin, begin + count):
        place = Path(sys.argv[1]) / str(seed)
        place.mkdir()
        one(place, seed)
        shutil.rmtree(place)
