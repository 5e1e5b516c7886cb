"""Nothing below a directory is changed: viewos-run -p examples/read_only.py,path=/home -- make

A path is judged by its names, so a symbolic link from elsewhere gets round it. Renaming, links and
modes would be hooked in the same way.
"""

import errno
import os

from viewosd import Errno, Service, Tracee, hook
from viewosd.syscalls import Mkdir, Open, Unlink
from viewosd.syscalls.paths import ByPath

CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class ReadOnly(Service):
    """Making, removing and writing files below ``path`` fails with EROFS."""

    name = "readonly"

    def __init__(self, path: bytes) -> None:
        self.path = os.path.abspath(path).rstrip(b"/") + b"/"

    @hook(Open)
    def open(self, call: Open, tracee: Tracee) -> Errno | None:
        flags = getattr(call, "flags", CHANGING)  # those of openat2 lie in memory: we suppose them
        return self.change(call, tracee) if flags & CHANGING else None

    @hook(Mkdir)
    @hook(Unlink)
    def change(self, call: ByPath, tracee: Tracee) -> Errno | None:
        path = os.path.normpath(tracee.path_of(call.dirfd, tracee.read_str(call.path)))
        return Errno(errno.EROFS) if (path + b"/").startswith(self.path) else None
