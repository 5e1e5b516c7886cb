"""File trees in the kernel, used as programs use them."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
from pathlib import Path

import pytest

from fuse.trees import AsyncMemoryTree, KillprivTree, NoOpenTree, WritebackTree, errno_of
from helpers.waiting import until
from viewosd.testing.memory_tree import MemoryTree
from viewosd.testing.mounted import mounted

pytestmark = pytest.mark.root

TREES = {
    "def": MemoryTree, "async": AsyncMemoryTree, "writeback": WritebackTree,
    "killpriv": KillprivTree, "no_open": NoOpenTree,
}  # fmt: skip


@pytest.fixture(params=TREES)
def root(request):
    with mounted(TREES[request.param]) as mount:
        yield mount.root
        assert mount.log() == ""


def test_files_are_written_and_read_across_pages(root):
    data = os.urandom(3 << 20)
    (root / "big").write_bytes(data)
    assert (root / "big").read_bytes() == data
    with open(root / "big", "r+b") as file:
        file.seek(4095)
        file.write(b"across")
        file.truncate(5000)
    assert (root / "big").read_bytes() == data[:4095] + b"across" + data[4101:5000]
    with open(root / "big", "ab") as file:
        file.write(b"end")
    assert (root / "big").stat().st_size == 5003


def test_an_unlinked_file_lives_until_it_is_closed(root):
    with open(root / "file", "w+b", buffering=0) as file:
        file.write(b"still")
        (root / "file").unlink()
        assert not (root / "file").exists()
        assert (os.fstat(file.fileno()).st_nlink, os.pread(file.fileno(), 9, 0)) == (0, b"still")


def test_a_file_without_a_name_can_be_given_one(root):
    with open(os.open(root, os.O_TMPFILE | os.O_RDWR), "wb") as file:
        file.write(b"found")
        file.flush()
        # A directory's descriptor makes Python use linkat(2), which can follow the link.
        os.link(f"/proc/self/fd/{file.fileno()}", root / "named", src_dir_fd=file.fileno())
    assert (root / "named").read_bytes() == b"found"


def test_shared_mappings_are_the_file(root):
    path = root / "mapped"
    path.write_bytes(bytes(10000))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 10000) as shared:
        shared[4090:4100] = b"0123456789"
        shared.flush()
        assert path.read_bytes()[4090:4100] == b"0123456789"
        os.pwrite(file.fileno(), b"X", 9000)
        assert shared[9000:9001] == b"X"


def test_a_program_is_executed_from_it(root):
    (root / "program").write_bytes(Path("/bin/true").read_bytes())
    (root / "program").chmod(0o755)
    fd = int(root.name)
    assert subprocess.run([root / "program"], pass_fds=[fd]).returncode == 0


def test_a_listing_survives_what_happens_meanwhile(root):
    (root / "many").mkdir()
    for i in range(2000):
        (root / "many" / f"a-name-that-takes-its-room-{i:04}").touch()
    seen = []
    with os.scandir(root / "many") as listing:
        for n, entry in enumerate(listing):
            seen.append(entry.name)
            if n == 100:
                for i in range(0, 2000, 2):
                    (root / "many" / f"a-name-that-takes-its-room-{i:04}").unlink()
                (root / "many" / "new").touch()
    assert len(seen) == len(set(seen))
    assert {f"a-name-that-takes-its-room-{i:04}" for i in range(1, 2000, 2)} <= set(seen)


def test_renames_replace_exchange_and_refuse(root):
    for name in "abc":
        (root / name).write_text(name)
    os.rename(root / "a", root / "b")
    assert (root / "b").read_text() == "a"
    run = ["/usr/bin/python3", "-c", RENAMEAT2, str(root / "b"), str(root / "c")]
    fd = [int(root.name)]
    assert subprocess.run([*run, "1"], pass_fds=fd).returncode == errno.EEXIST
    assert subprocess.run([*run, "2"], pass_fds=fd).returncode == 0
    assert ((root / "b").read_text(), (root / "c").read_text()) == ("c", "a")
    assert subprocess.run([*run, "4"], pass_fds=fd).returncode == 0
    whiteout = (root / "b").lstat()
    assert (whiteout.st_mode & 0o170000, whiteout.st_rdev) == (0o020000, 0)


RENAMEAT2 = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
done = libc.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), int(sys.argv[3]))
sys.exit(ctypes.get_errno() if done else 0)
"""


def test_extended_attributes_come_and_go(root):
    path = root / "file"
    path.touch()
    assert errno_of(os.getxattr, path, "user.a") == errno.ENODATA
    os.setxattr(path, "user.a", b"1" * 5000)
    os.setxattr(path, "trusted.b", b"")
    assert os.getxattr(path, "user.a") == b"1" * 5000
    assert sorted(os.listxattr(path)) == ["trusted.b", "user.a"]
    assert errno_of(os.setxattr, path, "user.a", b"", os.XATTR_CREATE) == errno.EEXIST
    os.removexattr(path, "user.a")
    assert errno_of(os.removexattr, path, "user.a") == errno.ENODATA


def test_holes_are_found_and_made(root):
    with open(root / "holes", "w+b", buffering=0) as file:
        fd = file.fileno()
        os.pwrite(fd, b"x" * 4096, 4 * 4096)
        os.fsync(fd)
        assert os.lseek(fd, 0, os.SEEK_DATA) == 4 * 4096
        assert os.lseek(fd, 4 * 4096, os.SEEK_HOLE) == 5 * 4096
        os.posix_fallocate(fd, 0, 8 * 4096)
        assert os.fstat(fd).st_size == 8 * 4096
        assert os.fstat(fd).st_blocks == 64


def test_modes_owners_and_times_are_kept(root):
    path = root / "file"
    path.touch(0o640)
    path.chmod(0o2751)
    os.chown(path, 12, 34)
    os.utime(path, ns=(-1_500_000_001, 2_000_000_003))
    found = path.stat()
    assert (found.st_uid, found.st_gid) == (12, 34)
    assert found.st_mode == 0o100751  # chown(2) takes S_ISGID away
    assert (found.st_atime_ns, found.st_mtime_ns) == (-1_500_000_001, 2_000_000_003)
    os.utime(path)
    assert path.stat().st_mtime_ns > 1_700_000_000 * 10**9


def test_writing_takes_set_id_bits_away(root):
    path = root / "program"
    path.write_bytes(b"x")
    path.chmod(0o6777)
    script = f"open('{path}', 'r+b').write(b'y')"
    fd = int(root.name)
    done = subprocess.run(
        [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            script,
        ],
        pass_fds=[fd],
    )
    assert done.returncode == 0
    assert path.stat().st_mode == 0o100777


def test_permissions_are_checked_for_others(root):
    (root / "secret").write_text("x")
    (root / "secret").chmod(0o600)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", root / "secret"],
        pass_fds=[int(root.name)], capture_output=True,
    )  # fmt: skip
    assert b"Permission denied" in done.stderr


def test_devices_links_and_directories_are_what_they_are(root):
    os.mknod(root / "device", 0o020600, os.makedev(259, 70000))
    assert (root / "device").stat().st_rdev == os.makedev(259, 70000)
    (root / "link").symlink_to("device")
    assert os.readlink(root / "link") == "device"
    (root / "dir").mkdir()
    (root / "dir" / "in").touch()
    assert errno_of(os.rmdir, root / "dir") == errno.ENOTEMPTY
    assert errno_of(os.mkdir, root / "dir") == errno.EEXIST
    assert errno_of(os.unlink, root / "none") == errno.ENOENT
    assert errno_of(os.stat, root / ("n" * 256)) == errno.ENAMETOOLONG
    assert root.stat().st_nlink == 3


def test_a_full_file_system_says_so():
    with mounted(lambda: MemoryTree(size=1 << 20)) as mount:
        with pytest.raises(OSError, match="No space") as caught:
            (mount.root / "file").write_bytes(bytes(2 << 20))
        assert caught.value.errno == errno.ENOSPC
        assert os.statvfs(mount.root).f_bfree == 0
        (mount.root / "file").unlink()
        until(lambda: os.statvfs(mount.root).f_bfree == 256, "the file to be released")


def test_what_nobody_knows_any_more_is_forgotten():
    class Counting(MemoryTree):
        def statfs(self, node, context):
            return super().statfs(node, context)._replace(files=len(self.nodes))

    with mounted(Counting) as mount:
        for i in range(100):
            (mount.root / str(i)).write_text("x")
            (mount.root / str(i)).unlink()
        until(lambda: os.statvfs(mount.root).f_files == 1, "every node to be dropped")
