"""`Tracee.open` where a directory's name does not lead to it, or not every tracee's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.rig import rig, serve, syscall
from viewosd.abi.utsname import PER_LINUX32, UNAME26
from viewosd.syscalls.process import getpgid
from viewosd.tracee import AT_FDCWD
from viewosd.verdict import Return


async def ask(prepare: Callable[[], Any], look: Callable[[Any], Any]) -> Any:
    """What ``look(tracee)`` finds of a tracee that ``prepare`` has made ready."""
    found: list[Any] = []

    def answer(call: Any, tracee: Any) -> Return:
        try:
            found.append(look(tracee))
        except OSError as error:
            found.append(type(error))
        return Return(0)

    def closure() -> None:
        prepare()
        syscall("getpgid", 0)

    async with rig(serve(getpgid, answer)) as view:
        await view.ask(closure)
    return found[0]


def contents(tracee: Any, path: bytes, flags: int = 0) -> bytes:
    fd = tracee.open(AT_FDCWD, path, flags)
    try:
        return os.read(fd, 99)
    finally:
        os.close(fd)


async def test_a_relative_path_starts_at_the_directory_itself_not_at_its_name(
    tmp_path: Path,
) -> None:
    place = tmp_path / "place"

    def prepare() -> None:
        place.mkdir()
        (place / "file").write_text("here")
        (place / "below").mkdir()
        os.chdir(place / "below")
        os.rename(place, tmp_path / "moved")
        place.mkdir()
        (place / "file").write_text("an impostor")

    assert await ask(prepare, lambda t: contents(t, b"../file")) == b"here"


async def test_a_directory_deeper_than_path_max_is_no_hindrance(tmp_path: Path) -> None:
    def prepare() -> None:
        os.chdir(tmp_path)
        for _ in range(30):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        Path("deep").write_text("down here")

    assert await ask(prepare, lambda t: contents(t, b"deep")) == b"down here"


async def test_o_path_gives_a_descriptor_that_can_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")

    def look(tracee: Any) -> str:
        fd = tracee.open(AT_FDCWD, b"link", os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)

    assert await ask(lambda: os.chdir(tmp_path), look) == "nowhere"


async def test_an_absolute_link_below_the_working_directory_leads_where_it_says(
    tmp_path: Path,
) -> None:
    (tmp_path / "target").write_text("there")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "link").symlink_to(tmp_path / "target")
    assert await ask(lambda: os.chdir(tmp_path / "sub"), lambda t: contents(t, b"link")) == b"there"


async def test_the_personality_is_the_threads(tmp_path: Path) -> None:
    wanted = PER_LINUX32 | UNAME26
    assert await ask(lambda: syscall("personality", wanted), lambda t: t.personality) == wanted
    assert await ask(lambda: None, lambda t: t.personality) == 0
