"""Calls that ask about a file: stat, access, readlink, statfs, getdents64.

Left to the kernel: flags that we do not know, an empty path that means the working directory, the
i386 structures older than stat64, an i386 program's directories, and procfs.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from ...abi.arch import Arch
from ...abi.fcntl import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_NO_AUTOMOUNT,
    AT_STATX_SYNC_TYPE,
    AT_SYMLINK_NOFOLLOW,
)
from ...abi.stat import stat as struct_stat
from ...abi.stat import statfs64 as struct_statfs64
from ...abi.stat_layouts import stat64_of
from ...service import hook
from ...syscalls import files, paths
from ...syscalls.base import Syscall
from ...syscalls.files import Fstat, fstat64, getdents64
from ...syscalls.paths import Access, Readlink, Stat, Statfs
from ...tracee import Tracee
from ...verdict import Errno, Return, Verdict
from .. import unsafe
from .aim import Doubt, aimed, on_proc, or_kernel, read_path
from .served import Served

_NATIVE: Final = (paths.stat, paths.lstat, paths.newfstatat, files.fstat)
_WIDE: Final = (paths.stat64, paths.lstat64, paths.fstatat64, fstat64)
_STATX_RESERVED: Final = 1 << 31  # STATX__RESERVED, include/uapi/linux/stat.h
_MOST: Final = 1 << 20  # bytes of directory entries at a time


class Asking(Served):
    """The families `Stat`, `Fstat`, `Access`, `Readlink`, `Statfs`; getdents64."""

    @hook(Stat)
    @or_kernel
    def stat(self, call: Stat, tracee: Tracee) -> Verdict | None:
        flags = call.flags
        known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE
        if flags & ~known or flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE:
            return None
        if isinstance(call, paths.statx) and call.mask & _STATX_RESERVED:
            return None
        path = read_path(tracee, call.path)
        if not path and flags & AT_EMPTY_PATH and call.dirfd >= 0:
            with tracee.fd(call.dirfd) as fd:
                return _tell(call, tracee, fd)
        with (
            self.identity.of(tracee),
            aimed(tracee, call.dirfd, path, follow=not flags & AT_SYMLINK_NOFOLLOW) as fd,
        ):
            return _tell(call, tracee, fd)

    @hook(Fstat)
    @or_kernel
    def fstat(self, call: Fstat, tracee: Tracee) -> Verdict | None:
        with tracee.fd(call.fd) as fd:
            return _tell(call, tracee, fd)

    @hook(Access)
    @or_kernel
    def access(self, call: Access, tracee: Tracee) -> Verdict | None:
        flags = call.flags
        if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EACCESS) or call.mode & ~7:
            return None
        path = read_path(tracee, call.path)
        with (
            self.identity.of(tracee, real=not flags & AT_EACCESS),
            aimed(tracee, call.dirfd, path, follow=not flags & AT_SYMLINK_NOFOLLOW) as fd,
        ):
            unsafe.faccess(fd, call.mode, AT_EACCESS)
        return Return(0)

    @hook(Readlink)
    @or_kernel
    def readlink(self, call: Readlink, tracee: Tracee) -> Verdict | None:
        if call.bufsiz <= 0:
            return Errno(errno.EINVAL)
        path = read_path(tracee, call.path)
        with self.identity.of(tracee), aimed(tracee, call.dirfd, path, follow=False) as fd:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                return Errno(errno.EINVAL)
            target = os.readlink(b"", dir_fd=fd)[: call.bufsiz]
        tracee.write(call.buf, target)
        return Return(len(target))

    @hook(Statfs)
    @or_kernel
    def statfs(self, call: Statfs, tracee: Tracee) -> Verdict | None:
        path = read_path(tracee, call.path)
        if isinstance(call, paths.statfs64) and call.sz not in (84, 88):
            return None
        with self.identity.of(tracee), aimed(tracee, call.dirfd, path) as fd:
            raw = unsafe.statfs_raw(fd)
        if isinstance(call, paths.statfs64):
            tracee.write_struct(call.buf, struct_statfs64.unpack(raw))
        elif Arch(call.arch).is_compat:
            raise Doubt  # EOVERFLOW has rules of its own there
        else:
            tracee.write(call.buf, raw)
        return Return(0)

    @hook(getdents64)
    @or_kernel
    def getdents(self, call: getdents64, tracee: Tracee) -> Verdict | None:
        if Arch(call.arch).is_compat:
            # File systems give a 32-bit caller offsets of 32 bits (fs/ext4/dir.c:is_32bit_api());
            # to ours they give 64, and its C library ends the list at the first one that is larger.
            return None
        with tracee.fd(call.fd) as fd:
            if on_proc(fd) or not stat.S_ISDIR(os.fstat(fd).st_mode):
                return None
            before = os.lseek(fd, 0, os.SEEK_CUR)
            entries = unsafe.getdents_raw(fd, min(call.count, _MOST))
            try:
                if entries:
                    tracee.write(call.dirent, entries)
            except OSError:
                os.lseek(fd, before, os.SEEK_SET)
                raise
        return Return(len(entries))


def _tell(call: Syscall, tracee: Tracee, fd: int) -> Verdict:
    """Fill the structure that the call wants."""
    if isinstance(call, paths.statx):
        data = unsafe.statx_raw(fd, call.flags & AT_STATX_SYNC_TYPE, call.mask)
    elif isinstance(call, _NATIVE) and not Arch(call.arch).is_compat:
        data = unsafe.stat_raw(fd)
    elif isinstance(call, _WIDE):
        data = stat64_of(struct_stat.unpack(unsafe.stat_raw(fd))).pack()
    else:
        raise Doubt
    tracee.write(call.buf, data)
    return Return(0)
