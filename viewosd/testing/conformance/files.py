"""Contents of files."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from .base import refused, writing


@writing
def what_is_written_is_read(root: Path) -> None:
    data = os.urandom(100_003)
    (root / "f").write_bytes(data)
    assert (root / "f").read_bytes() == data
    assert (root / "f").stat().st_size == len(data)


@writing
def writes_go_where_they_are_told(root: Path) -> None:
    with open(root / "f", "w+b", 0) as file:
        os.pwrite(file.fileno(), b"end", 10_000)
        assert os.pread(file.fileno(), 4, 9_999) == b"\0end", "a hole is not zeros"
        os.pwrite(file.fileno(), b"start", 0)
        assert os.pread(file.fileno(), 6, 0) == b"start\0"


@writing
def appending_appends(root: Path) -> None:
    for text in (b"one", b"two"):
        with open(root / "f", "ab", 0) as file:
            file.write(text)
    assert (root / "f").read_bytes() == b"onetwo"


@writing
def truncating_forgets_what_was_there(root: Path) -> None:
    (root / "f").write_bytes(b"x" * 5000)
    os.truncate(root / "f", 10)
    os.truncate(root / "f", 20)
    assert (root / "f").read_bytes() == b"x" * 10 + bytes(10)
    with open(root / "f", "wb"):
        pass
    assert (root / "f").stat().st_size == 0


@writing
def opening_for_a_new_file_is_exclusive(root: Path) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    os.close(os.open(root / "f", flags, 0o640))
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o640, "the mode of creation is lost"
    with refused(errno.EEXIST):
        os.open(root / "f", flags)


@writing
def an_unlinked_file_is_there_while_it_is_open(root: Path) -> None:
    with open(root / "f", "w+b", 0) as file:
        file.write(b"data")
        os.unlink(root / "f")
        assert not (root / "f").exists()
        assert os.pread(file.fileno(), 4, 0) == b"data"
        assert os.fstat(file.fileno()).st_nlink == 0, "it still has links"
        file.write(b"more")
        assert os.fstat(file.fileno()).st_size == 8


@writing
def a_file_is_mapped(root: Path) -> None:
    import mmap

    (root / "f").write_bytes(b"abcd" * 2000)
    with open(root / "f", "r+b", 0) as file, mmap.mmap(file.fileno(), 0) as mapped:
        assert mapped[4000:4004] == b"abcd"
        mapped[0:4] = b"wxyz"
        mapped.flush()
    assert (root / "f").read_bytes()[:8] == b"wxyzabcd"


@writing
def syncing_succeeds(root: Path) -> None:
    with open(root / "f", "wb", 0) as file:
        file.write(b"x")
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
    directory = os.open(root, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
