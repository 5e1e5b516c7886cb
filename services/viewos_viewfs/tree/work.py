"""The directory beside `upper` in which things are made whole before they are given their name.

Nothing appears in `upper` but by rename(2) of something finished, so a server that is killed
leaves nothing half done there; what it leaves here, the next one removes. We use a directory of
our own in it, for the kernel's overlayfs has another, ``work``, that it clears likewise.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .layer import Layer
from .location import DIRECTORY, Fd, Location
from .unsafe import RENAME_EXCHANGE, renameat2

OURS = b"viewos"


class Work:
    """What is being made."""

    def __init__(self, work: int, upper: Layer) -> None:
        """Take the directory over from whoever had it.

        Args:
            work: a descriptor of it; stays the caller's.

        Raises:
            OSError: EBUSY: another server has the layer; EXDEV, EOPNOTSUPP in words.
        """
        with suppress(FileExistsError):
            os.mkdir(OURS, 0o700, dir_fd=work)
        self._lock = os.open(OURS, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=work)
        self.upper, self._count = upper, 0
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.fd = Fd(os.open(OURS, DIRECTORY, dir_fd=work))
            for name in os.listdir(self._lock):
                self.remove(os.fsencode(name))
            self._probe()
        except BlockingIOError:
            os.close(self._lock)
            raise OSError(errno.EBUSY, "the layer is in use by another view") from None
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Leave nothing behind."""
        for name in os.listdir(self._lock):
            self.remove(os.fsencode(name))
        os.close(self._lock)

    def _probe(self) -> None:
        """Say beforehand what would fail in the middle of something."""
        if os.fstat(self._lock).st_dev != os.fstat(self.upper.root.fd).st_dev:
            raise OSError(errno.EXDEV, "upper and work are on different file systems")
        name = self.name()
        os.mkdir(name, 0o700, dir_fd=self.fd.fd)
        try:
            self.upper.set_mark(Location(self.fd, name), b"y")
        except OSError as error:
            words = "the layer's file system keeps no extended attributes"
            raise OSError(error.errno, words) from error
        finally:
            os.rmdir(name, dir_fd=self.fd.fd)

    def name(self) -> bytes:
        """One that is not in use here."""
        self._count += 1
        return b"#%x" % self._count

    def at(self, name: bytes) -> Location:
        return Location(self.fd, name)

    @contextmanager
    def making(self) -> Iterator[bytes]:
        """A name to make something under; what is still there in the end, or at an error, goes."""
        name = self.name()
        try:
            yield name
        finally:
            self.remove(name)

    def put(self, name: bytes, directory: Fd, to: bytes) -> None:
        """Give something its name in `upper`, over a file or whiteout that is there."""
        os.rename(name, to, src_dir_fd=self.fd.fd, dst_dir_fd=directory.fd)

    def exchange(self, name: bytes, directory: Fd, to: bytes) -> None:
        """Give something its name in `upper`; what was there is here then."""
        renameat2(self.fd.fd, name, directory.fd, to, RENAME_EXCHANGE)

    def remove(self, name: bytes) -> None:
        """Remove what is there under a name, with everything below. There may be nothing."""
        remove(self.fd, name)


def remove(parent: Fd, name: bytes) -> None:
    """Remove a file or a directory with everything below; there may be nothing."""
    try:
        os.unlink(name, dir_fd=parent.fd)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(Location(parent, name).stat().st_mode):
            raise
    else:
        return
    directory = Fd(os.open(name, DIRECTORY, dir_fd=parent.fd))
    for entry in list(os.scandir(b"/proc/self/fd/%d" % directory.fd)):
        remove(directory, entry.name)
    os.rmdir(name, dir_fd=parent.fd)
