"""Where something is stored: a name in a directory that is held open, or a descriptor of its own.

No path of more than one name is ever resolved, and none that could be a symbolic link, so nobody
who moves things about outside can lead us elsewhere. What the kernel offers for paths alone is
done by way of /proc/self/fd, which takes O_PATH descriptors: proc(5).
"""

from __future__ import annotations

import os
import stat
from typing import Final

PATH: Final = os.O_PATH | os.O_NOFOLLOW
DIRECTORY: Final = PATH | os.O_DIRECTORY


class Fd:
    """A descriptor (O_PATH) that is closed with its last user."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class Location:
    """A file, whatever its type. Symbolic links are not followed: they are files themselves."""

    __slots__ = ("_at", "_fd", "_name")

    def __init__(self, fd: Fd, name: bytes | None = None) -> None:
        """Args: fd: of a directory; with no name, of the file itself."""
        self._fd = fd
        self._at = fd.fd if name is not None else None
        self._name = name if name is not None else b"/proc/self/fd/%d" % fd.fd

    @property
    def path(self) -> bytes:
        """A path for calls that take no descriptor; its last part may be a symbolic link."""
        return self._name if self._at is None else b"/proc/self/fd/%d/%s" % (self._at, self._name)

    def stat(self) -> os.stat_result:
        return os.stat(self._name, dir_fd=self._at, follow_symlinks=self._at is None)

    def open(self, flags: int) -> int:
        """A descriptor of it. ELOOP for symbolic links."""
        if not flags & os.O_PATH:  # it could be a FIFO by now
            flags |= os.O_NONBLOCK | os.O_NOCTTY
        if self._at is None:
            return os.open(self._name, flags & ~os.O_NOFOLLOW)
        return os.open(self._name, flags | os.O_NOFOLLOW, dir_fd=self._at)

    def hold(self) -> Fd:
        """Keep it, even if its name goes."""
        return self._fd if self._at is None else Fd(self.open(PATH))

    def readlink(self) -> bytes:
        if self._at is None:
            return os.fsencode(os.readlink(b"", dir_fd=self._fd.fd))
        return os.fsencode(os.readlink(self._name, dir_fd=self._at))

    def chmod(self, mode: int) -> None:
        held = self.hold()  # fchmodat(2) follows links; fchmodat2(2) is of Linux 6.6
        os.chmod(b"/proc/self/fd/%d" % held.fd, stat.S_IMODE(mode))

    def chown(self, uid: int, gid: int) -> None:
        os.chown(self._name, uid, gid, dir_fd=self._at, follow_symlinks=self._at is None)

    def utime(self, ns: tuple[int, int] | None) -> None:
        """Args: ns: access and modification; None: both now, which takes fewer rights."""
        follow = self._at is None
        if ns is None:
            os.utime(self._name, dir_fd=self._at, follow_symlinks=follow)
        else:
            os.utime(self._name, ns=ns, dir_fd=self._at, follow_symlinks=follow)

    def access(self, mask: int) -> bool:
        """May we, by our effective ids?"""
        return os.access(
            self._name,
            mask,
            dir_fd=self._at,
            effective_ids=True,
            follow_symlinks=self._at is None,
        )

    def getxattr(self, name: str | bytes) -> bytes:
        return os.getxattr(self.path, name, follow_symlinks=self._at is None)

    def setxattr(self, name: str | bytes, value: bytes, flags: int = 0) -> None:
        os.setxattr(self.path, name, value, flags, follow_symlinks=self._at is None)

    def removexattr(self, name: str | bytes) -> None:
        os.removexattr(self.path, name, follow_symlinks=self._at is None)

    def listxattr(self) -> list[bytes]:
        names = os.listxattr(self.path, follow_symlinks=self._at is None)
        return [os.fsencode(name) for name in names]

    def link(self, directory: int, name: bytes) -> None:
        """Give it one more name: linkat(2)."""
        follow = self._at is None
        os.link(self._name, name, src_dir_fd=self._at, dst_dir_fd=directory, follow_symlinks=follow)
