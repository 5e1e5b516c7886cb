"""Trees that fail, wait, lock, notify: what the kernel and programs make of it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio

from fuse.trees import errno_of
from helpers.waiting import until
from viewosd.abi import fuse as abi
from viewosd.filetree import ROOT, Attr, Dirent, Entry, FileTree, Opened
from viewosd.testing.memory_tree import MemoryTree
from viewosd.testing.mounted import mounted

pytestmark = pytest.mark.root


@contextmanager
def program(words, mount, **options):
    """A program that may use the mount, ended with the block."""
    with subprocess.Popen(words, pass_fds=[mount.fd], **options) as running:
        try:
            yield running
        finally:
            running.kill()


class One(FileTree):
    """A directory with one name, "f"; what it does is the test's."""

    entry_s = attr_s = 0.0

    def getattr(self, node, handle, context):
        return Attr(node, 0o100666 if node == 2 else 0o040755, size=4 if node == 2 else 0)

    def lookup(self, parent, name, context):
        if name != b"f":
            raise OSError(errno.ENOENT, "only f")
        return Entry(2, self.getattr(2, None, context))

    def read(self, node, handle, offset, size, context):
        return b"data"[offset : offset + size]


def test_a_bug_of_a_tree_is_eio_and_a_traceback_and_nothing_more():
    class Buggy(One):
        def read(self, node, handle, offset, size, context):
            return 1 // 0

        def readdir(self, node, handle, offset, context):
            return "nonsense"

        def statfs(self, node, context):
            raise OSError("without an errno")

    with mounted(Buggy) as mount:
        assert errno_of((mount.root / "f").read_bytes) == errno.EIO
        assert errno_of(os.listdir, mount.root) == errno.EIO
        assert errno_of(os.statvfs, mount.root) == errno.EIO
        assert (mount.root / "f").stat().st_size == 4
        assert "ZeroDivisionError" in mount.log()
        assert "Buggy, opcode 15: a bug of the tree (node 2)" in mount.log()


def test_what_is_not_offered_fails_as_the_base_says():
    with mounted(One) as mount:
        f = mount.root / "f"
        assert f.read_bytes() == b"data"
        assert errno_of(f.write_bytes, b"x") == errno.EROFS
        assert errno_of(os.mkdir, mount.root / "d") == errno.EROFS
        assert errno_of(os.rename, f, mount.root / "g") == errno.EROFS
        assert errno_of(os.getxattr, f, "user.a") == errno.ENOTSUP
        assert errno_of(os.listdir, mount.root) == errno.ENOSYS
        with open(f, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # kept by the kernel
            assert file.seek(0, os.SEEK_HOLE) == 4
            assert errno_of(fcntl.ioctl, file, 0x5401) == errno.ENOTTY


def test_ioctls_carry_data_both_ways():
    class Talks(One):
        def ioctl(self, node, handle, command, argument, data, size, context):
            return 7, data[::-1].ljust(size, b"!")

    with mounted(Talks) as mount, open(mount.root / "f", "rb") as file:
        buffer = bytearray(b"abcd")
        assert fcntl.ioctl(file, 3 << 30 | 4 << 16 | ord("v") << 8 | 1, buffer) == 7
        assert buffer == b"dcba"


def test_a_slow_call_keeps_nobody_waiting():
    with mounted(Sleepy) as mount, ExitStack() as readers:
        script = f"open('/proc/self/fd/{mount.fd}/f', 'rb', buffering=0).read(4)"
        words = ["/usr/bin/python3", "-c", script]
        started = [readers.enter_context(program(words, mount)) for _ in range(3)]
        until(lambda: os.statvfs(mount.root).f_files == 3, "the reads")
        for _ in range(100):
            assert (mount.root / "f").stat().st_size == 4
        for reader in started:
            reader.kill()  # which cancels its read; else it could not die
            assert reader.wait(60) == -signal.SIGKILL


class Sleepy(One):
    """Says in its statfs that somebody reads."""

    reading = 0

    def open(self, node, flags, context):
        return Opened(direct_io=True)

    async def read(self, node, handle, offset, size, context):
        self.reading += 1
        try:
            await trio.sleep_forever()
        finally:
            self.reading -= 1

    def statfs(self, node, context):
        return super().statfs(node, context)._replace(files=self.reading)


class Interruptible(Sleepy):
    interruptible = True


SIGNALLED = """
import os, signal, sys
fd = os.open(sys.argv[1] + "/f", os.O_RDONLY)
class Got(Exception): pass
def got(*a): raise Got
signal.signal(signal.SIGUSR1, got)
try: os.read(fd, 4)
except Got: print("interrupted", flush=True)
"""


@pytest.mark.parametrize("tree", [Sleepy, Interruptible])
def test_a_signal_that_does_not_kill_interrupts_only_if_the_tree_wants_it(tree):
    with ExitStack() as stack:
        mount = stack.enter_context(mounted(tree))
        words = ["/usr/bin/python3", "-c", SIGNALLED, f"/proc/self/fd/{mount.fd}"]
        reader = stack.enter_context(program(words, mount, stdout=subprocess.PIPE))
        until(lambda: os.statvfs(mount.root).f_files, "the read")
        reader.send_signal(signal.SIGUSR1)
        if tree is Interruptible:
            assert reader.communicate(timeout=60)[0] == b"interrupted\n"
            return
        for _ in range(20):
            assert os.statvfs(mount.root).f_files == 1
        reader.terminate()  # the second one kills; the kernel does not tell
        assert reader.wait(60) == -signal.SIGTERM
        until(lambda: not os.statvfs(mount.root).f_files, "the read to be cancelled")


def test_locks_of_a_tree_are_the_trees():
    class Locks(One):
        def setlk(self, node, handle, owner, lock, wait, context):
            raise OSError(errno.EAGAIN if not wait else errno.EDEADLK, "")

        def getlk(self, node, handle, owner, lock, context):
            return lock._replace(type=fcntl.F_RDLCK, start=5, end=9, pid=context.pid)

        async def flock(self, node, handle, owner, type, wait, context):
            if wait:
                await trio.sleep_forever()
            raise OSError(errno.EWOULDBLOCK, "")

    with mounted(Locks) as mount, open(mount.root / "f", "r+b") as file:
        assert errno_of(fcntl.lockf, file, fcntl.LOCK_EX | fcntl.LOCK_NB) == errno.EAGAIN
        assert errno_of(fcntl.lockf, file, fcntl.LOCK_EX) == errno.EDEADLK
        assert errno_of(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB) == errno.EWOULDBLOCK
        code = f"import fcntl; fcntl.flock(open('/proc/self/fd/{mount.fd}/f'), fcntl.LOCK_SH)"
        words = ["timeout", "-s", "ALRM", "1", "/usr/bin/python3", "-c", code]
        with program(words, mount) as waiter:
            assert waiter.wait(60) == 124


def test_the_kernel_believes_nothing_that_it_was_told_to_forget():
    class Changing(One):
        entry_s = attr_s = float("inf")
        content = b"old!"

        def getattr(self, node, handle, context):
            attr = super().getattr(node, handle, context)
            attr.size = len(self.content) if node == 2 else 0
            return attr

        def open(self, node, flags, context):
            return Opened(keep_cache=True)

        def read(self, node, handle, offset, size, context):
            return self.content[offset : offset + size]

        def setxattr(self, node, name, value, flags, context):
            if name == b"user.inode":
                Changing.content = value
                self.kernel.inval_inode(node)
            elif name == b"user.gone":
                self.kernel.delete(ROOT, 2, b"f")
            elif name == b"user.unknown":
                self.kernel.inval_entry(ROOT, b"never heard of")
                self.kernel.inval_inode(99)
            else:
                Changing.content = value
                self.kernel.inval_inode(node, -1)
                self.kernel.store(node, 0, value)

    with mounted(Changing) as mount:
        f = mount.root / "f"
        assert f.read_bytes() == b"old!"
        os.setxattr(f, "user.unknown", b"")
        os.setxattr(f, "user.inode", b"longer now")
        until(lambda: f.read_bytes() == b"longer now", "new contents")
        os.setxattr(f, "user.store", b"put in the cache")
        until(lambda: f.read_bytes() == b"put in the cache", "stored contents")
        os.setxattr(f, "user.gone", b"")
        assert f.exists()  # looked up again
        assert mount.log() == ""


def test_changes_of_names_are_notified_while_calls_hold_the_directory():
    class Storm(MemoryTree):
        """Each creation invalidates its own directory entry: inline, that would never end."""

        def create(self, parent, name, mode, flags, context):
            self.kernel.inval_entry(parent, name)
            self.kernel.inval_inode(parent)
            return super().create(parent, name, mode, flags, context)

    with mounted(Storm) as mount:
        for i in range(200):
            (mount.root / str(i)).touch()
        assert len(list(mount.root.iterdir())) == 200


def test_many_mounts_share_one_process(tmp_path):
    """Fifty trees in one nursery, each ending by itself."""
    from viewosd.fuse import mount as fuse
    from viewosd.fuse.server import serve
    from viewosd.testing.mounted import create

    devices = [os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC) for _ in range(50)]
    mounts = [create("fuse", [*fuse.options(), fuse.device(d)]) for d in devices]
    pid = os.fork()
    if not pid:
        for fd in mounts:
            os.close(fd)

        async def everything():
            async with trio.open_nursery() as nursery:
                for device in devices:
                    nursery.start_soon(serve, device, MemoryTree())

        status = 1
        try:
            trio.run(everything)
            status = 0
        finally:
            os._exit(status)
    for device in devices:
        os.close(device)
    roots = [Path(f"/proc/self/fd/{fd}") for fd in mounts]
    threads = [
        threading.Thread(target=lambda r=root: (r / "own").write_text(str(r))) for root in roots
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(root / "own").read_text() for root in roots] == [str(root) for root in roots]
    for fd in mounts:
        os.close(fd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_mount_says_what_it_is():
    with mounted(MemoryTree, options=[("max_read", "131072")]) as mount:
        assert os.statvfs(mount.root).f_namemax == 255
        stat = subprocess.run(
            ["stat", "-f", "-c", "%t", f"/proc/self/fd/{mount.fd}/."],
            pass_fds=[mount.fd],
            capture_output=True,
        )
        assert int(stat.stdout, 16) == abi.FUSE_SUPER_MAGIC


def test_a_file_can_be_a_root():
    class File(One):
        def getattr(self, node, handle, context):
            return Attr(node, 0o100644, size=4)

    with mounted(File, root_mode=0o100644) as mount:
        assert mount.root.read_bytes() == b"data"


def test_a_listing_that_fits_nowhere_or_lies_is_an_error_and_no_loop():
    class Lies(One):
        def readdir(self, node, handle, offset, context):
            for i in range(offset, 3):
                yield Dirent(b"f" if i else b".", 2, 0, i + 1)
            yield Dirent(b"gone", 77, 0, 4)

    with mounted(Lies) as mount:
        with os.scandir(mount.root) as listing:
            names = [entry.name for _, entry in zip(range(10), listing, strict=False)]
        assert set(names) == {"f", "gone"}
