"""What a tracee's path means, found by `Tracee.open` alone; and when that can't be trusted.

The file that a call is about is opened with O_PATH, as the tracee: its root, its directory, its
rights. That says nothing of names that mean something else to every process: /proc/self and all
below it, magic links, and symbolic links that lead there (/dev/stdin). Wherever a path ended in
procfs, or failed at a link or there, only the kernel can say: `Doubt`.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from ...tracee import Tracee
from ...verdict import Verdict
from .. import unsafe
from ..identity import Unfit

PROC_SUPER_MAGIC: Final = 0x9FA0  # include/uapi/linux/magic.h

_LOST: Final = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)
"""What a path fails with where a name on the way is not what the tracee would find."""

_OURS: Final = (
    errno.ELOOP,
    errno.EXDEV,
    errno.EAGAIN,
    errno.ENAMETOOLONG,
    errno.EMFILE,
    errno.EINVAL,
)
"""What may have come from how we asked."""


class Doubt(Exception):
    """Only the kernel can answer this call faithfully."""


Hook = Callable[[Any, Any, Tracee], Verdict | None]


def or_kernel(method: Hook) -> Hook:
    """A hook that answers None, so that the kernel runs the call, whenever it is in doubt."""

    @functools.wraps(method)
    def serve(self: Any, call: Any, tracee: Tracee) -> Verdict | None:
        try:
            return method(self, call, tracee)
        except (Doubt, Unfit):
            return None

    return serve


@contextmanager
def aimed(tracee: Tracee, dirfd: int, path: bytes, *, follow: bool = True) -> Iterator[int]:
    """The file at a path, as an O_PATH descriptor.

    Raises:
        Doubt: see above.
        OSError: the tracee's errno.
    """
    if not path:
        raise Doubt
    flags = os.O_PATH | (0 if follow else os.O_NOFOLLOW)
    with faithful(tracee, dirfd, path):
        fd = tracee.open(dirfd, path, flags)
    try:
        if on_proc(fd):
            raise Doubt
        yield fd
    finally:
        os.close(fd)


@contextmanager
def entry(tracee: Tracee, dirfd: int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """The directory that a path's last name lies in, and that name with its slashes.

    Raises: as `aimed`.
    """
    head, name = split(path)
    if name.rstrip(b"/") in (b"", b".", b".."):
        raise Doubt
    with aimed(tracee, dirfd, head) as parent:
        yield parent, name


@contextmanager
def faithful(tracee: Tracee, dirfd: int, path: bytes) -> Iterator[None]:
    """Let through the errors that the tracee would have got, and turn others into `Doubt`."""
    try:
        yield
    except OSError as error:
        if error.errno in _OURS or (error.errno in _LOST and _is_elsewhere(tracee, dirfd, path)):
            raise Doubt from None
        raise


def split(path: bytes) -> tuple[bytes, bytes]:
    """``a/b//`` is ``a`` and ``b//``."""
    bare = path.rstrip(b"/")
    head, slash, name = bare.rpartition(b"/")
    return head or (b"/" if slash else b"."), name + path[len(bare) :]


def _is_elsewhere(tracee: Tracee, dirfd: int, path: bytes) -> bool:
    """Did the path fail at a link, or in procfs? It is tried from its end until a part is there."""
    head = path.rstrip(b"/") or b"/"
    while True:
        head, name = split(head)
        try:
            parent = tracee.open(dirfd, head, os.O_PATH)
        except OSError:
            if head in (b"/", b"."):
                return True
            continue
        try:
            return on_proc(parent) or stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode)
        except OSError:
            return False  # there is no such name, and that is the reason
        finally:
            os.close(parent)


def on_proc(fd: int) -> bool:
    """Is it a file of procfs? Those look different to every process."""
    return int.from_bytes(unsafe.statfs_raw(fd)[:8], "little") == PROC_SUPER_MAGIC


def own_name(fd: int) -> bytes:
    """A path of ours to what a descriptor has open, also for calls that refuse O_PATH ones."""
    return b"/proc/self/fd/%d" % fd


def same_namespace(tracee: Tracee, kind: str) -> bool:
    """Is the tracee in our namespace of this kind (net, uts)?"""
    return os.readlink(f"/proc/{tracee.tid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")


def read_path(tracee: Tracee, address: int) -> bytes:
    """The path at an address; Doubt for NULL, which some calls take for the descriptor itself."""
    if not address:
        raise Doubt
    return tracee.read_str(address)
