"""Calls that change a file: chmod, chown, utimensat, truncate, extended attributes.

Left to the kernel: an empty path, times in other structures than two struct timespec, truncate
under RLIMIT_FSIZE (the signal must reach the tracee) or of a file with a lease (it waits for the
holder, perhaps a tracee that needs us), the ``*xattrat`` calls, procfs.
"""

from __future__ import annotations

import errno
import os
import struct

from ...abi.arch import NATIVE
from ...abi.fcntl import AT_SYMLINK_NOFOLLOW, XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_SIZE_MAX
from ...abi.time import UTIME_NOW, UTIME_OMIT
from ...service import hook
from ...syscalls import xattr
from ...syscalls.paths import Chmod, Chown, Truncate, utimensat
from ...syscalls.xattr import Getxattr, Listxattr, Removexattr, Setxattr
from ...tracee import Tracee
from ...verdict import Errno, Return, Verdict
from .. import unsafe
from .aim import Doubt, aimed, or_kernel, own_name, read_path
from .opening import soft_limit
from .served import Served


class Changing(Served):
    """The families `Chmod`, `Chown`, `Truncate` and of extended attributes; utimensat."""

    @hook(Chmod)
    @or_kernel
    def chmod(self, call: Chmod, tracee: Tracee) -> Verdict | None:
        path, follow = _where(call, tracee)
        with self.identity.of(tracee), aimed(tracee, call.dirfd, path, follow=follow) as fd:
            tracee.check()
            os.chmod(own_name(fd), call.mode)
        return Return(0)

    @hook(Chown)
    @or_kernel
    def chown(self, call: Chown, tracee: Tracee) -> Verdict | None:
        path, follow = _where(call, tracee)
        user, group = (-1 if i == 0xFFFF_FFFF else int(i) for i in (call.user, call.group))
        with self.identity.of(tracee), aimed(tracee, call.dirfd, path, follow=follow) as fd:
            tracee.check()
            os.chown(own_name(fd), user, group)
        return Return(0)

    @hook(Truncate)
    @or_kernel
    def truncate(self, call: Truncate, tracee: Tracee) -> Verdict | None:
        if call.length < 0:
            return Errno(errno.EINVAL)
        if soft_limit(tracee, b"Max file size") is not None:
            return None
        path = read_path(tracee, call.path)
        with self.identity.of(tracee), aimed(tracee, call.dirfd, path) as fd:
            if _is_leased(fd):
                return None
            tracee.check()
            os.truncate(own_name(fd), call.length)
        return Return(0)

    @hook(utimensat)
    @or_kernel
    def utimensat(self, call: utimensat, tracee: Tracee) -> Verdict | None:
        if call.arch != NATIVE:
            return None
        times = tracee.read(call.times, 32) if call.times else None
        if times is not None and not _are_times(times):
            return None
        path, follow = _where(call, tracee)
        with self.identity.of(tracee), aimed(tracee, call.dirfd, path, follow=follow) as fd:
            tracee.check()
            unsafe.utimens(own_name(fd), times)
        return Return(0)

    @hook(Getxattr)
    @or_kernel
    def getxattr(self, call: Getxattr, tracee: Tracee) -> Verdict | None:
        if not isinstance(call, xattr.getxattr | xattr.lgetxattr):
            return None
        name, (path, follow) = _name(call.name, tracee), _where(call, tracee)
        with self.identity.of(tracee), aimed(tracee, call.dirfd, path, follow=follow) as fd:
            value = os.getxattr(own_name(fd), name)
        return _give(tracee, value, call.value, call.size, XATTR_SIZE_MAX)

    @hook(Listxattr)
    @or_kernel
    def listxattr(self, call: Listxattr, tracee: Tracee) -> Verdict | None:
        if not isinstance(call, xattr.listxattr | xattr.llistxattr):
            return None
        path, follow = _where(call, tracee)
        with self.identity.of(tracee), aimed(tracee, call.dirfd, path, follow=follow) as fd:
            names = os.listxattr(own_name(fd))
        listed = b"".join(os.fsencode(name) + b"\0" for name in names)
        return _give(tracee, listed, call.list, call.size, XATTR_LIST_MAX)

    @hook(Setxattr)
    @or_kernel
    def setxattr(self, call: Setxattr, tracee: Tracee) -> Verdict | None:
        if not isinstance(call, xattr.setxattr | xattr.lsetxattr) or call.size > XATTR_SIZE_MAX:
            return None
        if call.flags & ~(os.XATTR_CREATE | os.XATTR_REPLACE):
            return None
        name, (path, follow) = _name(call.name, tracee), _where(call, tracee)
        value = tracee.read(call.value, call.size) if call.size else b""
        with self.identity.of(tracee), aimed(tracee, call.dirfd, path, follow=follow) as fd:
            tracee.check()
            os.setxattr(own_name(fd), name, value, call.flags)
        return Return(0)

    @hook(Removexattr)
    @or_kernel
    def removexattr(self, call: Removexattr, tracee: Tracee) -> Verdict | None:
        if not isinstance(call, xattr.removexattr | xattr.lremovexattr):
            return None
        name, (path, follow) = _name(call.name, tracee), _where(call, tracee)
        with self.identity.of(tracee), aimed(tracee, call.dirfd, path, follow=follow) as fd:
            tracee.check()
            os.removexattr(own_name(fd), name)
        return Return(0)


def _is_leased(fd: int) -> bool:
    """Has any file with this inode's number a lease? proc(5), /proc/locks.

    Numbers of devices are not compared: some file systems show another one there than stat(2) does.
    """
    ending = b":%d 0 EOF" % os.fstat(fd).st_ino
    with open("/proc/locks", "rb", 0) as file:
        lines = file.read().splitlines()
    return any(b" LEASE " in line and line.endswith(ending) for line in lines)


def _are_times(block: bytes) -> bool:
    """Would the kernel go on with these? Some are invalid, and two UTIME_OMIT do nothing."""
    nanoseconds = struct.unpack("=8xq8xq", block)
    return all(0 <= n < 1_000_000_000 or n in (UTIME_NOW, UTIME_OMIT) for n in nanoseconds) and (
        nanoseconds != (UTIME_OMIT, UTIME_OMIT)
    )


def _where(
    call: Chmod | Chown | utimensat | Getxattr | Setxattr | Listxattr | Removexattr, tracee: Tracee
) -> tuple[bytes, bool]:
    """The path, and whether a link at its end is followed."""
    flags = call.flags if isinstance(call, Chmod | Chown | utimensat) else call.at_flags
    if flags & ~AT_SYMLINK_NOFOLLOW:
        raise Doubt
    return read_path(tracee, call.path), not flags


def _name(address: int, tracee: Tracee) -> bytes:
    """An attribute's name. The kernel has an errno of its own for one that is too long or empty."""
    try:
        name = tracee.read_str(address, XATTR_NAME_MAX + 1)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise Doubt from None
        raise
    if not name:
        raise Doubt
    return name


def _give(tracee: Tracee, value: bytes, address: int, size: int, most: int) -> Verdict:
    """A value into a buffer of ``size`` bytes; 0 asks how large it is."""
    if not size:
        return Return(len(value))
    if len(value) > min(size, most):
        return Errno(errno.ERANGE)
    if value:
        tracee.write(address, value)
    return Return(len(value))
