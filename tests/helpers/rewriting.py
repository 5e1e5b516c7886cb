"""What tests of the `Rewrite` verdict share: a path that leads elsewhere, and programs that open it."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.rig import syscall
from viewosd.verdict import Rewrite, Verdict

OLD, NEW = b"/nowhere/old", b"/dev/null"


def redirect(call: Any, tracee: Any) -> Verdict | None:
    """Open NEW where OLD is asked for."""
    if tracee.read_str(call.path) == OLD:
        return Rewrite(call.replace(path=NEW))
    return None


def opened(path: bytes = OLD, flags: int = 0) -> str:
    """Where an open ends, or the errno's name."""
    fd = syscall("openat", -100, path, flags)
    if fd < 0:
        return errno.errorcode[-fd]
    name = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return name


@pytest.fixture(scope="session")
def cc(scratch: Path) -> Callable[..., str]:
    """Compile a source; the executable's path."""

    def compiled(source: str, *flags: str) -> str:
        path = scratch / f"cc-{abs(hash((source, flags)))}"
        if not path.exists():
            words = ["gcc", "-O1", "-w", *flags, "-x", "c", "-", "-o", path, "-lpthread"]
            done = subprocess.run(words, input=source, capture_output=True, text=True)
            if done.returncode and "-m32" in flags:
                pytest.skip("needs a 32-bit C library (gcc-multilib)")
            assert done.returncode == 0, done.stderr
        return str(path)

    return compiled
