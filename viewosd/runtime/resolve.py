"""Open a path as another thread would: in its root, from its directory, ``/proc/self`` being it.

Without symbolic links on the way one openat2(2) does it. With one, the kernel would go on in our
root, and ``/proc/self`` (``/etc/mtab`` and ``/dev/fd`` lead there) would be us: so links are then
followed here, name by name. Source: path_resolution(7), openat2(2), fs/proc/self.c.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ..abi.fcntl import (
    RESOLVE_BENEATH,
    RESOLVE_CACHED,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)
from . import unsafe

MAXSYMLINKS: Final = 40  # include/linux/namei.h
_PROC_ROOT_INO: Final = 1  # include/linux/proc_fs.h
_PLAIN: Final = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS


class Walk:
    """One open on behalf of a thread.

    Args:
        root, start: O_PATH descriptors of its root, and of what a relative path starts from. They
            stay the caller's.
        pid, tid: who ``/proc/self`` and ``/proc/thread-self`` are; the first is asked for when a
            path leads there.
    """

    def __init__(
        self, root: int, start: int, pid: Callable[[], int], tid: int, resolve: int
    ) -> None:
        confined = resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)
        self._root, self._start = (start, start) if confined else (root, start)
        self._pid, self._tid = pid, tid
        self._resolve = resolve
        self._links = 0

    def open(self, path: bytes, flags: int, mode: int) -> int:
        """Raises OSError, as openat2 would; ELOOP for magic links. RESOLVE_CACHED does not follow
        links: EAGAIN.
        """
        absolute = path.startswith(b"/")
        if absolute and self._resolve & RESOLVE_BENEATH:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        scope = RESOLVE_IN_ROOT if absolute else RESOLVE_BENEATH
        base = self._root if absolute else self._start
        try:
            return unsafe.openat2(base, path, flags, mode, scope | _PLAIN | self._resolve)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EXDEV, errno.EAGAIN):
                raise
        if self._resolve & RESOLVE_CACHED:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return self._by_name(os.dup(base), path, flags, mode)

    def _by_name(self, at: int, path: bytes, flags: int, mode: int) -> int:
        """Owns ``at``, the directory that has been reached."""
        # A slash at the end goes with the last name, for the kernel to judge: it is followed
        # then if it is a link, and must be a directory.
        slash = b"/" if path.endswith(b"/") else b""
        names = deque(path.rstrip(b"/").split(b"/"))
        stay = flags & os.O_NOFOLLOW or (flags & os.O_CREAT and flags & os.O_EXCL)
        try:
            while True:
                name = names.popleft() or b"."
                if name == b".." and self._is_root(at):
                    if self._resolve & RESOLVE_BENEATH:
                        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
                    name = b"."
                if not (names and name == b"."):
                    keep = stay and not names and not slash
                    target = None if keep else self._target(at, name)
                    if target is not None:
                        if not names and target.endswith(b"/"):
                            slash = b"/"
                        names.extendleft(reversed(target.rstrip(b"/").split(b"/")))
                        if target.startswith(b"/"):
                            os.close(at)
                            at = os.dup(self._root)
                        continue
                    if not names:
                        return self._step(at, name + slash, flags, mode)
                    at, old = self._step(at, name, os.O_PATH | os.O_CLOEXEC, 0), at
                    os.close(old)
        finally:
            os.close(at)

    def _step(self, at: int, name: bytes, flags: int, mode: int) -> int:
        return unsafe.openat2(at, name, flags, mode, _PLAIN | self._resolve & RESOLVE_NO_XDEV)

    def _is_root(self, at: int) -> bool:
        return os.path.samestat(os.fstat(at), os.fstat(self._root))

    def _target(self, at: int, name: bytes) -> bytes | None:
        """What a symbolic link says; None: it is none, or nothing."""
        if name in (b".", b".."):
            return None
        try:
            target = os.readlink(name, dir_fd=at)
        except OSError:
            return None  # opening it tells why
        self._links += 1
        magic = False
        if os.fstat(at).st_ino == _PROC_ROOT_INO and name in (b"self", b"thread-self"):
            if target.split(b"/")[0] == b"%d" % os.getpid():
                task = b"/task/%d" % self._tid if name == b"thread-self" else b""
                return b"%d" % self._pid() + task
        else:
            magic = self._is_magic(at, name)
        if magic or self._links > MAXSYMLINKS or self._resolve & RESOLVE_NO_SYMLINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith(b"/") and self._resolve & RESOLVE_BENEATH:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return target

    def _is_magic(self, at: int, name: bytes) -> bool:
        """Does it lead elsewhere than its text says (/proc/pid/fd, exe, root, ns)?"""
        with suppress(OSError):
            os.close(unsafe.openat2(at, name, os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS))
            return False
        with suppress(OSError):
            os.close(unsafe.openat2(at, name, os.O_PATH | os.O_CLOEXEC))
            return True
        return False
