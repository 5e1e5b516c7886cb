"""What a thread's descriptor is, told by its number: for threads that come and go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from viewos_viewfs import unsafe

OPENS = "import os, sys; os.dup2(os.open(sys.argv[1], os.O_RDONLY), 9); print(flush=True); input()"


def start(path: Path) -> subprocess.Popen[bytes]:
    """A process that has a directory open as 9."""
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", OPENS, path], stdin=pipe, stdout=pipe)
    assert child.stdout is not None
    assert child.stdout.readline() == b"\n"
    return child


def test_a_descriptor_is_known_by_device_and_inode(tmp_path):
    with start(tmp_path) as child:
        for _ in range(3):
            assert unsafe.inode_of(child.pid, 9) == tmp_path.stat().st_ino
            assert unsafe.device() == tmp_path.stat().st_dev
        assert unsafe.inode_of(child.pid, 300) == -1
        assert unsafe.inode_of(child.pid, 9) == tmp_path.stat().st_ino
        child.communicate(b"\n")
    assert unsafe.inode_of(child.pid, 9) == -1


def test_of_many_threads_few_descriptors_are_kept(tmp_path):
    path = tmp_path / "a"
    path.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    with start(tmp_path) as one, start(path) as other:
        tasks = [
            int(name) for pid in (one.pid, other.pid) for name in os.listdir(f"/proc/{pid}/task")
        ]
        for _ in range(100):
            for tid in tasks:
                unsafe.inode_of(tid, 9)
        assert unsafe.inode_of(other.pid, 9) == path.stat().st_ino
        assert unsafe.inode_of(one.pid, 9) == tmp_path.stat().st_ino
        one.communicate(b"\n")
        other.communicate(b"\n")
    assert len(os.listdir("/proc/self/fd")) <= before + len(tasks)
    unsafe.forget_threads()
    assert len(os.listdir("/proc/self/fd")) <= before
