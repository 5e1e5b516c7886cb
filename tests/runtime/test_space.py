"""A view's mount namespace and its agent, without a view around them."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from helpers.waiting import until
from viewosd.abi.mount import MNT_DETACH, MOUNT_ATTR_RDONLY
from viewosd.errors import ViewError
from viewosd.keeper.processes import state_of
from viewosd.runtime.helpers import Helpers
from viewosd.runtime.space import ViewSpace


@pytest.fixture
async def space() -> AsyncIterator[ViewSpace]:
    """A namespace of whoever runs the tests."""
    helpers = Helpers()
    made = await ViewSpace.make(helpers, None)
    yield made
    made.close()
    ended(helpers)


def ended(helpers: Helpers) -> None:
    """Wait for helpers whose sockets are closed."""
    for pid in helpers.pids():
        until(lambda pid=pid: state_of(pid) in ("", "Z"), "the end of a helper")
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # it was waited for


@pytest.fixture
def point(tmp_path: Path) -> Path:
    (tmp_path / "point").mkdir()
    (tmp_path / "point" / "real").touch()
    return tmp_path / "point"


def opened(space: ViewSpace, path: Path, flags: int = os.O_PATH) -> int:
    return space.open(bytes(path), flags)


def names(space: ViewSpace, path: Path) -> list[str]:
    fd = opened(space, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


async def put(space: ViewSpace, tree: int, at: Path, below: list[tuple[bytes, int]] = ()) -> None:
    target = opened(space, at)
    try:
        await space.attach(tree, target, below)
    finally:
        os.close(target)
        for fd in (tree, *(fd for _, fd in below)):
            os.close(fd)


async def test_what_is_made_is_attached_nowhere_until_it_is_attached(space, point):
    tree = await space.create("tmpfs", [("size", "1m"), ("mode", "700")])
    assert bytes(point) not in space.mountinfo()
    await put(space, tree, point)
    assert names(space, point) == []
    assert os.listdir(point) == ["real"]
    await space.umount(bytes(point))
    assert names(space, point) == ["real"]


async def test_an_ordinary_users_mounts_are_nosuid_and_nodev(space, point):
    await put(space, await space.create("tmpfs"), point)
    (line,) = [line for line in space.mountinfo().splitlines() if bytes(point) in line]
    assert (b"nosuid,nodev" in line.split()[5]) == space.ordinary


async def test_errors_are_the_kernels_and_so_is_their_text(space, point):
    with pytest.raises(OSError, match="Unknown parameter 'colour'") as caught:
        await space.create("tmpfs", [("colour", "red")])
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError) as caught:  # noqa: PT011
        await space.create("nosuchfs")
    assert caught.value.errno == errno.ENODEV
    with pytest.raises(OSError) as caught:  # noqa: PT011
        await space.umount(bytes(point))
    assert caught.value.errno == errno.EINVAL


async def test_a_clone_shows_the_same_and_can_be_made_read_only(space, point, tmp_path):
    source = opened(space, point)
    copy = await space.clone(source)
    os.close(source)
    await space.change(copy, set=MOUNT_ATTR_RDONLY)
    (tmp_path / "other").mkdir()
    await put(space, copy, tmp_path / "other")
    assert names(space, tmp_path / "other") == ["real"]
    with pytest.raises(OSError) as caught:  # noqa: PT011
        space.open(bytes(tmp_path / "other" / "new"), os.O_CREAT | os.O_WRONLY)
    assert caught.value.errno == errno.EROFS


async def test_a_file_can_be_attached_to_a_file(space, point, tmp_path):
    (tmp_path / "hosts").write_text("ours")
    source = opened(space, tmp_path / "hosts")
    copy = await space.clone(source)
    os.close(source)
    await put(space, copy, point / "real")
    fd = opened(space, point / "real", os.O_RDONLY)
    assert os.read(fd, 100) == b"ours"
    os.close(fd)


async def test_trees_are_attached_below_one_another(space, point):
    await put(space, await space.create("tmpfs"), point)
    inner = await space.create("tmpfs")
    fd = opened(space, point, os.O_RDONLY | os.O_DIRECTORY)
    os.mkdir("deep", dir_fd=fd)
    os.close(fd)
    await put(space, inner, point / "deep")
    top = opened(space, point)
    copy = await space.clone(top)
    os.close(top)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        await put(space, copy, point, [(b"../real", await space.create("tmpfs"))])
    assert caught.value.errno == errno.EINVAL
    assert space.mountinfo().count(bytes(point) + b" ") == 1  # nothing is half attached


async def test_what_has_lost_its_place_is_left_out(space, point):
    """A socket, say, that was there when the mount was begun."""
    await put(space, await space.create("tmpfs"), point)
    top = opened(space, point, os.O_RDONLY | os.O_DIRECTORY)
    os.mkdir("kept", dir_fd=top)
    copy = await space.clone(top)
    os.close(top)
    inner = [await space.create("tmpfs") for _ in range(2)]
    await put(space, copy, point, [(b"gone/away", inner[0]), (b"kept", inner[1])])
    os.close(opened(space, point / "kept"))
    assert space.mountinfo().count(bytes(point) + b"/kept ") == 1
    assert b"away" not in space.mountinfo()


async def test_layers_are_passed_by_descriptor(space, point, tmp_path):
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    fds = [opened(space, tmp_path / name) for name in ("point", "upper", "work")]
    options = [("lowerdir+", fds[0]), ("upperdir", fds[1]), ("workdir", fds[2])]
    if space.ordinary:
        options.append(("userxattr", None))
    try:
        tree = await space.create("overlay", options)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENODEV):
            pytest.skip(f"no overlay with descriptors here: {error.strerror}")
        raise
    finally:
        for fd in fds:
            os.close(fd)
    await put(space, tree, point)
    os.close(space.open(bytes(point / "new"), os.O_CREAT | os.O_WRONLY))
    assert os.listdir(tmp_path / "upper") == ["new"]
    assert os.listdir(point) == ["real"]


async def test_a_branch_has_the_mounts_of_its_parent_and_its_own(space, point):
    await put(space, await space.create("tmpfs"), point)
    helpers = Helpers()
    branch = await ViewSpace.make(helpers, space)
    try:
        assert names(branch, point) == []
        await put(branch, await branch.create("tmpfs"), point)
        os.close(branch.open(bytes(point / "own"), os.O_CREAT | os.O_WRONLY))
        assert (names(branch, point), names(space, point)) == (["own"], [])
        await branch.umount(bytes(point), MNT_DETACH)
        if space.ordinary:  # what came from above is locked: mount_namespaces(7)
            with pytest.raises(OSError, match="Invalid argument"):
                await branch.umount(bytes(point), MNT_DETACH)
            assert (names(branch, point), names(space, point)) == ([], [])
        else:
            await branch.umount(bytes(point), MNT_DETACH)
            assert (names(branch, point), names(space, point)) == (["real"], [])
    finally:
        branch.close()
        ended(helpers)


async def test_a_killed_agent_is_replaced_and_the_mounts_stay(space, point):
    told = []
    space.replaced = lambda: told.append(space.end.fileno())
    await put(space, await space.create("tmpfs"), point)
    first = space.agent()
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    assert names(space, point) == []
    assert space.agent() != first
    await space.umount(bytes(point))
    assert names(space, point) == ["real"]
    assert told == [space.end.fileno()]


async def test_a_kill_in_the_middle_of_a_question_asks_it_again(space, point):
    first = space.agent()
    os.kill(first, signal.SIGSTOP)
    async with trio.open_nursery() as nursery:
        made: list[int] = []

        async def make() -> None:
            made.append(await space.create("tmpfs"))

        nursery.start_soon(make)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
    os.close(made[0])
    assert space.agent() != first


async def test_a_mount_is_not_busy_for_long_after_a_helper_was_forked(space, point):
    """Which has a copy of all that is open here until it has closed it."""
    tree = await space.create("tmpfs")
    await put(space, os.dup(tree), point)
    helpers = space._helpers
    closing = os.pipe2(os.O_CLOEXEC)
    pid = helpers.fork(b"viewos-test", lambda: os.read(closing[0], 1), [closing[0]])
    os.close(tree)
    await space.umount(bytes(point))
    assert names(space, point) == ["real"]
    for fd in closing:
        os.close(fd)
    os.waitpid(pid, 0)


async def test_two_that_wait_until_helpers_have_settled_are_told_the_same(space):
    helpers = space._helpers
    pid = helpers.fork(b"viewos-test", lambda: None, [])
    told = []

    async def wait() -> None:
        told.append(await helpers.settled())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
    assert told == [True, True]
    assert not await helpers.settled()
    os.waitpid(pid, 0)


async def test_a_helper_has_ended_whoever_collects_it(space):
    helpers = space._helpers
    pid = helpers.fork(b"viewos-test", lambda: None, [])
    until(lambda: state_of(pid) == "Z", "the end of a helper")
    assert pid not in helpers.pids()
    os.waitpid(pid, 0)


async def test_nobody_elses_thread_lives_in_it(space):
    assert not space.inhabits(os.getpid())
    assert space.inhabits(space.agent())
    assert not space.inhabits(1 << 22)


async def test_a_machine_without_namespaces_is_told_of_in_words(monkeypatch):
    def refuse(above, user):
        raise OSError(errno.ENOSPC, "no user namespace: too many")

    monkeypatch.setattr("viewosd.agent.namespaces.make", refuse)
    helpers = Helpers()
    with pytest.raises(ViewError, match=r"can't have a file tree of its own: no user .* too many"):
        await ViewSpace.make(helpers, None)
    ended(helpers)
