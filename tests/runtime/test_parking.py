"""Parked listeners: nothing is lost whatever the moment a supervisor dies in."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator

import pytest

from viewosd.runtime.parking import Parking


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """Both ends, as the keeper holds them."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield pair[0].fileno(), pair[1].fileno()
    for end in pair:
        end.close()


@pytest.fixture
def parking(ends) -> Iterator[Parking]:
    made = Parking(ends)
    yield made
    made.close()


@pytest.fixture
def files() -> Iterator[list[int]]:
    """Some files that can be told apart."""
    fds = [os.memfd_create(f"file-{n}") for n in range(450)]
    yield fds
    for fd in fds:
        os.close(fd)


def names(found: list[tuple[int, int]]) -> dict[int, str]:
    """Key to what lies under it; closes the descriptors."""
    shown = {}
    for key, fd in found:
        assert not os.get_inheritable(fd)
        assert key not in shown
        shown[key] = os.readlink(f"/proc/self/fd/{fd}").split("-")[-1].split()[0]
        os.close(fd)
    return shown


def expected(keys) -> dict[int, str]:
    return {key: str(key) for key in keys}


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_whoever_looks_finds_all_and_takes_nothing_away(parking, files):
    parking.put(enumerate(files))
    for _ in range(3):
        assert names(parking.look()) == expected(range(450))


def test_a_successor_finds_what_was_parked_one_by_one(ends, files):
    dead = Parking(ends)
    for key in range(20):
        dead.put([(key, files[key])])
    dead.close()
    heir = Parking(ends)
    assert names(heir.look()) == expected(range(20))
    heir.put([(20, files[20])])
    assert names(heir.look()) == expected(range(21))
    heir.close()


def test_only_what_is_kept_is_found_afterwards(parking, files):
    parking.put(enumerate(files))
    parking.keep_only((n, files[n]) for n in (3, 400))
    parking.put([(7, files[7])])
    assert names(parking.look()) == expected([3, 7, 400])
    parking.keep_only([])
    assert names(parking.look()) == {}
    parking.put([(1, files[1])])
    assert names(parking.look()) == expected([1])


def test_a_death_between_putting_and_clearing_leaves_each_key_once(ends, files):
    dead = Parking(ends)
    dead.put([(1, files[1]), (2, files[2])])
    dead._lanes.reverse()  # the first half of keep_only
    dead.put([(2, files[2])])
    dead.close()
    heir = Parking(ends)
    assert names(heir.look()) == expected([1, 2])
    heir.keep_only([(2, files[2])])
    assert names(heir.look()) == expected([2])
    heir.close()


def test_a_successor_clears_whatever_lane_the_dead_one_used(ends, files):
    for generation in range(4):
        parking = Parking(ends)
        parking.put([(generation, files[generation])])
        parking.keep_only([(10 + generation, files[10 + generation])])
        parking.put([(20 + generation, files[20 + generation])])
        assert names(parking.look()) == expected([10 + generation, 20 + generation])
        parking.close()
    last = Parking(ends)
    last.keep_only([])
    assert names(last.look()) == {}
    last.close()


def test_a_full_place_says_so_and_has_room_again_after_clearing(parking, files):
    with pytest.raises(OSError) as caught:  # noqa: PT011, PT012 - which, and when, is looked at below
        for key in range(100_000):
            parking.put([(key % 450, files[key % 450])])
    assert caught.value.errno in (errno.EAGAIN, errno.ETOOMANYREFS)
    parking.keep_only([(1, files[1]), (2, files[2])])
    parking.put([(3, files[3])])
    assert names(parking.look()) == expected([1, 2, 3])


def test_looking_and_clearing_leak_no_descriptor(parking, files):
    parking.put(enumerate(files))
    before = open_files()
    for _ in range(5):
        names(parking.look())
        parking.keep_only(enumerate(files))
    assert open_files() == before


def test_a_parked_file_lives_on_without_any_descriptor(parking):
    reader, writer = os.pipe()
    parking.put([(1, writer)])
    os.close(writer)
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    parking.keep_only([])
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_holder_that_only_keeps_descriptors_keeps_all_that_is_parked(files):
    """As systemd's file-descriptor store does: it takes descriptors from a message (FDSTORE=1), drops
    those that show POLLHUP or POLLERR, and gives them to whoever is started next, sd_notify(3).
    """
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine, store = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, store:
        dead = Parking((pair[0].fileno(), pair[1].fileno()))
        dead.put(enumerate(files[:300]))
        socket.send_fds(mine, [b"FDSTORE=1"], [end.fileno() for end in pair])
        dead.close()
        for end in pair:
            end.close()
        _, held, _, _ = socket.recv_fds(store, 100, 2)
        poll = select.poll()
        for fd in held:
            poll.register(fd, 0)
        assert poll.poll(0) == []
        heir = Parking((held[0], held[1]))
        assert names(heir.look()) == expected(range(300))
        heir.close()
        for fd in held:
            os.close(fd)
