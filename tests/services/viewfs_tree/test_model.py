"""Random operations on an overlay and on a plain copy of what lies below it: both stay alike."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from conftest import NOBODY
from helpers.apart import in_child, mount, private_mounts
from helpers.overlays import Native, Served, alike, interpreted, snapshot
from viewos_viewfs.tree import Overlay, moving, unsafe
from viewosd.testing.mounted import mounted

OLD_NS = 1_000_000_000_000_000_000  # 2001: what was not changed since
NAMES = [b"a", b"b", b"c"]
PATHS = NAMES + [b"/".join(p) for n in (2, 3) for p in itertools.product(NAMES, repeat=n)]
paths = st.sampled_from(PATHS)
data = st.binary(max_size=20)
modes = st.sampled_from([0o644, 0o600, 0o755, 0o444, 0o4755])
times = st.integers(OLD_NS, OLD_NS + 10**9)


def populate(fs: Native) -> None:
    """Every kind of thing that may lie below."""
    for path in (b"a", b"a/b", b"a/b/c", b"b"):
        fs.mkdir(path, 0o755)
    fs.write(b"a/a", b"one", os.O_TRUNC)
    fs.write(b"a/b/a", b"two", os.O_TRUNC)
    fs.write(b"a/b/b", b"\0" * 5000 + b"three", os.O_TRUNC, 0o600)
    fs.write(b"c", b"four", os.O_TRUNC, 0o755)
    fs.link(b"c", b"a/c")
    fs.link(b"c", b"b/a")
    fs.symlink(b"b/b", b"../a/b")
    fs.mknod(b"b/c", stat.S_IFIFO | 0o640)
    fs.setxattr(b"c", "user.colour", b"red")
    fs.setxattr(b"a/b", "user.colour", b"blue")
    for path in sorted(snapshot(fs), reverse=True):
        fs.utime(path, OLD_NS)


def overlay(layer: bytes, lower: bytes, mode: str, vstat: bool) -> Overlay:
    fds = [os.open(os.path.join(layer, b"upper"), os.O_PATH), os.open(lower, os.O_PATH)]
    return Overlay(fds, mode=mode, vstat=vstat)


class Model(RuleBasedStateMachine):
    """``cow``: the tree below is untouched in the end. ``mincow`` writes to it, as we may."""

    mode = "cow"
    kernel = vstat = False

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.mkdtemp(prefix="viewos-model-").encode()
        self.lower, self.layer, plain = (
            os.path.join(self.place, name) for name in (b"lower", b"layer", b"plain")
        )
        for path in (self.lower, plain, self.layer + b"/upper", self.layer + b"/work"):
            os.makedirs(path)
        self.native, self.below = Native(plain), Native(self.lower)
        self.began = time.time_ns() - 10**9
        for fs in (self.native, self.below):
            populate(fs)
        self.before = snapshot(self.below)
        self.handles: list[tuple[object, object, bool]] = []
        self.restarted = False
        self.start()

    def start(self) -> None:
        self.served = Served(overlay(self.layer, self.lower, self.mode, self.vstat))

    def stop(self) -> None:
        self.served.tree.destroy()

    def teardown(self) -> None:
        try:
            self.everything_is_alike()
            seen = snapshot(self.served)
            self.close_all()
            self.stop()
            if self.mode == "cow":
                alike(snapshot(self.below), self.before)
                if not self.vstat:
                    self.reads_alike(seen)
            assert os.listdir(os.path.join(self.layer, b"work", b"viewos")) == []
        finally:
            shutil.rmtree(self.place)

    def reads_alike(self, seen: dict) -> None:
        """The layer means the same to whoever else knows the format."""
        prefix = "trusted" if os.geteuid() == 0 else "user"
        found = interpreted(os.path.join(self.layer, b"upper"), self.lower, prefix)
        assert sorted(found) == sorted(seen)
        for path, at in found.items():
            assert stat.S_IFMT(os.lstat(at).st_mode) == seen[path].kind
            if seen[path].kind == stat.S_IFREG:
                assert Path(os.fsdecode(at)).read_bytes() == seen[path].content
        if self.kernel:
            mounted = in_child(lambda: kernels_view(self.layer, self.lower))
            nothing = {"nlink": 0, "group": 0}
            alike({p: s._replace(**nothing) for p, s in seen.items()}, mounted)

    def both(self, operation: str, *args: object) -> None:
        if any(self.leads_elsewhere(path) for path in args if path in PATHS):
            return
        results = []
        for fs in (self.native, self.served):
            try:
                results.append(("done", getattr(fs, operation)(*args)))
            except OSError as error:
                code = error.errno if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) else 0
                results.append(("failed", code))
        left, right = results
        assert left == right, (operation, args)

    def leads_elsewhere(self, path: bytes) -> bool:
        """Is there a link on the way? A tree is never asked for such a path."""
        ups = [path[:at] for at, byte in enumerate(path) if byte == ord("/")]
        return any(self.is_kind(up, stat.S_IFLNK) for up in ups)

    def close_all(self) -> None:
        for native, served, _ in self.handles:
            self.native.close(native)
            self.served.close(served)
        self.handles.clear()

    @rule(
        path=paths,
        content=data,
        flags=st.sampled_from([0, os.O_TRUNC, os.O_APPEND, os.O_EXCL]),
        mode=modes,
    )
    def write(self, path, content, flags, mode):
        if self.is_kind(path, stat.S_IFIFO) or (os.geteuid() and self.is_read_only(path)):
            return
        self.both("write", path, content, flags, mode)

    def is_read_only(self, path: bytes) -> bool:
        try:
            return not self.native.lstat(path).st_mode & 0o200
        except OSError:
            return False

    @rule(path=paths, mode=st.sampled_from([0o755, 0o700, 0o2755, 0o1777, 0o555]))
    def mkdir(self, path, mode):
        if os.geteuid():
            mode |= 0o700  # that it may not be written, the kernel would see to
        self.both("mkdir", path, mode)

    @rule(path=paths)
    def unlink(self, path):
        self.both("unlink", path)

    @rule(path=paths)
    def rmdir(self, path):
        self.both("rmdir", path)

    @rule(old=paths, new=paths, flags=st.sampled_from([0, 0, 0, 1, 2]))
    def rename(self, old, new, flags):
        nested = (new + b"/").startswith(old + b"/") or (old + b"/").startswith(new + b"/")
        if nested:  # which of several errors it is differs; that it is one, the kernel sees to
            return
        self.both("rename", old, new, flags)

    @rule(old=paths, new=paths)
    def link(self, old, new):
        self.both("link", old, new)

    @rule(path=paths, points_to=st.sampled_from([b"a", b"../b", b"/nowhere"]))
    def symlink(self, path, points_to):
        self.both("symlink", path, points_to)

    @rule(path=paths)
    def mkfifo(self, path):
        self.both("mknod", path, stat.S_IFIFO | 0o600)

    @rule(path=paths, mode=modes)
    def chmod(self, path, mode):
        try:
            if stat.S_ISDIR(self.native.lstat(path).st_mode):
                mode |= 0o700
        except OSError:
            pass
        self.both("chmod", path, mode)

    @rule(path=paths, uid=st.sampled_from([0, 2000]), gid=st.sampled_from([0, 4000]))
    def chown(self, path, uid, gid):
        if not os.geteuid():
            self.both("chown", path, uid, gid)

    @rule(path=paths, kind=st.sampled_from([stat.S_IFCHR, stat.S_IFBLK]))
    def mknod(self, path, kind):
        if not os.geteuid():
            self.both("mknod", path, kind | 0o640, os.makedev(42, 44))

    @rule(path=paths, ns=times)
    def utime(self, path, ns):
        self.both("utime", path, ns)

    @rule(path=paths, size=st.sampled_from([0, 2, 4999, 9000]))
    def truncate(self, path, size):
        if os.geteuid() and self.is_read_only(path):
            return
        if self.is_kind(path, stat.S_IFREG):
            self.both("truncate", path, size)

    def is_kind(self, path: bytes, kind: int) -> bool:
        try:
            return stat.S_IFMT(self.native.lstat(path).st_mode) == kind
        except OSError:
            return False

    @rule(path=paths, name=st.sampled_from(["user.colour", "user.overlay.opaque"]), value=data)
    def setxattr(self, path, name, value):
        if self.may_have_xattrs(path):
            self.both("setxattr", path, name, value)

    @rule(path=paths)
    def removexattr(self, path):
        if self.may_have_xattrs(path):
            self.both("removexattr", path, "user.colour")

    def may_have_xattrs(self, path: bytes) -> bool:
        if os.geteuid() and self.is_read_only(path):
            return False
        return self.is_kind(path, stat.S_IFREG) or self.is_kind(path, stat.S_IFDIR)

    @rule(path=paths, flags=st.sampled_from([os.O_RDONLY, os.O_RDWR]))
    def open(self, path, flags):
        writes = flags != os.O_RDONLY
        if not self.is_kind(path, stat.S_IFREG) or getattr(self.served, "forgets", False):
            return
        if self.leads_elsewhere(path) or (writes and os.geteuid() and self.is_read_only(path)):
            return
        self.handles.append((self.native.open(path, flags), self.served.open(path, flags), writes))

    @rule(which=st.integers(0, 5), content=data, at=st.integers(0, 6000))
    def use(self, which, content, at):
        if not self.handles:
            return
        native, served, writes = self.handles[which % len(self.handles)]
        if writes:
            done = self.native.pwrite(native, content, at)
            assert self.served.pwrite(served, content, at) == done
        assert self.native.pread(native, 9000, 0) == self.served.pread(served, 9000, 0)
        left, right = self.native.fstat(native), self.served.fstat(served)
        assert left.st_size == right.st_size
        if not self.restarted:
            assert left.st_nlink == right.st_nlink

    @rule()
    def close(self):
        self.close_all()

    @rule(forgets=st.booleans())
    def forget(self, forgets):
        if isinstance(self.served, Served):
            self.close_all()
            self.served.forget_all()
            self.served.forgets = forgets

    @rule()
    def restart(self):
        """Another server goes on with the layer. (Names that were not met are two files then.)"""
        self.close_all()
        snapshot(self.served)
        self.stop()
        self.start()
        self.restarted = True

    def everything_is_alike(self) -> None:
        but = {"nlink": 0} if self.restarted else {}
        alike(snapshot(self.native), snapshot(self.served), self.began, **but)

    @invariant()
    def the_root_is_alike(self):
        assert self.native.listdir(b"") == self.served.listdir(b"")


def kernels_view(layer: bytes, lower: bytes) -> dict:
    """The layer as the kernel's overlayfs shows it."""
    private_mounts()
    options = b"lowerdir=%s,upperdir=%s/upper,workdir=%s/work" % (lower, layer, layer)
    at = os.path.join(layer, b"mounted")
    os.mkdir(at)
    try:
        mount(b"none", at, b"overlay", options)
        seen = snapshot(Native(at))
        return {path: s._replace(nlink=0, group=0) for path, s in seen.items()}
    finally:
        os.system(b"umount -l " + at)
        os.rmdir(at)


class Mounted(Model):
    """The same through the kernel."""

    def start(self) -> None:
        self.mount = mounted(lambda: overlay(self.layer, self.lower, self.mode, self.vstat))
        self.log = self.mount.__enter__()
        self.served = Native(os.fsencode(self.log.root))

    def stop(self) -> None:
        assert self.log.log() == ""
        self.mount.__exit__(None, None, None)


def poor_file_system(patch: pytest.MonkeyPatch) -> None:
    """No whiteouts can be made, neither by mknod(2) nor by renameat2(2)."""
    make, rename = os.mknod, unsafe.renameat2

    def mknod(path, mode=0o600, device=0, *, dir_fd=None):
        if stat.S_ISCHR(mode) and device == 0:
            raise PermissionError(errno.EPERM, "no devices")
        make(path, mode, device, dir_fd=dir_fd)

    def renameat2(old_dir, old, new_dir, new, flags=0):
        if flags & unsafe.RENAME_WHITEOUT:
            raise OSError(errno.EINVAL, "no such flag")
        rename(old_dir, old, new_dir, new, flags)

    patch.setattr(os, "mknod", mknod)
    patch.setattr(moving, "renameat2", renameat2)


def run(examples: int, model: type[Model] = Model, **attributes: object) -> None:
    run_state_machine_as_test(
        type("Machine", (model,), attributes),
        settings=settings(max_examples=examples, stateful_step_count=40),
    )


@pytest.mark.parametrize("mode", ["cow", "mincow"])
def test_an_overlay_is_like_a_directory(mode):
    run(40, mode=mode)


def test_whiteouts_can_be_attributes(monkeypatch):
    poor_file_system(monkeypatch)
    run(40)


@pytest.mark.root
@pytest.mark.parametrize("mode", ["cow", "mincow"])
def test_virtual_attributes_are_like_real_ones(mode):
    run(30, mode=mode, vstat=True)


@pytest.mark.root
def test_the_kernels_overlayfs_reads_what_we_wrote():
    run(20, kernel=True)


@pytest.mark.root
@pytest.mark.parametrize("mode", ["cow", "mincow"])
def test_a_mounted_overlay_is_like_a_directory(mode):
    run(10, Mounted, mode=mode)


@pytest.mark.root
def test_a_mounted_overlay_with_virtual_attributes_is_like_a_directory():
    run(10, Mounted, vstat=True)


@pytest.mark.root
@pytest.mark.parametrize("mode", ["cow", "mincow"])
def test_an_overlay_of_an_ordinary_user_is_like_a_directory(mode):
    in_child(lambda: run(30, mode=mode), NOBODY)
