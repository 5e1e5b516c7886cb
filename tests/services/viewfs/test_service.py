"""The service over mounts that are only recorded: what it asks for, and what it lets go."""

from __future__ import annotations

import errno
import gc
import os
import stat
from pathlib import Path

import pytest

from viewos_viewfs import ViewFs
from viewosd.abi.mount import MOUNT_ATTR_RDONLY, MS_RDONLY
from viewosd.space import Mounted
from viewosd.syscalls import mkdir, openat, rename, unlink
from viewosd.syscalls.files import getdents64
from viewosd.testing.tracee import FakeTracee
from viewosd.verdict import Errno


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir(mode=0o700)
    (tmp_path / "to" / "file").touch()
    return tmp_path


class Using:
    """The service, its space, and how many descriptors there were."""

    def __init__(self, space, tree: Path) -> None:
        self.space, self.tree = space, tree
        self.service = ViewFs()
        self.service.view_space = lambda: space
        self.armed = 0
        self.service.rearm = self._rearm
        gc.collect()  # what other tests have left is closed now, and not between two looks
        self.before = set(os.listdir("/proc/self/fd"))

    async def _rearm(self) -> None:
        self.armed += 1

    async def mount(self, source: str, target: str, *options: str, **more) -> Mounted | None:
        """Mount, and close what was made."""
        pairs = [(n, v) for n, _, v in (o.partition("=") for o in options)]
        source = source if source == "none" else str(self.tree / source)
        request = self.space.request(
            "viewfs", source.encode(), bytes(self.tree / target), pairs, **more
        )
        try:
            made = await self.service.mount(request)
        finally:
            os.close(request.target_fd)
        if made is not None:
            os.close(made)
        request.attached = True
        return Mounted(1, request, False)


@pytest.fixture
async def using(space, tree):
    using = Using(space, tree)
    yield using
    await using.service.stop()
    assert len(os.listdir("/proc/self/fd")) == len(using.before)


async def test_move_shows_a_copy_of_the_sources_mounts(using, space):
    await using.mount("from", "to", "move")
    assert [c["recursive"] for c in space.said("clone")] == [True, True]  # one for renew
    assert space.said("attach") == []


async def test_ro_changes_all_mounts_of_its_copy(using, space):
    await using.mount("none", "to", "ro")
    await using.mount("from", "to", flags=MS_RDONLY)
    for change in space.said("change"):
        assert (change["set"], change["recursive"]) == (MOUNT_ATTR_RDONLY, True)
    assert len(space.said("change")) == 2


async def test_tmpfs_has_the_mountpoints_owner_if_the_view_knows_it(using, space):
    await using.mount("none", "to", "tmpfs")
    (made,) = space.said("create")
    assert ("mode", "700") in made["options"]
    assert ("uid", str(os.geteuid())) in made["options"]


async def test_an_exception_is_attached_below_and_all_at_once(using, space, tree):
    await using.mount("from", "to", "move", "except=/file")
    (attached,) = space.said("attach")
    assert attached["below"] == [b"file"]
    with pytest.raises(OSError, match="it is not there"):
        await using.mount("from", "to", "move", "except=/nothing")


async def test_a_mount_that_fails_leaves_nothing(using, space):
    space.failures["attach"] = OSError(errno.EINVAL, "no")
    with pytest.raises(OSError, match="no"):
        await using.mount("from", "to", "cow", "except=/file")
    space.failures["create"] = OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError, match="full"):
        await using.mount("none", "to", "cow")
    assert using.service.mounted == []


async def test_the_kernels_overlay_gets_directories_by_descriptor(using, space, tree):
    mounted = await using.mount("none", "to", "cow")
    made = space.said("create")[0]
    assert made["fstype"] == "overlay"
    keys = [key for key, _ in made["options"]]
    assert keys[:4] == ["source", "lowerdir+", "upperdir", "workdir"]
    (layer,) = (tree / "data" / "viewos" / "layers").iterdir()
    await using.service.umounted(mounted)
    assert not layer.exists()


async def test_what_overlayfs_can_not_is_served_apart(using, space):
    space.failures["create"] = OSError(errno.ENODEV, "no overlay here")
    await using.mount("none", "to", "cow")
    (served,) = space.said("serve")
    assert served["tree"] == "viewos_viewfs.tree:Overlay"
    assert served["apart"]
    assert served["arguments"]["mode"] == "cow"
    assert served["count"] == 3  # changes, target, work


async def test_merge_has_no_layer(using, space, tree):
    await using.mount("from", "to", "merge")
    (served,) = space.said("serve")
    assert (served["arguments"]["mode"], served["count"]) == ("merge", 2)
    assert not (tree / "data").exists()


async def test_a_hidden_file_is_covered_and_calls_are_trapped_from_then_on(using, space, tree):
    assert using.service.hooks() == []
    mounted = await using.mount("none", "to/file", "hide")
    (served,) = space.said("serve")
    assert stat.S_ISLNK(served["root_mode"])
    assert using.armed == 1
    assert using.service.hooks() != []
    await using.mount("none", "from", "hide")
    assert using.armed == 1
    assert stat.S_ISDIR(space.said("serve")[1]["root_mode"])
    assert [h.target for h in using.service.names.all] == [
        bytes(tree / "to" / "file"),
        bytes(tree / "from"),
    ]
    await using.service.umounted(mounted)
    assert [h.target for h in using.service.names.all] == [bytes(tree / "from")]


async def test_what_was_made_for_the_mount_can_not_be_hidden(using):
    with pytest.raises(FileNotFoundError, match="to hide"):
        await using.mount("none", "to", "hide", created=True)


def listing(service: ViewFs, path: Path):
    """What the hook says to a program that lists a directory."""
    tracee = FakeTracee(tid=os.getpid())
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    tracee.descriptors[fd] = fd
    try:
        address = tracee.put(bytes(4096))
        return service.list_directory(getdents64((fd, address, 4096, 0, 0, 0)), tracee)
    finally:
        os.close(fd)


async def test_only_listings_of_its_directory_are_answered(using, tree):
    await using.mount("none", "to/file", "hide")
    assert listing(using.service, tree / "from") is None
    assert listing(using.service, tree / "to").value == 48  # "." and ".."


async def test_a_name_is_found_by_its_directory_whatever_the_path(using, space, tree):
    await using.mount("none", "to/file", "hide")
    service = using.service
    tracee = FakeTracee(cwd=bytes(tree / "from"))
    AT_FDCWD = -100 & (1 << 64) - 1

    def text(path: bytes) -> int:
        return tracee.put(path + b"\0")

    for path in (
        b"../to/file",
        b"../to/./file",
        bytes(tree / "to" / "file"),
        b"../from/../to//file/",
    ):
        assert await service.remove(unlink((text(path), 0, 0, 0, 0, 0)), tracee) == Errno(
            errno.ENOENT
        )
    for path in (b"file", b"../to/other", b"../file", b"", b"/", b".."):
        assert await service.remove(unlink((text(path), 0, 0, 0, 0, 0)), tracee) is None
        assert await service.make_directory(mkdir((text(path), 0o777, 0, 0, 0, 0)), tracee) is None
        flags = os.O_CREAT | os.O_WRONLY
        call = openat((AT_FDCWD, text(path), flags, 0o666, 0, 0))
        assert await service.create(call, tracee) is None
    away = rename((text(b"../to/file"), text(b"x"), 0, 0, 0, 0))
    assert await service.rename(away, tracee) == Errno(errno.ENOENT)


async def test_a_successor_and_a_branch_know_what_is_mounted(using, space, tree):
    await using.mount("none", "to/file", "hide")
    await using.mount("none", "to", "cow")
    other = ViewFs()
    other.restore(using.service.describe())
    assert other.hooks() != []
    assert [(m.target, m.mode) for m in other.mounted] == [
        (bytes(tree / "to" / "file"), "hide"),
        (bytes(tree / "to"), "cow"),
    ]
    assert other.names.listed == using.service.names.listed
    assert other.describe() == using.service.describe()
    (layer,) = (tree / "data" / "viewos" / "layers").iterdir()
    await using.service.stop()
    assert layer.exists()  # the branch's as well
    await other.stop()
    assert not layer.exists()


async def test_renew_takes_what_was_made_before(using, space):
    await using.mount("from", "to", "move")
    await using.mount("none", "to", "tmpfs")
    count = len(space.said("clone"))
    await using.mount("from", "to", "renew")
    assert len(space.said("clone")) == count + 1
    with pytest.raises(OSError, match="nothing of viewfs"):
        await using.mount("none", "from", "renew")
