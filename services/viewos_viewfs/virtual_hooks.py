"""Virtual owners in an ordinary user's view.

The user namespace has one id. The kernel shows every other one as the user's, refuses chown(2) to
it (EINVAL), and lets nobody make a device (EPERM), all without asking the file system. So while a
tree with ``vstat`` is mounted, these calls are answered here, through the xattr by which the tree
tells and takes what is virtual. Where a file lies is told by its device number.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from viewosd import Bits, Return, Tracee, Verdict, hook
from viewosd.abi.arch import Arch
from viewosd.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_STATX_SYNC_TYPE,
    AT_SYMLINK_NOFOLLOW,
)
from viewosd.abi.stat import STATX_BASIC_STATS, statx
from viewosd.abi.stat_layouts import old_stat_of, stat64_of, stat_of
from viewosd.syscalls import files, paths
from viewosd.syscalls.entries import Mknod
from viewosd.syscalls.files import Fchown, Fstat
from viewosd.syscalls.paths import Chown, Stat

from . import unsafe

if TYPE_CHECKING:
    from .tree.virtual import Virtual

ANY_TYPE: Final = "system.viewos.stat"
"""The xattr's other name: `user.` is for regular files and directories alone, xattr(7)."""

_KNOWN: Final = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE
_OWNERS: Final = struct.Struct("=IIH").pack_into  # stx_uid, stx_gid, stx_mode
_RDEV: Final = struct.Struct("=II").pack_into  # stx_rdev_major, stx_rdev_minor
_NO_ID: Final = 0xFFFF_FFFF
_DEVICE: Final = 0o020000
"""The bit of st_mode that S_IFCHR and S_IFBLK have, and nothing else that mknod(2) makes."""


class VirtualHooks:
    """The hooks. Part of `viewos_viewfs.ViewFs`.

    Attributes:
        devices: st_dev of what is mounted with virtual owners.
    """

    devices: frozenset[int] = frozenset()

    @contextmanager
    def _virtual(
        self, tracee: Tracee, dirfd: int, pointer: int, flags: int
    ) -> Iterator[tuple[int, Virtual | None]]:
        """The file that a path means, and what is virtual; (-1, None): it is the kernel's."""
        try:
            path = tracee.read_str(pointer) if pointer else b""
            if not path and not flags & AT_EMPTY_PATH:
                fd = -1
            elif not path and dirfd != AT_FDCWD:
                with self._open(tracee, dirfd) as found:
                    yield found
                return
            else:
                nofollow = os.O_NOFOLLOW if flags & AT_SYMLINK_NOFOLLOW else 0
                fd = tracee.open(dirfd, path or b".", os.O_PATH | nofollow)
        except OSError:
            fd = -1  # the kernel will say what is wrong with it
        try:
            yield self._told(fd)
        finally:
            if fd >= 0:
                os.close(fd)

    @contextmanager
    def _open(self, tracee: Tracee, number: int) -> Iterator[tuple[int, Virtual | None]]:
        """The same by descriptor."""
        if unsafe.inode_of(tracee.tid, number) < 0 or unsafe.device() not in self.devices:
            yield -1, None
            return
        with tracee.fd(number) as fd:
            yield self._told(fd)

    def _told(self, fd: int) -> tuple[int, Virtual | None]:
        if fd < 0 or unsafe.inode(_own(fd)) < 0 or unsafe.device() not in self.devices:
            return -1, None
        from .tree.virtual import parse  # with the tree itself: only who asks for one needs it

        try:
            return fd, parse(os.getxattr(_own(fd), ANY_TYPE))
        except OSError:
            return -1, None

    @hook(Stat)
    def tell(self, call: Stat, tracee: Tracee) -> Verdict | None:
        """stat(2), lstat(2), fstatat(2), statx(2)."""
        if call.flags & ~_KNOWN or not self.devices:
            return None
        with self._virtual(tracee, call.dirfd, call.path, call.flags) as (fd, virtual):
            return _tell(call, tracee, fd, virtual) if virtual is not None else None

    @hook(Fstat)
    def tell_open(self, call: Fstat, tracee: Tracee) -> Verdict | None:
        """fstat(2)."""
        with self._open(tracee, call.fd) as (fd, virtual):
            return _tell(call, tracee, fd, virtual) if virtual is not None else None

    @hook(Chown)
    def give(self, call: Chown, tracee: Tracee) -> Verdict | None:
        """chown(2), lchown(2), fchownat(2)."""
        if call.flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
            return None
        with self._virtual(tracee, call.dirfd, call.path, call.flags) as (fd, virtual):
            return _give(call, tracee, fd, virtual) if virtual is not None else None

    @hook(Fchown)
    def give_open(self, call: Fchown, tracee: Tracee) -> Verdict | None:
        """fchown(2)."""
        with self._open(tracee, call.fd) as (fd, virtual):
            return _give(call, tracee, fd, virtual) if virtual is not None else None

    @hook(Mknod, mode=Bits(_DEVICE), idempotent=False)
    def make_device(self, call: Mknod, tracee: Tracee) -> Verdict | None:
        """mknod(2) of devices. First it is a regular file, of which the kernel lets it be told."""
        if stat.S_IFMT(call.mode) not in (stat.S_IFCHR, stat.S_IFBLK):
            return None
        try:
            head, slash, name = tracee.read_str(call.path).rpartition(b"/")
            parent = tracee.open(call.dirfd, head + slash or b".", os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return None
        try:
            known = unsafe.inode(_own(parent)) >= 0 and unsafe.device() in self.devices
            if name in (b"", b".", b"..") or not known:
                return None
            tracee.check()
            os.mknod(name, stat.S_IFREG | 0o600, dir_fd=parent)
            try:
                _become(parent, name, call, tracee.umask)
            except BaseException:
                os.unlink(name, dir_fd=parent)
                raise
            return Return(0)
        finally:
            os.close(parent)


def _own(fd: int) -> bytes:
    return b"/proc/self/fd/%d" % fd


def _become(parent: int, name: bytes, call: Mknod, umask: int) -> None:
    """Make a device of a regular file that nobody knows yet."""
    from .tree.virtual import Virtual

    kind, perm = stat.S_IFMT(call.mode), stat.S_IMODE(call.mode) & ~umask
    major = call.dev >> 8 & 0xFFF
    minor = call.dev & 0xFF | call.dev >> 12 & 0xFFF00
    want = Virtual(mode=kind | perm, rdev=os.makedev(major, minor))
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.setxattr(_own(fd), ANY_TYPE, want.text())
    finally:
        os.close(fd)
    # For a name that must be new the kernel asks the tree again, learns that it is another file
    # now, and forgets the regular one (fs/fuse/dir.c:fuse_dentry_revalidate(), LOOKUP_EXCL). The
    # tree's own notice may come later than the program's next call.
    with suppress(FileExistsError):
        os.mknod(name, stat.S_IFREG, dir_fd=parent)


def _give(call: Chown | Fchown, tracee: Tracee, fd: int, virtual: Virtual) -> Verdict:
    uid = None if call.user == _NO_ID else int(call.user)
    gid = None if call.group == _NO_ID else int(call.group)
    mode = virtual.mode or 0
    if not stat.S_ISDIR(mode):  # fs/open.c:chown_common(), whoever asks
        mode &= ~stat.S_ISUID & ~(stat.S_ISGID if mode & stat.S_IXGRP else 0)
    want = virtual._replace(
        mode=mode if mode != virtual.mode else None, uid=uid, gid=gid, rdev=None
    )
    tracee.check()
    if text := want.text():
        os.setxattr(_own(fd), ANY_TYPE, text)
    return Return(0)


def _tell(call: Stat | Fstat, tracee: Tracee, fd: int, virtual: Virtual) -> Verdict:
    """Fill the structure that the call wants."""
    sync, mask = 0, STATX_BASIC_STATS
    if isinstance(call, paths.statx):
        sync, mask = call.flags & AT_STATX_SYNC_TYPE, call.mask
    raw = bytearray(unsafe.statx(fd, sync, mask))
    mode, uid, gid, rdev = (field or 0 for field in virtual)
    _OWNERS(raw, 20, uid, gid, mode)
    _RDEV(raw, 128, os.major(rdev), os.minor(rdev))
    if isinstance(call, paths.statx):
        tracee.write(call.buf, bytes(raw))
        return Return(0)
    told = statx.unpack(bytes(raw))
    if isinstance(call, paths.stat64 | paths.lstat64 | paths.fstatat64 | files.fstat64):
        tracee.write(call.buf, stat64_of(stat_of(told)).pack())
    elif isinstance(call, paths.oldstat | paths.oldlstat | files.oldfstat):
        tracee.write(call.buf, old_stat_of(stat_of(told)).pack())
    elif isinstance(call, paths.stat | paths.lstat | paths.newfstatat | files.fstat):
        tracee.write_struct(call.buf, stat_of(told, narrow=Arch(call.arch).is_compat))
    return Return(0)
