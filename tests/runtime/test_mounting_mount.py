"""mount(2) and umount2(2) in a view's namespace, root's and an ordinary user's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio

from helpers.namespace import Binder, Here, Inside, namespace
from viewosd.abi import mount as abi
from viewosd.abi.arch import Arch
from viewosd.syscalls import mount, umount, umount2

BIND, MOVE, REMOUNT = abi.MS_BIND, abi.MS_MOVE, abi.MS_REMOUNT


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


async def test_a_type_of_a_service_is_mounted_by_it(either: Here, binder, source):
    flags = abi.MS_RDONLY | abi.MS_NOEXEC | abi.MS_SYNCHRONOUS
    assert await either.mount(source, "point", "binder", flags, "a=1,b,permanently") == 0
    assert either.listing(either.point) == ["file"]
    [request] = binder.requests
    assert (request.type, request.source) == ("binder", bytes(source))
    assert request.target == bytes(either.point)
    assert request.options == [("a", "1"), ("b", ""), ("permanently", "")]
    assert request.flags == abi.MS_RDONLY | abi.MS_SYNCHRONOUS
    assert {"ro", "noexec"} <= set(either.options(either.point).split()[0].split(","))
    [(mounted, service)] = either.mounting.listing()
    assert (mounted.id, mounted.target, service) == (1, bytes(either.point), "binder")


async def test_an_umount_tells_the_service_once(either: Here, binder, source):
    await either.mount(source, "point", "binder")
    assert await either.umount("point") == 0
    await either.mounting.records.reconcile()
    assert [one.id for one in binder.gone] == [1]
    assert either.mounting.listing() == [] == either.lines()


@pytest.mark.parametrize("code", [errno.ENOTBLK, errno.EPERM, errno.EUCLEAN])
async def test_what_a_service_refuses_is_what_mount_says(either: Here, code):
    assert await either.mount(str(code), "point", "binder") == code
    assert either.mounting.listing() == [] == either.lines()


async def test_a_mount_that_attaches_nothing_is_a_mount_all_the_same(either: Here, binder):
    assert await either.mount("none", "point", "binder") == 0
    assert [one.target for one, _ in either.mounting.listing()] == [bytes(either.point)]
    await either.mounting.records.reconcile()
    assert await either.umount("point") == 0
    assert [one.id for one in binder.gone] == [1]
    assert await either.umount("point") in (errno.EINVAL, "continue")


async def test_mounts_of_one_place_stack(either: Here, binder, source):
    for _ in range(3):
        assert await either.mount(source, "point", "binder") == 0
    for left in (2, 1, 0):
        assert await either.umount("point") == 0
        assert len(either.mounting.listing()) == left
    assert [one.id for one in binder.gone] == [3, 2, 1]


async def test_a_call_that_is_asked_again_mounts_once(either: Here, binder, source):
    binder.wait = trio.Event()
    words = [either.text(word) for word in (source, "point", "binder")]
    call = mount((*words, 0, 0, 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(either.ask, either.mounting.on_mount, call)
        while not binder.requests:
            await trio.sleep(0)
        nursery.cancel_scope.cancel()
    binder.wait.set()
    assert await either.ask(either.mounting.on_mount, call) == 0
    assert len(binder.requests) == 1
    assert len(either.lines()) == 1


async def test_a_tracee_that_is_killed_leaves_its_mount(either: Here, binder, source):
    binder.wait = trio.Event()
    words = [either.text(word) for word in (source, "point", "binder")]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(either.ask, either.mounting.on_mount, mount((*words, 0, 0, 0)))
        while not binder.requests:
            await trio.sleep(0)
        either.tracee.alive = False
        nursery.cancel_scope.cancel()
    binder.wait.set()
    while not either.lines():
        await trio.sleep(0.001)


async def test_the_end_of_the_view_tells_every_service(binder, source):
    async with namespace(True, [binder]) as here:
        await here.mount(source, "point", "binder")
        await here.mount(source, "point", "binder")
    assert [one.id for one in binder.gone] == [2, 1]


async def test_a_mount_that_went_behind_our_back_is_missed(either: Here, binder, source):
    if await either.mount("x", "point", "tmpfs") == "continue":
        fd = either.space.open(bytes(either.point), os.O_PATH)
        await either.space.mount([b"x"], fd, b"tmpfs", 0, None)
        os.close(fd)
    inner = either.point / "inner"
    fd = either.space.open(bytes(either.point), os.O_RDONLY)
    os.mkdir("inner", dir_fd=fd)
    os.close(fd)
    assert await either.mount(source, inner, "binder") == 0
    await either.space.umount(bytes(either.point), abi.MNT_DETACH)
    while not binder.gone:
        await trio.sleep(0.01)
    assert binder.gone[0].target == bytes(inner)


async def test_a_moved_mount_is_known_by_its_new_place(user: Here, source):
    other = user.place / "other"
    other.mkdir()
    await user.mount(source, "point", "binder")
    assert await user.mount("point", "other", None, MOVE) == 0
    assert user.mounting.listing()[0][0].target == bytes(other)


# -- permanent


@pytest.mark.parametrize("type", ["binder", "tmpfs"])
async def test_a_permanent_mount_stays(either: Here, source, type):
    assert await either.mount(source, "point", type, 0, "permanent") == 0
    for flags in (0, abi.MNT_DETACH, abi.MNT_FORCE):
        assert await either.umount("point", flags) == errno.EBUSY
    other = either.place / "other"
    other.mkdir()
    assert await either.mount("point", "other", None, MOVE) == errno.EBUSY
    assert len(either.lines()) == 1


async def test_a_permanent_mount_does_not_go_with_its_parent(either: Here, source):
    assert await either.mount(source, "point", "binder") == 0
    (source / "inner").mkdir()
    assert await either.mount(source, "point/inner", "binder", 0, "permanent") == 0
    assert await either.umount("point", abi.MNT_DETACH) == errno.EBUSY


async def test_a_permanent_mount_that_attached_nothing_stays(either: Here):
    assert await either.mount("none", "point", "binder", 0, "permanent") == 0
    assert await either.umount("point") == errno.EBUSY


# -- mountpoints that do not exist


@pytest.mark.parametrize("is_file", [False, True])
@pytest.mark.parametrize("type", ["binder", None])
async def test_a_mountpoint_is_made_and_taken_away(either: Here, source, type, is_file):
    what = source / "file" if is_file else source
    assert await either.mount(what, "made", type, 0 if type else BIND) == 0
    made = either.place / "made"
    assert made.is_file() if is_file else made.is_dir()
    assert await either.umount("made") == 0
    assert not made.exists()


async def test_mountpoints_that_were_made_go_with_the_view(binder, source):
    async with namespace(True, [binder]) as here:
        await here.mount(source, "made", "binder")
        await here.mount("x", "made2", "tmpfs")
        assert (here.place / "made2").is_dir()
        await here.mounting.stop()
        assert not (here.place / "made").exists()
        assert not (here.place / "made2").exists()


async def test_a_mount_that_fails_leaves_no_mountpoint(either: Here):
    assert await either.mount(str(errno.EIO), "made", "binder") == errno.EIO
    assert await either.mount("x", "made", "nosuchtype") == errno.ENODEV
    assert not (either.place / "made").exists()


async def test_a_link_that_leads_nowhere_is_no_mountpoint(either: Here, source):
    (either.place / "link").symlink_to("nowhere")
    assert await either.mount(source, "link", "binder") == errno.ENOENT
    assert (either.place / "link").is_symlink()


async def test_the_parent_of_a_mountpoint_must_be_there(either: Here, source):
    assert await either.mount(source, "no/made", "binder") == errno.ENOENT


async def test_a_mountpoint_that_is_in_use_by_then_is_left(user: Here, source):
    await user.mount(source, "made", "binder")
    made = user.place / "made"
    os.rename(made, user.place / "renamed")
    made.mkdir()
    await user.mounting.stop()
    assert made.is_dir()


async def test_a_closed_parent_is_covered_by_a_copy(user: Here, source):
    closed = user.place / "closed"
    (closed / "dir").mkdir(parents=True)
    (closed / "dir/inside").touch()
    (closed / "file").write_text("real")
    (closed / "link").symlink_to("file")
    assert await user.mount(closed, closed, None, BIND) == 0
    assert await user.mount(None, closed, None, BIND | REMOUNT | abi.MS_RDONLY) == 0
    assert await user.mount(source, closed / "made", "binder") == 0
    assert user.listing(closed) == ["dir", "file", "link", "made"]
    assert user.listing(closed / "made") == ["file"]
    assert user.listing(closed / "dir") == ["inside"]
    fd = user.space.open(bytes(closed / "link"), os.O_RDONLY)
    assert os.read(fd, 9) == b"real"
    os.close(fd)
    assert await user.umount(closed / "made") == 0
    assert user.listing(closed) == ["dir", "file", "link"]
    assert sorted(os.listdir(closed)) == ["dir", "file", "link"]


# -- an ordinary user's plain mounts


async def test_a_users_tmpfs_is_nosuid_and_nodev(user: Here):
    assert await user.mount("x", "point", "tmpfs", 0, "size=1M") == 0
    shown = user.options(user.point)
    assert {"nosuid", "nodev"} <= set(shown.split()[0].split(","))
    assert "tmpfs x" in shown
    assert "size=1024k" in shown
    assert await user.mount(None, "point", None, REMOUNT | abi.MS_RDONLY, "size=2M") == 0
    assert "size=2048k" in user.options(user.point)


async def test_a_bind_mount_is_remounted_for_itself(user: Here, source):
    assert await user.mount(source, "point", None, BIND) == 0
    assert await user.mount(None, "point", None, BIND | REMOUNT | abi.MS_RDONLY) == 0
    assert user.options(user.point).startswith("ro")


async def test_a_recursive_bind_brings_what_is_mounted_below(user: Here):
    (user.point / "sub").mkdir()
    other = user.place / "other"
    other.mkdir()
    await user.mount("x", "point/sub", "tmpfs")
    for flags, count in ((BIND, 2), (BIND | abi.MS_REC, 3)):
        assert await user.mount("point", "other", None, flags) == 0
        assert len(user.lines()) == count
        assert await user.umount("other", abi.MNT_DETACH) == 0


async def test_propagation_is_changed_and_a_bad_change_refused(user: Here):
    await user.mount("x", "point", "tmpfs")
    assert await user.mount(None, "point", None, abi.MS_SHARED) == 0
    assert b"shared:" in user.space.mountinfo().split(bytes(user.point))[1].splitlines()[0]
    assert await user.mount(None, "point", None, abi.MS_PRIVATE | abi.MS_REC) == 0
    assert await user.mount(None, "point", None, abi.MS_SHARED | abi.MS_SLAVE) == errno.EINVAL


async def test_overlay_is_made_of_what_the_caller_names(user: Here):
    lower, upper, work = (user.place / n for n in ("a:b,c", "upper", "work"))
    for directory in (lower, upper, work):
        directory.mkdir()
    (lower / "below").touch()
    options = r"lowerdir=a\:b\,c,upperdir=upper,workdir=" + str(work)
    said = await user.mount("o", "point", "overlay", 0, options)
    if said in (errno.EPERM, errno.ENODEV):
        pytest.skip("needs overlayfs in user namespaces (5.11)")
    assert said == 0
    assert user.listing(user.point) == ["below"]
    shown = user.options(user.point)
    assert f"workdir={work}" in shown
    assert "userxattr" in shown
    assert await user.mount("o", "point", "overlay", 0, "lowerdir=no") == errno.ENOENT
    assert await user.mount("o", "point", "overlay", 0, "lowerdir=upper::work") == errno.EINVAL


async def test_a_type_for_block_devices_is_root_alones(user: Here, caplog):
    types = Path("/proc/filesystems").read_text().splitlines()
    type = next((line.strip() for line in types if not line.startswith("nodev")), None)
    if type is None:
        pytest.skip("this kernel has no type for block devices loaded")
    user.view.services[0].service.mounts = ("binder", f"um{type}")
    assert await user.mount("/dev/null", "point", type) in (errno.EPERM, errno.ENOTBLK)
    assert f"mount -t um{type}" in caplog.text


async def test_a_bad_option_is_explained_in_the_log(user: Here, caplog):
    assert await user.mount("x", "point", "tmpfs", 0, "bogus=1") == errno.EINVAL
    assert "bogus" in caplog.text


async def test_what_was_named_in_a_descriptor_is_that(user: Here, source):
    user.tracee.descriptors[9] = user.space.open(bytes(source), os.O_PATH)
    assert await user.mount("/proc/self/fd/9", "point", None, BIND) == 0
    assert user.listing(user.point) == ["file"]
    assert await user.mount("/dev/fd/8", "point", None, BIND) == errno.EBADF


# -- bad input, in the kernel's words


async def test_bad_calls_fail_as_the_kernel_says(user: Here, source):
    assert await user.mount("x", "point", "nosuchtype") == errno.ENODEV
    assert await user.mount("x", "point", None) == errno.EINVAL
    assert await user.mount(None, "point", None, BIND) == errno.EINVAL
    assert await user.mount("", "point", None, BIND) == errno.EINVAL
    assert await user.mount("/no/such", "point", None, BIND) == errno.ENOENT
    assert await user.mount(source / "file", "point", None, BIND) == errno.ENOTDIR
    assert await user.mount("x", "point/file/x", "tmpfs") == errno.ENOENT
    assert await user.mount("x", "p" * 5000, "tmpfs") == errno.ENAMETOOLONG
    assert await user.mount("x", "point", "t" * 5000) == errno.EINVAL
    assert await user.mount("s" * 5000, "point", "tmpfs") == errno.EINVAL
    assert await user.mount("x", "point", "tmpfs", 0, "d" * 5000) == errno.EINVAL
    assert await user.mount("x", "", "tmpfs") == errno.ENOENT
    assert await user.mount("x", None, "tmpfs") == errno.EFAULT
    assert await user.mount(None, "point", None, REMOUNT) == errno.EINVAL
    call = mount((0x10, user.text("point"), user.text("tmpfs"), 0, 0, 0))
    assert await user.ask(user.mounting.on_mount, call) == errno.EFAULT
    assert user.lines() == []


async def test_bad_umounts_fail_as_the_kernel_says(user: Here):
    assert await user.umount("point") == errno.EINVAL
    assert await user.umount("no") == errno.ENOENT
    assert await user.umount("point", 1 << 10) == errno.EINVAL
    assert await user.umount("/proc") == errno.EINVAL  # it came with the namespace
    await user.mount("x", "point", "tmpfs")
    fd = user.space.open(bytes(user.point), os.O_RDONLY)
    assert await user.umount("point") == errno.EBUSY
    assert await user.umount("point", abi.MNT_DETACH) == 0
    os.close(fd)
    await user.mount("x", "point", "tmpfs")
    assert await user.umount("point", abi.MNT_EXPIRE) == errno.EAGAIN
    assert await user.umount("point", abi.MNT_EXPIRE) == 0


async def test_a_link_to_a_mountpoint_is_followed_unless_told(user: Here):
    (user.place / "link").symlink_to("point")
    assert await user.mount("x", "link", "tmpfs") == 0
    assert await user.umount("link", abi.UMOUNT_NOFOLLOW) == errno.EINVAL
    assert await user.umount("link") == 0


async def test_an_i386_program_mounts_as_any_other(user: Here, source):
    user.tracee = Inside(user, Arch.I386)
    assert await user.mount("x", "point", "tmpfs", 0xC0ED_0000) == 0
    call = umount.decode((user.text("point"), 0, 0, 0, 0, 0), Arch.I386)
    assert await user.ask(user.mounting.on_umount, call) == 0


# -- who may


@pytest.mark.parametrize("what", ["another user", "no capability", "another namespace"])
async def test_who_may_not_gets_the_kernels_answer(either: Here, source, what):
    who = either.tracee.credentials.__dict__
    if what == "another user":
        who |= {"fsuid": 12345, "cap_eff": 0}
    elif what == "no capability":
        who |= {"fsuid": 12345, "cap_eff": ~(1 << 21)}
    else:
        either.space.inhabits = lambda tid: False
    assert await either.mount(source, "point", "binder") == "continue"
    assert await either.umount("point") == "continue"


async def test_roots_plain_mounts_are_the_kernels(root: Here, source):
    assert await root.mount("x", "point", "tmpfs") == "continue"
    assert await root.mount(source, "point", None, BIND) == "continue"
    assert await root.mount("point", "point", None, MOVE) == "continue"
    assert await root.mount(None, "point", None, REMOUNT) == "continue"
    assert await root.mount(None, "point/x/y", None, REMOUNT) == "continue"
    assert await root.umount("point") == "continue"


# -- fuse with the caller's own device


async def test_a_users_fuse_gets_its_descriptor_and_a_user_that_is_mapped(user: Here):
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("needs /dev/fuse")
    user.tracee.descriptors[5] = device  # of the wrong user namespace, as the kernel will find
    data = "fd=5,rootmode=40000,user_id=0,group_id=0"
    assert await user.mount("me", "point", "fuse.me", 0, data) == errno.EINVAL
    assert await user.mount("me", "point", "fuse", 0, "rootmode=40000") == errno.EINVAL
    assert await user.mount("me", "point", "fuse", 0, "fd=77") == errno.EBADF


# -- the owner, from outside


async def test_the_owner_mounts_from_outside(either: Here, binder, source):
    target = bytes(either.point)
    await either.mounting.request("binder", "ro,a=1", bytes(source), target)
    assert either.options(either.point).startswith("ro")
    assert binder.requests[0].options == [("a", "1")]
    await either.mounting.request("", "bind", bytes(source), target)
    await either.mounting.request("", "remount,bind,ro", b"", target)
    await either.mounting.request("tmpfs", "size=1M,permanent", b"x", target)
    with pytest.raises(OSError, match="permanent"):
        await either.mounting.umount(target)
    assert either.mounting.in_use(binder) == 1


# -- a successor, a branch


async def test_a_successor_knows_the_mounts(either: Here, binder, source):
    await either.mount(source, "made", "binder", 0, "x=\udcff")
    await either.mount(source, "made", "binder", 0, "permanent")
    other = type(either.mounting)(either.view, either.space)
    other.restore(either.mounting.describe())
    assert other.describe() == either.mounting.describe()
    with pytest.raises(OSError, match="permanent"):
        await other.umount(bytes(either.place / "made"))
    await other.stop()
    assert [one.id for one in binder.gone] == [2, 1]
    either.mounting.records.all.clear()


async def test_a_branch_knows_its_copies_and_leaves_mountpoints_alone(either: Here, source):
    await either.mount(source, "made", "binder")
    await either.mount(source, "made", "binder", 0, "permanent")
    async with namespace(either.space.ordinary, [Binder()], either.space) as branch:
        branch.mounting.restore(either.mounting.describe())
        old, new = ([r.mount for r in h.mounting.records.all] for h in (either, branch))
        assert not set(old) & set(new)
        assert [mounted.id for mounted, _ in branch.mounting.listing()] == [1, 2]
        with pytest.raises(OSError, match="permanent"):
            await branch.mounting.umount(bytes(either.place / "made"))
        await branch.mounting.stop()
    assert (either.place / "made").is_dir()
    assert len(either.lines()) == 2


def test_umount_has_two_calls():
    assert umount2.registers == ("path", "flags")
