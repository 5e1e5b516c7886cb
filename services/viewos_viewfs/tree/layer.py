"""A layer: a directory tree that is part of the union, and the format of those that hold changes.

The format is the kernel's: Documentation/filesystems/overlayfs.rst, fs/overlayfs/. A whiteout says
that a name of the layers below is gone: a character device 0:0, or, where none can be made, an
empty file with the xattr ``overlay.whiteout`` in a directory with ``overlay.opaque=x`` (Linux 6.7).
``overlay.opaque=y``: a directory hides the one below it. ``overlay.origin``: it was copied from
below; the kernel keeps a file handle in it, and takes an empty one for one that is not known. The
xattrs are of the namespace ``trusted`` if root made the layer, else ``user``. Redirects and
metacopy are not used.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from .location import Fd, Location

NO_XATTR: Final = (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES)
"""What getxattr fails with where there is no such attribute, or can't be."""


class Layer:
    """One tree.

    Attributes:
        root: of its root directory.
        changes: it is in the overlay format. (The lowest layer never is: it is a plain tree.)
        upper: it is the one that changes are written to.
    """

    def __init__(self, root: int, prefix: str, *, changes: bool, upper: bool = False) -> None:
        self.root, self.changes, self.upper = Fd(root), changes, upper
        self._opaque = f"{prefix}.overlay.opaque"
        self._whiteout = f"{prefix}.overlay.whiteout"
        self._origin = f"{prefix}.overlay.origin"

    def is_whiteout(self, there: Location, st: os.stat_result, mark: Callable[[], bytes]) -> bool:
        """Does it say that the name is gone? ``mark``: tells its directory's."""
        if not self.changes:
            return False
        if stat.S_ISCHR(st.st_mode):
            return st.st_rdev == 0
        if stat.S_ISREG(st.st_mode) and st.st_size == 0 and mark() == b"x":
            return bool(self._get(there, self._whiteout))
        return False

    def mark(self, there: Location) -> bytes:
        """Of a directory: ``y`` opaque, ``x`` whiteouts may be xattrs, or nothing."""
        return self._get(there, self._opaque) if self.changes else b""

    def set_mark(self, there: Location, mark: bytes) -> None:
        """Mark a directory, or take its mark away."""
        if mark:
            there.setxattr(self._opaque, mark)
        elif self.mark(there):
            there.removexattr(self._opaque)

    def set_copied(self, there: Location, copied: bool) -> None:
        """Say that a directory was copied from below, or that it is one of its own."""
        try:
            if copied:
                there.setxattr(self._origin, b"")
            else:
                there.removexattr(self._origin)
        except OSError as error:
            if error.errno not in NO_XATTR:
                raise

    def make_whiteout(self, directory: Fd, name: bytes) -> bool:
        """Make one in any directory of the layer's file system.

        Returns:
            Whether it is an xattr, so that its directory must be marked.
        """
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=directory.fd)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
        else:
            return False
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=directory.fd))
        try:
            Location(directory, name).setxattr(self._whiteout, b"y")
        except OSError:
            os.unlink(name, dir_fd=directory.fd)
            raise
        return True

    @staticmethod
    def _get(there: Location, name: str) -> bytes:
        try:
            return there.getxattr(name)
        except OSError as error:
            if error.errno in NO_XATTR:
                return b""
            raise


class Hidden:
    """Which xattr names of a layer are its own, and how a program's of the same name are kept.

    ``user.overlay.X`` of a program is ``user.overlay.overlay.X`` in the layer, as in the kernel
    (fs/overlayfs/xattrs.c, Linux 6.7); a plain tree has it as it is.
    """

    def __init__(self, prefix: str) -> None:
        self._own = f"{prefix}.overlay.".encode()
        self._escape = self._own + b"overlay."
        self._stat = b"user.viewos.stat"

    def stored(self, name: bytes) -> bytes:
        """A program's name, as the layer has it."""
        return self._escape + name[len(self._own) :] if name.startswith(self._own) else name

    def shown(self, name: bytes) -> bytes | None:
        """A name of the layer, as programs see it; None: they do not."""
        if name == self._stat:
            return None
        if name.startswith(self._escape):
            return self._own + name[len(self._escape) :]
        return None if name.startswith(self._own) else name
