"""fsopen(2) and its kin, open_tree(2), move_mount(2), mount_setattr(2) in a view's namespace."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from helpers.namespace import Binder, Here, namespace
from viewosd.abi import mount as abi
from viewosd.abi.fcntl import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE
from viewosd.runtime.mounting.contexts import MOST_TREES
from viewosd.syscalls import (
    fsconfig,
    fsmount,
    fsopen,
    fspick,
    mount_setattr,
    move_mount,
    open_tree,
    open_tree_attr,
)

CWD = AT_FDCWD & (1 << 64) - 1
CLONE = abi.OPEN_TREE_CLONE | abi.OPEN_TREE_CLOEXEC
CONTEXT, TREE = 40, 41
"""Descriptors of the tracee."""


class Calls:
    """The calls as the tracee would make them."""

    def __init__(self, here: Here) -> None:
        self.here, self.mounting = here, here.mounting

    async def fsopen(self, type: str, flags: int = 1) -> Any:
        call = fsopen((self.here.text(type), flags, 0, 0, 0, 0))
        return await self.here.ask(self.mounting.on_fsopen, call)

    async def fsconfig(
        self, cmd: int, key: str | None = None, value: str | None = None, aux: int = 0
    ) -> Any:
        texts = self.here.text(key), self.here.text(value)
        call = fsconfig((CONTEXT, cmd, *texts, aux & (1 << 64) - 1, 0))
        return await self.here.ask(self.mounting.on_fsconfig, call)

    async def fsmount(self, attr: int = 0, flags: int = 1) -> Any:
        return await self.here.ask(
            self.mounting.on_fsmount, fsmount((CONTEXT, flags, attr, 0, 0, 0))
        )

    async def fspick(self, path: str, flags: int = 0) -> Any:
        call = fspick((CWD, self.here.text(path), flags, 0, 0, 0))
        return await self.here.ask(self.mounting.on_fspick, call)

    async def open_tree(self, path: str | Path, flags: int = CLONE, dirfd: int = CWD) -> Any:
        call = open_tree((dirfd, self.here.text(path), flags, 0, 0, 0))
        return await self.here.ask(self.mounting.on_open_tree, call)

    async def attach(self, number: int = TREE, target: str = "point", flags: int = 4) -> Any:
        call = move_mount((number, self.here.text(""), CWD, self.here.text(target), flags, 0))
        return await self.here.ask(self.mounting.on_move_mount, call)

    async def setattr(self, number: int, path: str, set: int, clear: int = 0, flags=0) -> Any:
        attr = abi.mount_attr(attr_set=set, attr_clr=clear, propagation=0, userns_fd=0).pack()
        flags |= 0 if path else AT_EMPTY_PATH
        where = self.here.text(path), flags, self.here.tracee.put(attr), len(attr)
        call = mount_setattr((number, *where, 0))
        return await self.here.ask(self.mounting.on_mount_setattr, call)

    async def served(self, source: str | Path, *words: str) -> None:
        """A context of a service's type, up to its creation."""
        self.here.give(CONTEXT, await self.fsopen("binder"))
        assert await self.fsconfig(abi.FSCONFIG_SET_STRING, "source", str(source)) == 0
        for word in words:
            assert await self.fsconfig(abi.FSCONFIG_SET_FLAG, word) == 0
        assert await self.fsconfig(abi.FSCONFIG_CMD_CREATE) == 0


@pytest.fixture
def binder() -> Binder:
    return Binder()


@pytest.fixture(params=["root's", "an ordinary user's"])
async def either(request, binder):
    async with namespace(request.param != "root's", [binder]) as here:
        yield here


@pytest.fixture
async def user(binder):
    async with namespace(True, [binder]) as here:
        yield here


@pytest.fixture
async def root(binder):
    async with namespace(False, [binder]) as here:
        yield here


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("x")
    return tmp_path


# -- types of services


async def test_a_service_makes_its_mount_when_it_is_known_where(either: Here, binder, source):
    calls = Calls(either)
    await calls.served(source, "ro", "b")
    either.give(TREE, await calls.fsmount(abi.MOUNT_ATTR_NOEXEC))
    assert await calls.setattr(TREE, "", abi.MOUNT_ATTR_NODEV) == 0
    assert binder.requests == []
    assert await calls.attach() == 0
    [request] = binder.requests
    assert (request.source, request.target) == (bytes(source), bytes(either.point))
    assert request.options == [("b", "")]
    assert request.flags == abi.MS_RDONLY
    assert either.listing(either.point) == ["file"]
    assert {"ro", "noexec", "nodev"} <= set(either.options(either.point).split()[0].split(","))
    assert await calls.attach() != 0  # once


async def test_its_mountpoint_is_made_too(either: Here, source):
    calls = Calls(either)
    await calls.served(source)
    either.give(TREE, await calls.fsmount())
    assert await calls.attach(target="made") == 0
    assert (either.place / "made").is_dir()
    either.take(TREE)
    assert await either.umount("made") == 0
    assert not (either.place / "made").exists()


async def test_permanent_is_an_option_there_too(either: Here, source):
    calls = Calls(either)
    await calls.served(source, "permanent")
    either.give(TREE, await calls.fsmount())
    assert await calls.attach() == 0
    assert await either.umount("point") == errno.EBUSY
    assert await calls.attach(CWD, "made", 0) in (errno.ENOENT, errno.EINVAL)


async def test_what_a_service_refuses_is_what_move_mount_says(either: Here):
    calls = Calls(either)
    await calls.served(str(errno.EUCLEAN))
    either.give(TREE, await calls.fsmount())
    assert await calls.attach() == errno.EUCLEAN
    assert either.mounting.listing() == []


async def test_parameters_are_checked_as_the_kernel_checks_them(either: Here):
    calls, cmd = Calls(either), abi
    either.give(CONTEXT, await calls.fsopen("binder"))
    assert await calls.fsmount() == errno.EBUSY  # not created yet
    assert await calls.fsconfig(cmd.FSCONFIG_SET_FLAG, None) == errno.EINVAL
    assert await calls.fsconfig(cmd.FSCONFIG_SET_FLAG, "x", "y") == errno.EINVAL
    assert await calls.fsconfig(cmd.FSCONFIG_SET_FLAG, "x", None, 1) == errno.EINVAL
    assert await calls.fsconfig(cmd.FSCONFIG_SET_STRING, "x") == errno.EINVAL
    assert await calls.fsconfig(cmd.FSCONFIG_SET_STRING, "x", "v" * 300) == errno.EINVAL
    assert await calls.fsconfig(cmd.FSCONFIG_SET_STRING, "x" * 300, "v") == errno.EINVAL
    assert await calls.fsconfig(cmd.FSCONFIG_SET_BINARY, "x", "y", 1) == errno.EINVAL
    assert await calls.fsconfig(cmd.FSCONFIG_SET_PATH, "x", "y", -7) == errno.EINVAL
    assert await calls.fsconfig(cmd.FSCONFIG_SET_FD, "x", None, 3) == errno.EINVAL
    assert await calls.fsconfig(99, "x") == errno.EOPNOTSUPP
    assert await calls.fsconfig(cmd.FSCONFIG_CMD_RECONFIGURE) == errno.EBUSY
    assert await calls.fsconfig(cmd.FSCONFIG_CMD_CREATE, "x") == errno.EINVAL
    assert await calls.fsconfig(cmd.FSCONFIG_SET_PATH, "a", "sub", AT_FDCWD) == 0
    assert await calls.fsconfig(cmd.FSCONFIG_CMD_CREATE) == 0
    assert await calls.fsconfig(cmd.FSCONFIG_CMD_CREATE) == errno.EBUSY
    assert await calls.fsconfig(cmd.FSCONFIG_SET_FLAG, "late") == errno.EBUSY
    either.give(TREE, await calls.fsmount())
    assert await calls.fsmount() == errno.EBUSY


async def test_what_is_wrong_can_be_read_from_the_context(either: Here, source):
    calls = Calls(either)
    either.give(CONTEXT, await calls.fsopen("binder"))
    for said in (0, errno.EINVAL):
        assert await calls.fsconfig(abi.FSCONFIG_SET_STRING, "source", "/x") == said
    assert os.read(either.tracee.descriptors[CONTEXT], 99) == b"e VFS: Multiple sources"
    with pytest.raises(BlockingIOError):
        os.read(either.tracee.descriptors[CONTEXT], 99)


async def test_contexts_that_were_closed_are_forgotten(either: Here):
    calls = Calls(either)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        either.give(CONTEXT, await calls.fsopen("binder"))
        either.take(CONTEXT)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


async def test_trees_in_the_making_have_a_limit(user: Here, source):
    calls = Calls(user)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(MOST_TREES + 20):
        user.give(TREE, await calls.open_tree(source))
        user.take(TREE)
    assert len(os.listdir("/proc/self/fd")) <= before + MOST_TREES


# -- root's other mounts are the kernel's


async def test_roots_plain_calls_are_the_kernels(root: Here, source):
    calls = Calls(root)
    assert await calls.fsopen("tmpfs") == "continue"
    assert await calls.fsconfig(abi.FSCONFIG_CMD_CREATE) == "continue"
    assert await calls.fsmount() == "continue"
    assert await calls.fspick("point") == "continue"
    assert await calls.open_tree(source) == "continue"
    assert await calls.setattr(CWD, "point", 1) == "continue"
    root.tracee.descriptors[TREE] = os.open(source, os.O_PATH)
    assert await calls.attach() == "continue"


async def test_beside_a_stand_in_the_kernels_own_are_left_alone(root: Here, source):
    calls = Calls(root)
    await calls.served(source)
    root.give(TREE, await calls.fsmount())
    root.tracee.descriptors[CONTEXT] = os.open(source, os.O_PATH)
    assert await calls.fsconfig(abi.FSCONFIG_SET_FLAG, "x") == "continue"
    assert await calls.fsmount() == "continue"
    assert await calls.setattr(CWD, "point", 1) == "continue"


async def test_who_may_not_gets_the_kernels_answer(either: Here, source):
    either.space.inhabits = lambda tid: False
    calls = Calls(either)
    either.tracee.descriptors[CONTEXT] = os.open(source, os.O_PATH)
    assert await calls.fsopen("binder") == "continue"
    assert await calls.fsconfig(abi.FSCONFIG_CMD_CREATE) == "continue"
    assert await calls.fsmount() == "continue"
    assert await calls.fspick("point") == "continue"
    assert await calls.open_tree(source) == "continue"
    assert await calls.attach(CONTEXT) == "continue"
    assert await calls.setattr(CWD, "point", 1) == "continue"


# -- an ordinary user's plain mounts


async def test_a_users_tmpfs_is_described_step_by_step(user: Here):
    calls = Calls(user)
    user.give(CONTEXT, await calls.fsopen("tmpfs"))
    assert await calls.fsconfig(abi.FSCONFIG_SET_STRING, "size", "1M") == "continue"
    assert await calls.fsconfig(abi.FSCONFIG_CMD_CREATE) == 0
    user.give(TREE, await calls.fsmount(abi.MOUNT_ATTR_RDONLY))
    assert await calls.setattr(TREE, "", abi.MOUNT_ATTR_NOEXEC, abi.MOUNT_ATTR_RDONLY) == 0
    assert await calls.attach() == 0
    shown = user.options(user.point).split()[0].split(",")
    assert {"rw", "nosuid", "nodev", "noexec"} <= set(shown)


async def test_a_users_mount_is_picked_and_changed(user: Here):
    calls = Calls(user)
    await user.mount("x", "point", "tmpfs")
    user.give(CONTEXT, await calls.fspick("point"))
    assert await calls.fsconfig(abi.FSCONFIG_CMD_RECONFIGURE) == 0
    assert await calls.setattr(CWD, "point", abi.MOUNT_ATTR_RDONLY, flags=AT_RECURSIVE) == 0
    assert user.options(user.point).startswith("ro")
    assert await calls.fspick("no") == errno.ENOENT


@pytest.mark.parametrize("is_file", [False, True])
async def test_a_users_copy_of_mounts_is_attached(user: Here, source, is_file):
    calls = Calls(user)
    user.give(TREE, await calls.open_tree(source / "file" if is_file else source))
    assert await calls.attach(target="made") == 0
    made = user.place / "made"
    assert made.is_file() if is_file else user.listing(made) == ["file"]
    user.take(TREE)
    assert await user.umount("made") == 0
    assert not made.exists()


async def test_a_copy_may_be_copied_and_changed_before_it_is_attached(user: Here, source):
    calls = Calls(user)
    user.give(TREE, await calls.open_tree(source / "file"))
    user.give(TREE + 1, await calls.open_tree("", CLONE | AT_EMPTY_PATH, TREE))
    assert await calls.setattr(TREE + 1, "", abi.MOUNT_ATTR_RDONLY) == 0
    assert await calls.attach(TREE + 1, "made") == 0
    assert user.options(user.place / "made").startswith("ro")


async def test_attributes_may_be_given_with_the_copy(user: Here, source):
    attr = abi.mount_attr(attr_set=1, attr_clr=0, propagation=0, userns_fd=0).pack()
    where = user.text(source), CLONE, user.tracee.put(attr), len(attr)
    given = await user.ask(user.mounting.on_open_tree, open_tree_attr((CWD, *where, 0)))
    user.give(TREE, given)
    assert await Calls(user).attach() == 0
    assert user.options(user.point).startswith("ro")


async def test_a_users_mount_is_moved(user: Here):
    calls = Calls(user)
    await user.mount("x", "point", "tmpfs")
    call = move_mount((CWD, user.text("point"), CWD, user.text("made"), 0, 0))
    assert await user.ask(user.mounting.on_move_mount, call) == 0
    assert [line.point for line in user.lines()] == [bytes(user.place / "made")]
    assert await calls.attach(99) == errno.EBADF
    assert await user.umount("made") == 0
    assert not (user.place / "made").exists()


async def test_bad_calls_fail_as_the_kernel_says(user: Here, source):
    calls = Calls(user)
    assert await calls.fsopen("nosuchtype") == errno.ENODEV
    assert await calls.fsopen("t" * 5000) == errno.EINVAL
    assert await calls.open_tree("no") == errno.ENOENT
    assert await calls.open_tree("") == errno.ENOENT
    assert await calls.setattr(CWD, "point", abi.MOUNT_ATTR_RDONLY) == errno.EINVAL
    assert await calls.setattr(CWD, "point", abi.MOUNT_ATTR_IDMAP) == errno.EPERM
    for size, code in ((8, errno.EINVAL), (5000, errno.E2BIG)):
        where = user.text("point"), 0, user.tracee.put(bytes(64)), size, 0
        call = mount_setattr((CWD, *where))
        assert await user.ask(user.mounting.on_mount_setattr, call) == code
    assert await calls.fsmount(0, 1 << 9) == "continue"  # flags of later kernels
    assert await calls.open_tree(source, CLONE | 1 << 30) == "continue"


async def test_overlay_of_a_user_gets_the_attributes_that_it_may_have(user: Here):
    calls = Calls(user)
    answer = await calls.fsopen("overlay")
    if answer in (errno.ENODEV, errno.EPERM, errno.EINVAL):
        pytest.skip("needs overlayfs in user namespaces (5.11)")
    user.give(CONTEXT, answer)
    for name in ("lower", "upper", "work"):
        (user.place / name).mkdir()
        key = f"{name}dir".encode()
        path = bytes(user.place / name)
        context = user.tracee.descriptors[CONTEXT]
        await user.space.fsconfig(context, abi.FSCONFIG_SET_STRING, key, path)
    assert await calls.fsconfig(abi.FSCONFIG_CMD_CREATE) == 0
    user.give(TREE, await calls.fsmount())
    assert await calls.attach() == 0
    assert "userxattr" in user.options(user.point)


async def test_fuse_wants_a_device(user: Here):
    calls = Calls(user)
    user.give(CONTEXT, await calls.fsopen("fuse"))
    assert await calls.fsconfig(abi.FSCONFIG_SET_STRING, "fd", "x") == errno.EINVAL
    assert await calls.fsconfig(abi.FSCONFIG_SET_STRING, "fd", "77") == errno.EBADF
    assert await calls.fsconfig(abi.FSCONFIG_CMD_CREATE) == errno.EINVAL
    messages = [os.read(user.tracee.descriptors[CONTEXT], 99) for _ in range(2)]
    assert messages == [b"e fuse: fd is no number", b"e fuse: no fd specified"]
    user.tracee.descriptors[7] = os.open(os.devnull, os.O_RDWR)
    assert await calls.fsconfig(abi.FSCONFIG_SET_FD, "fd", None, 7) == 0
    assert await calls.fsconfig(abi.FSCONFIG_SET_STRING, "user_id", "0") == 0
    assert await calls.fsconfig(abi.FSCONFIG_CMD_CREATE) == errno.EINVAL  # no /dev/fuse
