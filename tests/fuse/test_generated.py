"""Trees of names and contents."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator, Mapping

import pytest
import trio

from viewosd.filetree import ROOT, Context
from viewosd.generated import GeneratedTree
from viewosd.testing.mounted import mounted

WHO = Context(0, 0, 0)


def errno_of(call, *args):
    with pytest.raises(OSError, match=r"\w") as caught:
        call(*args)
    return caught.value.errno


class Numbers(Mapping):
    """A directory with all numbers in it; it lists the first three."""

    def __getitem__(self, name: str) -> bytes:
        if not name.isdecimal():
            raise KeyError(name)
        return b"%d\n" % (int(name) ** 2)

    def __iter__(self) -> Iterator[str]:
        return iter(["1", "2", "3"])

    def __len__(self) -> int:
        return 3


def tree(**more):
    return GeneratedTree(
        {"file": b"content", "sub": {"deep": b"deep"}, "squares": Numbers(), **more}
    )


def test_names_are_found_and_forgotten():
    t = tree()
    sub = t.lookup(ROOT, b"sub", WHO)
    assert t.lookup(ROOT, b"sub", WHO).node == sub.node
    deep = t.lookup(sub.node, b"deep", WHO)
    assert (deep.attr.size, deep.attr.mode) == (4, 0o100444)
    t.forget(deep.node, 1)
    assert errno_of(t.getattr, deep.node, None, WHO) == errno.ESTALE
    t.forget(sub.node, 1)
    assert t.getattr(sub.node, None, WHO).mode == 0o040555
    assert errno_of(t.lookup, ROOT, b"none", WHO) == errno.ENOENT
    assert errno_of(t.lookup, deep.node, b"x", WHO) == errno.ESTALE


async def test_contents_are_made_at_each_open():
    made = []

    def count() -> bytes:
        made.append(1)
        return b"%d" % len(made)

    async def later() -> bytes:
        await trio.lowlevel.checkpoint()
        return b"later"

    t = tree(count=count, later=later)
    for name, expected in ((b"count", b"1"), (b"count", b"2"), (b"later", b"later")):
        node = t.lookup(ROOT, name, WHO).node
        opened = await t.open(node, os.O_RDONLY, WHO)
        assert opened.direct_io
        assert t.read(node, opened.handle, 0, 99, WHO) == expected
    with pytest.raises(OSError, match="generated"):
        await t.open(node, os.O_RDWR, WHO)


def test_a_listing_is_as_it_was_when_it_began():
    names = {"a": b"", "b": b""}
    t = GeneratedTree(names)
    opened = t.opendir(ROOT, 0, WHO)
    del names["a"]
    names["c"] = b""
    assert [e.name for e in t.readdir(ROOT, opened.handle, 0, WHO)] == [b".", b"..", b"a", b"b"]
    assert [e.name for e in t.readdir(ROOT, opened.handle, 3, WHO)] == [b"b"]


@pytest.mark.root
def test_programs_see_files_that_nobody_wrote():
    with mounted(lambda: tree(now=lambda: b"made" * 5000)) as mount:
        root = mount.root
        assert sorted(os.listdir(root)) == ["file", "now", "squares", "sub"]
        assert (root / "now").read_bytes() == b"made" * 5000
        assert (root / "now").stat().st_size == 0
        assert (root / "squares" / "12").read_bytes() == b"144\n"
        assert sorted(os.listdir(root / "squares")) == ["1", "2", "3"]
        assert not (root / "squares" / "x").exists()
        found = subprocess.run(
            ["grep", "-r", "e", "."], cwd=root, pass_fds=[mount.fd], capture_output=True
        ).stdout.splitlines()
        assert {b"./file:content", b"./sub/deep:deep"} <= set(found)
        with pytest.raises(OSError, match="Read-only"):
            (root / "file").write_bytes(b"")
        with pytest.raises(OSError, match="Read-only"):
            (root / "new").touch()
        assert mount.log() == ""


@pytest.mark.root
def test_one_content_can_be_mounted_on_a_file():
    with mounted(lambda: GeneratedTree(b"whole"), root_mode=0o100444) as mount:
        assert mount.root.read_bytes() == b"whole"
