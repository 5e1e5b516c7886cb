"""What ``move`` and ``bind`` show is the same file inside and outside: memory, locks, watchers."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import subprocess

import pytest

from helpers.grounds import PROGRAMS, Ground


@pytest.mark.parametrize("option", ["--move", "--bind"])
def test_a_file_is_shared_with_programs_outside(ground: Ground, option: str):
    data = ground.source / "data"
    data.write_bytes(b"." * 4096)
    if os.geteuid() == 0:
        os.chown(data, ground.user.uid, ground.user.uid)
    inside = ground.start(
        option, ground.source, ground.work, "--", ground.python, "-I", PROGRAMS / "across.py",
        cwd=ground.work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with inside, data.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        assert inside.stdin is not None
        assert inside.stdout is not None
        assert inside.stdout.readline() == "ready\n"
        assert view[:4] == b"MAPS"
        view[4:8] = b"THEM"
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(file, fcntl.LOCK_EX, 5)
        (ground.source / "made").touch()
        (ground.source / "made").rename(ground.source / "moved")
        (ground.source / "moved").unlink()
        inside.stdin.write("look\n")
        inside.stdin.flush()
        assert json.loads(inside.stdout.readline()) == {
            "mapped": "THEM", "seen": ["made", "made", "moved", "moved"], "lock": "EAGAIN",
        }  # fmt: skip
        inside.stdin.close()
    assert inside.returncode == 0
