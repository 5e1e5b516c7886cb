"""The path condition of hooks: `viewosd.service.Under`."""

from __future__ import annotations

from ..core.paths import plain
from ..errors import Vanished
from ..syscalls.base import Syscall
from ..tracee import AT_FDCWD
from . import memory
from .tracee import ThreadTracee


def lies_under(tracee: ThreadTracee, call: Syscall, register: str, prefix: bytes) -> bool:
    """Does the path that ``call.register`` points at lie at or below ``prefix``?

    By names alone. A path that can't be read is nobody's: the kernel will say why.
    """
    try:
        path = memory.read_str(tracee.tid, getattr(call, register))
        if not path:
            return False  # names nothing, or an open file (AT_EMPTY_PATH)
        if not path.startswith(b"/"):
            path = tracee.path_of(_directory_of(call, register), path)
    except (OSError, Vanished):
        return False
    if b"/." in path or b"//" in path:
        path = plain(path)
    return path.startswith(prefix) and (
        len(path) == len(prefix) or path[len(prefix)] == 0x2F or prefix.endswith(b"/")
    )


def _directory_of(call: Syscall, register: str) -> int:
    """The descriptor that a relative path starts from: ``newpath`` goes with ``newdirfd``."""
    for name in (register.replace("path", "dirfd").replace("name", "dirfd"), "dirfd"):
        if name != register and hasattr(call, name):
            return int(getattr(call, name))
    return AT_FDCWD
