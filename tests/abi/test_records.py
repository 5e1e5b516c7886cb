"""Records of variable length: directory entries, control messages, socket names."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewosd.abi import dirent, socket
from viewosd.abi.arch import Arch
from viewosd.abi.dirent import Dirent
from viewosd.abi.socket import Cmsg
from viewosd.abi.utsname import new_utsname

u32 = st.integers(0, 0xFFFF_FFFF)
names = st.binary(min_size=1, max_size=255).map(lambda b: b.replace(b"\0", b"x"))
entries = st.lists(
    st.builds(Dirent, u32, st.integers(0, 0x7FFF_FFFF), st.integers(0, 14), names), max_size=5
)
arches = st.sampled_from(list(Arch))


@given(entries)
def test_directory_entries_come_back_from_getdents64(made: list[Dirent]) -> None:
    raw = b"".join(dirent.pack_dirent64(e) for e in made)
    assert list(dirent.unpack_dirents64(raw)) == made
    assert len(raw) % 8 == 0


@given(entries, arches)
def test_directory_entries_come_back_from_getdents(made: list[Dirent], arch: Arch) -> None:
    raw = b"".join(dirent.pack_dirent(e, arch) for e in made)
    assert list(dirent.unpack_dirents(raw, arch)) == made
    assert len(raw) % arch.pointer_size == 0


@given(st.binary(max_size=200), arches)
def test_garbage_is_a_valueerror_or_entries(raw: bytes, arch: Arch) -> None:
    for parse in (dirent.unpack_dirents64, lambda r: dirent.unpack_dirents(r, arch)):
        try:
            assert all(isinstance(e, Dirent) for e in parse(raw))
        except ValueError:
            pass


def test_an_inode_number_too_large_for_i386_is_refused() -> None:
    with pytest.raises(OverflowError):
        dirent.pack_dirent(Dirent(1 << 32, 0, 0, b"a"), Arch.I386)


@given(
    st.lists(
        st.builds(
            Cmsg, u32.map(lambda n: n >> 1), u32.map(lambda n: n >> 1), st.binary(max_size=40)
        ),
        max_size=4,
    ),
    arches,
)
def test_control_messages_come_back(made: list[Cmsg], arch: Arch) -> None:
    assert list(socket.unpack_cmsgs(socket.pack_cmsgs(made, arch), arch)) == made


@given(st.binary(max_size=100), arches)
def test_garbage_is_a_valueerror_or_control_messages(raw: bytes, arch: Arch) -> None:
    try:
        assert all(isinstance(m, Cmsg) for m in socket.unpack_cmsgs(raw, arch))
    except ValueError:
        pass


@given(st.binary(max_size=108))
def test_a_socket_name_comes_back(name: bytes) -> None:
    wanted = name if name[:1] == b"\0" else name.partition(b"\0")[0]
    assert socket.sockaddr_un.name(socket.sockaddr_un.of(wanted)) == wanted


def test_addresses_and_families_are_read() -> None:
    raw = b"\x02\x00\x1f\x90\x7f\x00\x00\x01".ljust(16, b"\0")
    address = socket.sockaddr_in.unpack(raw)
    assert (socket.family(raw), address.port, address.sin_addr) == (2, 8080, b"\x7f\0\0\1")
    assert socket.family(b"") == socket.AF_UNSPEC
    six = socket.sockaddr_in6(10, b"\0\x50", bytes(4), bytes(15) + b"\1", 3)
    assert six.port == 80
    with pytest.raises(ValueError, match="109 bytes"):
        socket.sockaddr_un.of(b"x" * 109)


def test_utsname_takes_what_os_uname_gives() -> None:
    host = os.uname()
    assert (
        new_utsname.unpack(new_utsname.of(host).pack()).nodename.rstrip(b"\0").decode() == host[1]
    )
    odd = SimpleNamespace(sysname="a", nodename="\udcff", release="r", version="v", machine="m")
    assert new_utsname.of(odd).nodename == b"\xff"
