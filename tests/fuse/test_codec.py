"""Bytes to requests and back, without a kernel."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewosd.abi import fuse as abi
from viewosd.abi.fuse import fuse_in_header, fuse_init_in, fuse_init_out, fuse_write_in
from viewosd.filetree import Attr, Dirent, Entry, FileTree, Opened, SetAttr
from viewosd.fuse import codec, init, listing, mount
from viewosd.fuse.calls import CALLS
from viewosd.fuse.dying import kills

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
OPCODES = sorted(codec._LAYOUTS)


def request(
    opcode: int, body: bytes = b"", *, unique: int = 7, node: int = 1, extensions: int = 0
) -> bytes:
    length = fuse_in_header.sizeof + len(body)
    return fuse_in_header(length, opcode, unique, node, 10, 20, 30, extensions).pack() + body


def decode(raw: bytes) -> codec.Request:
    return codec.decode(memoryview(raw)[:40], memoryview(raw)[40:], len(raw))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_malformed(raw):
    try:
        decode(raw)
    except codec.Malformed:
        pass


@given(st.sampled_from(OPCODES) | U32, st.binary(max_size=200), st.integers(0, 3))
def test_any_body_under_a_good_header_is_a_request_or_malformed(opcode, body, extensions):
    try:
        found = decode(request(opcode, body, extensions=extensions))
    except codec.Malformed as error:
        whom = error.unique
    else:
        whom = found.unique
        assert (found.opcode, found.node) == (opcode, 1)
        assert (found.uid, found.gid, found.pid) == (10, 20, 30)
    assert whom in (0, 7)


@pytest.mark.parametrize(
    ("raw", "unique"),
    [
        (b"", 0),
        (request(abi.FUSE_LOOKUP, b"a\0") + b"x", 0),
        (request(abi.FUSE_LOOKUP, b"a\0", extensions=200), 0),
        (request(abi.FUSE_LOOKUP, b"no end"), 7),
        (request(abi.FUSE_LOOKUP, b"one\0two\0"), 7),
        (request(abi.FUSE_SYMLINK, b"one\0"), 7),
        (request(abi.FUSE_READ, b"short"), 7),
        (request(abi.FUSE_WRITE, fuse_write_in(0, 0, 5, 0, 0, 0).pack() + b"four"), 7),
        (request(abi.FUSE_SETXATTR, struct.pack("=II", 5, 0) + b"user.a\0four"), 7),
        (request(abi.FUSE_BATCH_FORGET, struct.pack("=II", 2**32 - 1, 0) + bytes(16)), 0),
    ],
)
def test_what_is_cut_off_or_lies_about_its_length_is_malformed(raw, unique):
    with pytest.raises(codec.Malformed) as caught:
        decode(raw)
    assert caught.value.unique == unique


def test_names_and_data_are_taken_apart():
    assert decode(request(abi.FUSE_SYMLINK, b"name\0to/there\0")).names == (b"name", b"to/there")
    write = decode(request(abi.FUSE_WRITE, fuse_write_in(1, 2, 4, 0, 0, 0).pack() + b"a\0b\0"))
    assert (write.args[:3], bytes(write.data)) == ((1, 2, 4), b"a\0b\0")
    xattr = decode(request(abi.FUSE_SETXATTR, struct.pack("=II", 3, 1) + b"user.a\0\0v\0"))
    assert (xattr.args, xattr.names, bytes(xattr.data)) == ((3, 1), (b"user.a",), b"\0v\0")
    forgets = decode(request(abi.FUSE_BATCH_FORGET, struct.pack("=II4Q", 2, 0, 5, 1, 6, 3)))
    assert forgets.args == (5, 1, 6, 3)
    extended = decode(request(abi.FUSE_LOOKUP, b"a\0" + bytes(8), extensions=1))
    assert extended.names == (b"a",)


def test_every_request_that_is_known_is_answered_or_needs_no_tree():
    without = {abi.FUSE_INIT, abi.FUSE_INTERRUPT, abi.FUSE_NOTIFY_REPLY}
    assert set(OPCODES) - without == set(CALLS)


TIMES = st.integers(-(2**62), 2**62)


@given(
    st.builds(
        Attr, U64, U32, U32, U32, U32, st.integers(0, 2**64 - 1), U64,
        st.none() | U64, U32, TIMES, TIMES, TIMES, st.none() | st.floats(0, allow_nan=False),
    ),
    st.floats(0, 1e6),
)  # fmt: skip
def test_attributes_are_packed_without_loss(attr, attr_s):
    out = abi.fuse_attr_out.unpack(codec.attr_out(attr, attr_s))
    raw = abi.fuse_attr.unpack(out.attr)
    assert (raw.ino, raw.mode, raw.nlink, raw.size) == (attr.ino, attr.mode, attr.nlink, attr.size)
    assert (raw.uid, raw.gid, raw.rdev) == (attr.uid, attr.gid, attr.rdev & 0xFFFF_FFFF)
    for name in ("atime", "mtime", "ctime"):
        nsec = getattr(raw, f"{name}nsec")
        assert 0 <= nsec < 10**9
        assert getattr(raw, name) * 10**9 + nsec == getattr(attr, f"{name}_ns")
    valid_s = attr_s if attr.valid_s is None else attr.valid_s
    assert out.attr_valid + out.attr_valid_nsec / 1e9 == pytest.approx(
        min(valid_s, 2**40), abs=1e-6
    )
    assert out.attr_valid_nsec < 10**9


def test_a_negative_entry_has_a_time_and_nothing_else():
    raw = abi.fuse_entry_out.unpack(codec.entry_out(Entry(0, Attr(5, 5), 2.5), 9.0, 9.0))
    assert (raw.nodeid, raw.entry_valid, raw.entry_valid_nsec, raw.attr) == (
        0,
        2,
        5 * 10**8,
        bytes(88),
    )
    assert codec.entry_out(Entry(0, Attr(0, 0)), 0.0, 1.0) == codec.NO_ENTRY


def test_what_open_returns_is_flags():
    raw = abi.fuse_open_out.unpack(codec.open_out(3, Opened(None, True, True, True, True)))
    assert (raw.fh, raw.open_flags) == (3, 0b1111)


def setattr_args(valid: int) -> tuple[int, ...]:
    return (valid, 4, 5, 0, 6, 7, 8, 60, 70, 80, 0o100644, 1000, 1001)


def test_setattr_says_what_is_valid_and_nothing_else():
    assert codec.setattr_in(setattr_args(0), 99) == (SetAttr(), None)
    everything, fh = codec.setattr_in(
        setattr_args(0xFFF & ~(abi.FATTR_ATIME_NOW | abi.FATTR_MTIME_NOW)), 99
    )
    assert everything == SetAttr(
        0o644, 1000, 1001, 5, 6_000_000_060, 7_000_000_070, 8_000_000_080, False, False, True
    )
    assert fh == 4
    now, _ = codec.setattr_in(setattr_args(abi.FATTR_ATIME | abi.FATTR_ATIME_NOW), 99)
    assert now == SetAttr(atime_ns=99, atime_now=True)


NAMES = st.binary(min_size=1, max_size=255).filter(lambda n: b"\0" not in n and b"/" not in n)


def unpacked(raw: bytes, *, plus: bool = False) -> list[tuple[int, Dirent]]:
    """Node and entry of each record."""
    found, at = [], 0
    while at < len(raw):
        node = 0
        if plus:
            node = abi.fuse_entry_out.unpack(raw[at : at + 128]).nodeid
            at += 128
        head = abi.fuse_dirent.unpack(raw[at : at + 24])
        name = raw[at + 24 : at + 24 + head.namelen]
        found.append((node, Dirent(name, head.ino, head.type << 12, head.off)))
        at += 24 + head.namelen + (-head.namelen & 7)
    assert at == len(raw)
    return found


@given(st.lists(NAMES, max_size=40), st.integers(1024, 4096))
def test_a_listing_goes_on_where_it_was_cut(names, size):
    entries = [Dirent(n, i, 0o040000, i + 1) for i, n in enumerate(names)]
    seen: list[Dirent] = []
    while raw := listing.names(iter(entries[len(seen) :]), size):
        assert len(raw) <= size
        seen += [entry for _, entry in unpacked(raw)]
    assert seen == entries


async def test_only_what_is_sent_is_looked_up():
    asked = []

    async def look(name: bytes) -> bytes:
        asked.append(name)
        if name == b"gone":
            raise OSError(2, "gone")
        return codec.entry_out(Entry(9, Attr(9, 0o100644)), 0, 0)

    names = [b".", b"..", b"gone", b"a", b"b", b"c"]
    entries = [Dirent(n, 9, 0o100000, i + 1) for i, n in enumerate(names)]
    raw = await listing.names_and_attributes(entries, 5 * (128 + 32), look)
    assert [node for node, _ in unpacked(raw, plus=True)] == [0, 0, 0, 9, 9]
    assert asked == [b"gone", b"a", b"b"]
    with pytest.raises(OSError, match="not one entry fits"):
        await listing.names_and_attributes(entries, 100, look)


class Everything(FileTree):
    writeback = killpriv = applies_umask = cache_symlinks = True

    def setlk(self, *_args):
        return None

    def flock(self, *_args):
        return None


@given(U32, U32, U32, U32, st.sampled_from([FileTree, Everything]))
def test_nothing_is_agreed_on_that_the_kernel_does_not_have(minor, readahead, low, high, tree):
    raw, flags = init.init_out(tree(), (7, minor, readahead, low, high))
    out = fuse_init_out.unpack(raw)
    assert out.flags & ~low == 0
    assert out.flags2 & ~high == 0
    assert flags == out.flags | out.flags2 << 32
    assert (out.major, out.max_write, out.max_pages) == (7, 1 << 20, 256)
    assert out.minor <= minor
    assert fuse_init_in.sizeof == 64


def test_a_tree_is_asked_only_for_what_it_offers():
    every = (1 << 64) - 1
    plain, full = init.wanted(FileTree()) & every, init.wanted(Everything()) & every
    more = full & ~plain
    assert more == (
        abi.FUSE_POSIX_LOCKS | abi.FUSE_FLOCK_LOCKS | abi.FUSE_WRITEBACK_CACHE
        | abi.FUSE_HANDLE_KILLPRIV_V2 | abi.FUSE_DONT_MASK | abi.FUSE_CACHE_SYMLINKS
    )  # fmt: skip
    assert not full & (abi.FUSE_EXPORT_SUPPORT | abi.FUSE_ATOMIC_O_TRUNC | abi.FUSE_POSIX_ACL)


def test_another_protocol_is_refused_or_asked_to_be_this_one():
    with pytest.raises(ValueError, match="the kernel speaks FUSE 6"):
        init.init_out(FileTree(), (6, 1, 0, 0, 0))
    raw, flags = init.init_out(FileTree(), (8, 0, 0, 0, 0))
    assert (fuse_init_out.unpack(raw).major, flags) == (7, 0)


def test_options_say_who_may_come_in_and_who_checks():
    assert mount.options(uid=3, gid=4, subtype="t", source="s", root_mode=0o100644) == [
        ("source", "s"), ("subtype", "t"), ("rootmode", "100644"), ("user_id", "3"),
        ("group_id", "4"), ("default_permissions", None), ("allow_other", None),
    ]  # fmt: skip
    left_out = {"default_permissions", "allow_other"}
    names = {name for name, _ in mount.options(everybody=False, checked=False, more=[("x", None)])}
    assert not names & left_out
    assert "x" in names
    assert mount.device(5) == ("fd", "5")


@pytest.mark.parametrize(
    ("status", "dying"),
    [
        (b"SigQ:\t2/96365\nSigPnd:\t0\nShdPnd:\t0000000000000100\nSigBlk:\t0\nSigCgt:\t0", True),
        (b"SigPnd:\t4000\nShdPnd:\t0\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0", True),  # SIGTERM
        (b"SigPnd:\t4000\nShdPnd:\t0\nSigBlk:\t4000\nSigIgn:\t0\nSigCgt:\t0", False),
        (b"SigPnd:\t200\nShdPnd:\t0\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t200", False),
        (b"SigPnd:\t0\nShdPnd:\t10000\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0", False),  # SIGCHLD
        (b"", False),
    ],
)
def test_a_thread_is_dying_if_a_signal_waits_that_it_does_not_handle(status, dying):
    assert kills(status) is dying
