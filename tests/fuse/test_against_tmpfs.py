"""Random calls, made on a file tree and on tmpfs: every answer must be the same."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from fuse.trees import AsyncMemoryTree, KillprivTree, WritebackTree
from viewosd.testing.memory_tree import MemoryTree
from viewosd.testing.mounted import mounted, tmpfs

pytestmark = pytest.mark.root

libc = ctypes.CDLL(None, use_errno=True)
NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
OFFSETS = st.integers(0, 20000)
DATA = st.binary(min_size=1, max_size=40) | st.integers(1, 9000).map(lambda n: b"long" * n)


def renameat2(old: str, new: str, flags: int) -> None:
    if libc.renameat2(-100, old.encode(), -100, new.encode(), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)):
        raise OSError(ctypes.get_errno(), "fallocate")


class Side:
    """One of the two file systems, with the files that are open in it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: list[int] = []

    def at(self, path: str) -> str:
        return f"{self.root}/{path}"

    def tree(self) -> dict[str, tuple[object, ...]]:
        """Everything that there is, as programs see it; inode numbers and times are not compared."""
        found = {}
        numbers: dict[int, int] = {}
        for where, dirs, files in os.walk(self.root):
            dirs.sort()
            for name in [".", *sorted(dirs + files)]:
                path = os.path.join(where, name)
                s = os.lstat(path)
                kind = s.st_mode & 0o170000
                inside: object = None
                if kind == 0o100000:
                    with open(path, "rb") as file:
                        inside = file.read()
                elif kind == 0o120000:
                    inside = os.readlink(path)
                xattrs = {
                    n: os.getxattr(path, n, follow_symlinks=False)
                    for n in os.listxattr(path, follow_symlinks=False)
                }
                same = numbers.setdefault(s.st_ino, len(numbers))
                size = (
                    0 if kind == 0o040000 else s.st_size
                )  # a directory's is the file system's own
                found[os.path.relpath(path, self.root)] = (
                    s.st_mode, s.st_nlink, s.st_uid, s.st_gid, size, inside, xattrs, s.st_rdev, same,
                )  # fmt: skip
        return found


def outcome(call: Callable[[Side], object], side: Side) -> object:
    try:
        return call(side)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


class Alike(RuleBasedStateMachine):
    """Makes each call twice."""

    roots: tuple[str, str]
    example = 0

    def __init__(self) -> None:
        super().__init__()
        Alike.example += 1
        for root in self.roots:
            os.mkdir(f"{root}/{Alike.example}")
        self.sides = [Side(f"{root}/{Alike.example}") for root in self.roots]

    def teardown(self) -> None:
        for side in self.sides:
            for fd in side.files:
                os.close(fd)

    def both(self, call: Callable[[Side], object]) -> None:
        ours, theirs = (outcome(call, side) for side in self.sides)
        assert ours == theirs

    @invariant()
    def are_alike(self) -> None:
        ours, theirs = (side.tree() for side in self.sides)
        assert ours == theirs

    # Names

    @rule(path=PATHS, mode=st.sampled_from([0o755, 0o700, 0o2775]))
    def mkdir(self, path, mode):
        self.both(lambda s: os.mkdir(s.at(path), mode))

    @rule(path=PATHS)
    def mkfifo(self, path):
        self.both(lambda s: os.mkfifo(s.at(path)))

    @rule(path=PATHS)
    def rmdir(self, path):
        self.both(lambda s: os.rmdir(s.at(path)))

    @rule(path=PATHS)
    def unlink(self, path):
        self.both(lambda s: os.unlink(s.at(path)))

    @rule(old=PATHS, new=PATHS, flags=st.sampled_from([0, 0, 1, 2, 4]))
    def rename(self, old, new, flags):
        self.both(lambda s: renameat2(s.at(old), s.at(new), flags))

    @rule(old=PATHS, new=PATHS)
    def link(self, old, new):
        self.both(lambda s: os.link(s.at(old), s.at(new), follow_symlinks=False))

    @rule(path=PATHS, where=st.sampled_from(["a", "b/c", "none", "."]))
    def symlink(self, path, where):
        self.both(lambda s: os.symlink(where, s.at(path)))

    # Attributes

    @rule(path=PATHS, mode=st.integers(0, 0o7777))
    def chmod(self, path, mode):
        self.both(lambda s: os.chmod(s.at(path), mode | 0o600))

    @rule(path=PATHS, uid=st.integers(-1, 3), gid=st.integers(-1, 3))
    def chown(self, path, uid, gid):
        self.both(lambda s: os.chown(s.at(path), uid, gid, follow_symlinks=False))

    @rule(path=PATHS, name=NAMES, value=st.binary(max_size=50), flags=st.integers(0, 2))
    def setxattr(self, path, name, value, flags):
        name = "trusted." + name
        self.both(lambda s: os.setxattr(s.at(path), name, value, flags, follow_symlinks=False))

    @rule(path=PATHS, name=NAMES)
    def removexattr(self, path, name):
        self.both(lambda s: os.removexattr(s.at(path), "trusted." + name, follow_symlinks=False))

    @rule(path=PATHS, size=OFFSETS)
    def truncate(self, path, size):
        self.both(lambda s: os.truncate(s.at(path), size))

    # Files

    @rule(
        path=PATHS,
        flags=st.sampled_from([0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC, os.O_APPEND]),
    )
    def open(self, path, flags):
        def call(side: Side) -> None:
            side.files.append(os.open(side.at(path), os.O_RDWR | os.O_NONBLOCK | flags, 0o6755))

        self.both(call)

    @rule(n=st.integers(0, 5))
    def close(self, n):
        def call(side: Side) -> None:
            if side.files:
                os.close(side.files.pop(n % len(side.files)))

        self.both(call)

    def on_a_file(self, n: int, call: Callable[[int], object]) -> None:
        def one(side: Side) -> object:
            return call(side.files[n % len(side.files)]) if side.files else None

        self.both(one)

    @rule(n=st.integers(0, 5), data=DATA, offset=OFFSETS)
    def pwrite(self, n, data, offset):
        self.on_a_file(n, lambda fd: os.pwrite(fd, data, offset))

    @rule(n=st.integers(0, 5), size=st.integers(0, 30000), offset=OFFSETS)
    def pread(self, n, size, offset):
        self.on_a_file(n, lambda fd: os.pread(fd, size, offset))

    @rule(n=st.integers(0, 5), size=OFFSETS)
    def ftruncate(self, n, size):
        self.on_a_file(n, lambda fd: os.ftruncate(fd, size))

    @rule(n=st.integers(0, 5))
    def fstat(self, n):
        self.on_a_file(n, lambda fd: (os.fstat(fd).st_nlink, os.fstat(fd).st_mode))

    @rule(
        n=st.integers(0, 5),
        mode=st.sampled_from([0, 1, 3]),
        offset=OFFSETS,
        length=st.integers(1, 20000),
    )
    def fallocate(self, n, mode, offset, length):
        self.on_a_file(n, lambda fd: fallocate(fd, mode, offset, length))

    @rule(n=st.integers(0, 5), data=st.binary(min_size=1, max_size=40), offset=OFFSETS)
    def write_through_a_mapping(self, n, data, offset):
        def call(fd: int) -> None:
            size = os.fstat(fd).st_size
            if size:
                with mmap.mmap(fd, size) as shared:
                    part = data[: size - offset] if offset < size else b""
                    shared[offset : offset + len(part)] = part

        self.on_a_file(n, call)

    @rule(n=st.integers(0, 5), m=st.integers(0, 5), offset=OFFSETS, to=OFFSETS, length=OFFSETS)
    def copy_file_range(self, n, m, offset, to, length):
        def call(side: Side) -> object:
            if not side.files:
                return None
            source, target = side.files[n % len(side.files)], side.files[m % len(side.files)]
            return os.copy_file_range(source, target, length, offset, to)

        self.both(call)


@pytest.mark.parametrize("tree", [MemoryTree, AsyncMemoryTree, WritebackTree, KillprivTree])
def test_a_file_tree_answers_as_tmpfs_does(tree):
    with mounted(tree) as ours, tmpfs() as theirs:
        machine = type("Machine", (Alike,), {"roots": (str(ours.root), str(theirs.root))})
        run_state_machine_as_test(
            machine, settings=settings(max_examples=15, stateful_step_count=40)
        )
        assert ours.log() == ""
