"""Listings without hidden names: real directories, a tracee without a kernel."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewos_viewfs.listing import list_without, without
from viewosd.abi.arch import NATIVE, Arch
from viewosd.abi.dirent import Dirent, pack_dirent64, unpack_dirents, unpack_dirents64
from viewosd.errors import BadAddress
from viewosd.syscalls.files import getdents, getdents64, readdir
from viewosd.testing.tracee import FakeTracee

LAYOUTS = [(getdents64, NATIVE), (getdents64, Arch.I386), (getdents, NATIVE), (getdents, Arch.I386)]


class Listing:
    """A program with an open directory and a buffer."""

    def __init__(self, path: Path, kind: type, arch: Arch, size: int) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.tracee = FakeTracee(arch)
        self.tracee.descriptors[3] = self.fd
        self.address = self.tracee.put(bytes(size + 512))
        self.size, self.kind, self.arch = size, kind, arch

    def ask(self, names: set[bytes]) -> list[Dirent]:
        """One call; its entries."""
        call = self.kind((3, self.address, self.size, 0, 0, 0), self.arch)
        count = list_without(call, self.tracee, names)
        raw = self.tracee.read(self.address, count)
        if self.kind is getdents64:
            return list(unpack_dirents64(raw))
        return list(unpack_dirents(raw, self.arch))

    def all(self, names: set[bytes]) -> list[Dirent]:
        found: list[Dirent] = []
        while some := self.ask(names):
            found += some
        return found

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def listing(tmp_path):
    made: list[Listing] = []

    def make(kind, arch, size=4096, path=tmp_path):
        made.append(Listing(path, kind, arch, size))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(("kind", "arch"), LAYOUTS)
@pytest.mark.parametrize("size", [280, 600, 4096, 1 << 20])
def test_all_names_but_the_hidden_ones_come_once(tmp_path, listing, kind, arch, size):
    names = {b"%d" % i * (i % 40 + 1) for i in range(120)}
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    hidden = {name for name in names if len(name) % 3 == 0}
    found = [entry.name for entry in listing(kind, arch, size).all(hidden)]
    assert len(found) == len(set(found))
    assert set(found) == (names - hidden) | {b".", b".."}


@pytest.mark.parametrize(("kind", "arch"), LAYOUTS)
def test_a_directory_with_nothing_but_hidden_names_is_empty(tmp_path, listing, kind, arch):
    for i in range(50):
        (tmp_path / f"{i}").touch()
    one = listing(kind, arch, 300)
    names = {b"%d" % i for i in range(50)}
    assert {entry.name for entry in one.all(names)} == {b".", b".."}
    assert one.ask(names) == []


@pytest.mark.parametrize(("kind", "arch"), LAYOUTS)
def test_seeking_to_where_an_entry_ended_goes_on_behind_it(tmp_path, listing, kind, arch):
    for i in range(30):
        (tmp_path / f"name{i}").touch()
    one, hidden = listing(kind, arch), {b"name7", b"name20"}
    entries = one.all(hidden)
    for at in (0, 5, 17):
        os.lseek(one.fd, entries[at].off, os.SEEK_SET)
        assert [e.name for e in one.all(hidden)] == [e.name for e in entries[at + 1 :]]


@pytest.mark.parametrize(("kind", "arch"), LAYOUTS)
def test_a_buffer_too_small_for_one_name_is_einval(tmp_path, listing, kind, arch):
    (tmp_path / ("x" * 200)).touch()
    one = listing(kind, arch, 10)
    with pytest.raises(OSError, match="Invalid") as caught:
        one.ask({b"hidden"})
    assert caught.value.errno == errno.EINVAL
    one.size = 4096
    assert {e.name for e in one.all(set())} == {b".", b"..", b"x" * 200}


@pytest.mark.parametrize(("kind", "arch"), LAYOUTS)
def test_a_bad_buffer_leaves_the_offset_where_it_was(tmp_path, listing, kind, arch):
    (tmp_path / "name").touch()
    one = listing(kind, arch)
    right, one.address = one.address, 1
    with pytest.raises(BadAddress):
        one.ask({b"other"})
    one.address = right
    assert {e.name for e in one.all({b"other"})} == {b".", b"..", b"name"}


def test_readdir_gives_one_entry_a_call(tmp_path, listing):
    for name in ("one", "two", "three"):
        (tmp_path / name).touch()
    one = listing(readdir, Arch.I386)
    found = []
    call = readdir((3, one.address, 1, 0, 0, 0), Arch.I386)
    while list_without(call, one.tracee, {b"two"}):
        raw = one.tracee.read(one.address, 266)
        length = int.from_bytes(raw[8:10], "little")
        found.append(raw[10 : 10 + length])
    assert sorted(found) == [b".", b"..", b"one", b"three"]


def test_what_ends_like_a_hidden_name_or_looks_like_its_record_is_kept():
    alike = Dirent(int.from_bytes(b"file7\0\0\0", "little"), 1 << 56, 8, b"12345678\x18\x01file7")
    records = [Dirent(5, 6, 8, name) for name in (b"file7", b"12345678file7", b"file77", b"file7")]
    raw = b"".join(map(pack_dirent64, [records[0], alike, *records[1:]]))
    kept = b"".join(map(pack_dirent64, [alike, *records[1:3]]))
    assert without(raw, {b"file7", b"none"}) == kept


entries = st.builds(
    Dirent,
    st.integers(1, 2**64 - 1),
    st.integers(0, 2**63 - 1),
    st.sampled_from([0, 4, 8]),
    st.binary(min_size=1, max_size=255).map(lambda b: b.replace(b"\0", b"x").replace(b"/", b"y")),
)


@settings(max_examples=200)
@given(st.lists(entries, max_size=20), st.data())
def test_records_are_kept_byte_for_byte(records, data):
    names = data.draw(st.sets(st.sampled_from([r.name for r in records] or [b"z"])))
    raw = b"".join(map(pack_dirent64, records))
    expected = b"".join(pack_dirent64(r) for r in records if r.name not in names)
    assert without(raw, names) == expected
