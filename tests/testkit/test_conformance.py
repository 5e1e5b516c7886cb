"""The conformance checks: right for the kernel's own file system, and for the trees of this house;
wrong trees are found.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from viewosd.filetree import Context, Entry
from viewosd.memorytree import MemoryTree
from viewosd.testing import conformance
from viewosd.testing.conformance.__main__ import main
from viewosd.testing.mounted import mounted, tmpfs

pytestmark = pytest.mark.root
CHECKS = pytest.mark.parametrize("check", conformance.CHECKS, ids=conformance.name)


@CHECKS
def test_tmpfs_conforms(check: conformance.Check):
    with tmpfs() as mount:
        check(mount.root)


@CHECKS
def test_a_tree_in_memory_conforms(check: conformance.Check):
    with mounted(MemoryTree) as mount:
        check(mount.root)


@CHECKS
def test_a_real_directory_passed_through_conforms(check: conformance.Check, tmp_path: Path):
    from viewos_umfuse.real import Real

    fd = os.open(tmp_path, os.O_PATH)
    try:
        with mounted(lambda: Real([fd])) as mount:
            check(mount.root)
    finally:
        os.close(fd)


class Forgetful(MemoryTree):
    """Loses the mode of what is created, and names of listings; can't link."""

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, context: Context) -> Entry:
        return super().mknod(parent, name, mode & ~0o777, rdev, context)

    def create(self, parent: int, name: bytes, mode: int, flags: int, context: Context) -> Any:
        return super().create(parent, name, mode & ~0o777, flags, context)

    def readdir(self, node: int, handle: Any, offset: int, context: Context) -> Any:
        listed = super().readdir(node, handle, offset, context)
        return [entry for entry in listed if not entry.name.startswith(b"0007")]

    def link(self, node: int, parent: int, name: bytes, context: Context) -> Entry:
        raise OSError(errno.EOPNOTSUPP, "no links")


def test_what_is_wrong_and_what_is_not_offered_is_told():
    with mounted(Forgetful) as mount:
        numbers = iter(range(1000))

        def root() -> Path:
            path = mount.root / f"d{next(numbers)}"
            path.mkdir()
            return path

        found = conformance.run(root)
    assert "mode of creation is lost" in found["opening_for_a_new_file_is_exclusive"]
    assert "other names" in found["every_name_is_listed_once"]
    assert found["links_are_the_same_file"].startswith("not offered")
    assert found["what_is_written_is_read"] == "ok"


def test_the_checks_are_run_by_a_command(capsys: pytest.CaptureFixture[str]):
    assert main(["viewosd.memorytree:MemoryTree"]) == 0
    assert "what is written is read: ok" in capsys.readouterr().out
