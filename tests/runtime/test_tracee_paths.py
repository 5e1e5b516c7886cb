"""Paths of a tracee: in its own root, its own directory, with its own mask."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.asking import ask
from viewosd.abi.fcntl import RESOLVE_BENEATH
from viewosd.tracee import AT_FDCWD


def where(t: Any, dirfd: int, path: bytes, flags: int = os.O_PATH, **how: Any) -> bytes:
    """Where an open on behalf ends, by its name in our root."""
    fd = t.open(dirfd, path, flags, **how)
    try:
        return os.readlink(f"/proc/self/fd/{fd}".encode())
    finally:
        os.close(fd)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A jail with symbolic links, and a file of the same name outside."""
    jail = tmp_path / "jail"
    (jail / "etc").mkdir(parents=True)
    (jail / "sub" / "deep").mkdir(parents=True)
    (jail / "etc" / "file").write_text("inside")
    (jail / "absolute").symlink_to("/etc/file")
    (jail / "up").symlink_to("../../../../../etc/file")
    (jail / "sub" / "relative").symlink_to("../etc/file")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "file").write_text("outside")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "ends"),
    [
        (b"/jail/etc/file", "jail/etc/file"),
        (b"jail/etc/file", "jail/etc/file"),
        (b"./jail/../etc/file", "etc/file"),
        (b"jail/sub/relative", "jail/etc/file"),
        (b"jail", "jail"),
        (b"", "ENOENT"),
        (b"nothing", "ENOENT"),
        (b"etc/file/", "ENOTDIR"),
        (b"etc/file/..", "ENOTDIR"),
    ],
)
async def test_open_starts_at_the_tracees_cwd(tree: Path, path: bytes, ends: str) -> None:
    if path.startswith(b"/"):
        path = bytes(tree) + path
    found = await ask(lambda: os.chdir(tree), lambda t, n: where(t, AT_FDCWD, path))
    assert found in (ends, bytes(tree / ends))


async def test_open_starts_at_the_tracees_descriptor(tree: Path) -> None:
    def prepare() -> int:
        return os.open(tree / "jail" / "sub", os.O_RDONLY)

    for path, ends in ((b"../etc/file", "jail/etc/file"), (b"../../etc/file", "etc/file")):
        found = await ask(prepare, lambda t, n, path=path: where(t, n, path))
        assert found == bytes(tree / ends)
    absolute = bytes(tree / "etc" / "file")
    assert await ask(lambda: None, lambda t, n: where(t, 999, absolute)) == absolute
    assert await ask(lambda: None, lambda t, n: where(t, 999, b"x")) == "EBADF"
    assert await ask(lambda: os.pipe()[0], lambda t, n: where(t, n, b"x")) == "ENOTDIR"


@pytest.mark.root
@pytest.mark.parametrize(
    ("path", "ends"),
    [
        (b"/etc/file", "etc/file"),
        (b"/absolute", "etc/file"),
        (b"/up", "etc/file"),
        (b"/../../etc/file", "etc/file"),
        (b"relative", "etc/file"),
        (b"../etc/file", "etc/file"),
        (b"../../../../etc/file", "etc/file"),
        (b"..", ""),
        (b".", "sub"),
        (b"/", ""),
    ],
)
async def test_open_stays_in_the_tracees_root(tree: Path, path: bytes, ends: str) -> None:
    jail = tree / "jail"

    def prepare() -> None:
        os.chroot(jail)
        os.chdir("/sub")

    assert await ask(prepare, lambda t, n: where(t, AT_FDCWD, path)) == bytes(jail / ends)


@pytest.mark.root
async def test_paths_are_told_as_the_tracee_sees_them(tree: Path) -> None:
    def prepare() -> int:
        fd = os.open(tree / "jail" / "etc", os.O_RDONLY)
        os.chroot(tree / "jail")
        os.chdir("/sub")
        return fd

    def look(t: Any, n: int) -> Any:
        return (
            t.path_of(AT_FDCWD, b"x"),
            t.path_of(AT_FDCWD, b"../y"),
            t.path_of(n, b"file"),
            t.path_of(n, b"/abs"),
            t.cwd,
        )

    assert await ask(prepare, look) == (
        b"/sub/x",
        b"/sub/../y",
        b"/etc/file",
        b"/abs",
        bytes(tree / "jail" / "sub"),
    )


async def test_open_in_a_deleted_cwd(tmp_path: Path) -> None:
    def prepare() -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()

    assert await ask(prepare, lambda t, n: where(t, AT_FDCWD, b"x")) == "ENOENT"
    here = bytes(tmp_path / "gone") + b" (deleted)"
    assert await ask(prepare, lambda t, n: where(t, AT_FDCWD, b".")) == here
    assert await ask(prepare, lambda t, n: where(t, AT_FDCWD, b"..")) == bytes(tmp_path)


async def test_open_in_a_directory_whose_name_says_deleted(tmp_path: Path) -> None:
    odd = tmp_path / "odd (deleted)"
    odd.mkdir()
    (odd / "file").touch()

    def prepare() -> None:
        os.chdir(odd)

    assert await ask(prepare, lambda t, n: where(t, AT_FDCWD, b"file")) == bytes(odd / "file")
    assert await ask(prepare, lambda t, n: where(t, AT_FDCWD, b"..")) == bytes(tmp_path)


async def test_open_in_a_directory_that_was_renamed(tmp_path: Path) -> None:
    def prepare() -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "file").touch()
        os.chdir(tmp_path / "a")
        (tmp_path / "a").rename(tmp_path / "b")

    found = await ask(prepare, lambda t, n: where(t, AT_FDCWD, b"file"))
    assert found == bytes(tmp_path / "b" / "file")


async def test_proc_self_is_the_tracee() -> None:
    def look(t: Any, n: int) -> Any:
        out = []
        for path in (b"/proc/self/status", b"/proc/thread-self/status", b"/proc/self/../self/stat"):
            fd = t.open(AT_FDCWD, path)
            out.append(str(t.pid).encode() in os.read(fd, 1000))
            os.close(fd)
        return out

    assert await ask(lambda: None, look) == [True, True, True]


async def test_proc_self_behind_a_link_is_the_tracee_too(tmp_path: Path) -> None:
    """/etc/mtab, /dev/fd, /dev/stdin are such links."""
    (tmp_path / "link").symlink_to("/proc/self/stat")
    (tmp_path / "dir").symlink_to("/proc/self")

    def look(t: Any, n: int) -> Any:
        out = []
        for start, path in (
            (AT_FDCWD, bytes(tmp_path / "link")),
            (AT_FDCWD, bytes(tmp_path / "dir" / "stat")),
            (n, b"self/stat"),
            (n, b"./self/stat"),
        ):
            fd = t.open(start, path)
            out.append(os.read(fd, 1000).split()[0] == b"%d" % t.pid)
            os.close(fd)
        return out

    assert await ask(lambda: os.open("/proc", os.O_RDONLY), look) == [True] * 4


@pytest.mark.parametrize("path", [b"/proc/self/fd/0", b"/proc/self/exe", b"/proc/self/root/etc"])
async def test_magic_links_are_not_followed(path: bytes) -> None:
    assert await ask(lambda: None, lambda t, n: where(t, AT_FDCWD, path)) == "ELOOP"


async def test_what_is_created_has_the_tracees_mask_and_is_close_on_exec(tmp_path: Path) -> None:
    def look(t: Any, n: int) -> Any:
        before = os.umask(0o022)
        try:
            fd = t.open(AT_FDCWD, b"new", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o666)
            assert os.umask(0o022) == 0o022
        finally:
            os.umask(before)
        try:
            return os.get_inheritable(fd), oct(os.fstat(fd).st_mode & 0o777)
        finally:
            os.close(fd)

    def prepare() -> None:
        os.chdir(tmp_path)
        os.umask(0o027)

    assert await ask(prepare, look) == (False, "0o640")


@pytest.mark.parametrize("flags", [os.O_PATH, os.O_RDONLY, os.O_PATH | os.O_NOFOLLOW])
async def test_open_takes_what_open_takes(tmp_path: Path, flags: int) -> None:
    """openat2 refuses flags and modes that mean nothing; open(2) lets them pass."""
    (tmp_path / "file").touch()
    path = bytes(tmp_path / "file")
    assert await ask(lambda: None, lambda t, n: where(t, AT_FDCWD, path, flags, mode=0o777)) == path


async def test_a_link_itself_can_be_opened(tree: Path) -> None:
    path = bytes(tree / "jail" / "absolute")
    found = await ask(
        lambda: None, lambda t, n: where(t, AT_FDCWD, path, os.O_PATH | os.O_NOFOLLOW)
    )
    assert found == path


async def test_links_that_lead_to_each_other_are_eloop(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("c/c")
    for name in (b"a", b"b/x", b"c"):
        path = bytes(tmp_path) + b"/" + name
        assert await ask(lambda: None, lambda t, n, p=path: where(t, AT_FDCWD, p)) == "ELOOP"


@pytest.mark.parametrize("path", [b"/etc/hostname", b"../x", b"out", b"out/x", b"sub/../../x"])
async def test_an_open_that_must_stay_beneath_a_directory_stays_there(
    tmp_path: Path, path: bytes
) -> None:
    (tmp_path / "base" / "sub").mkdir(parents=True)
    (tmp_path / "base" / "out").symlink_to("/etc")
    (tmp_path / "x").touch()

    def prepare() -> int:
        return os.open(tmp_path / "base", os.O_RDONLY)

    look = lambda t, n: where(t, n, path, resolve=RESOLVE_BENEATH)  # noqa: E731
    assert await ask(prepare, look) == "EXDEV"


async def test_an_exclusive_creation_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    path, flags = bytes(tmp_path / "link"), os.O_CREAT | os.O_WRONLY
    look = lambda t, n: where(t, AT_FDCWD, path, flags | os.O_EXCL, mode=0o600)  # noqa: E731
    assert await ask(lambda: None, look) == "EEXIST"
    assert not (tmp_path / "target").exists()
    look = lambda t, n: where(t, AT_FDCWD, path, flags, mode=0o600)  # noqa: E731
    assert await ask(lambda: None, look) == bytes(tmp_path / "target")


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
async def test_an_open_never_waits_for_the_other_end_of_a_fifo(tmp_path: Path, flags: int) -> None:
    """T21: it would hang every other call of the view."""
    os.mkfifo(tmp_path / "fifo")
    path = bytes(tmp_path / "fifo")
    found = await ask(lambda: None, lambda t, n: where(t, AT_FDCWD, path, flags))
    assert found in ("EAGAIN", "ENXIO")


async def test_what_was_opened_waits_as_it_was_asked_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = bytes(tmp_path / "file")

    def look(t: Any, n: int) -> Any:
        out = []
        for flags in (0, os.O_NONBLOCK):
            fd = t.open(AT_FDCWD, path, flags)
            out.append(os.get_blocking(fd))
            os.close(fd)
        return out

    assert await ask(lambda: None, look) == [True, False]
