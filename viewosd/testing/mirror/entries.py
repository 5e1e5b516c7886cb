"""Calls that make, move and remove directory entries.

Left to the kernel: paths that end in ``.``, ``..`` or nothing, link(2) with flags, procfs.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from ...abi.fcntl import AT_REMOVEDIR
from ...service import hook
from ...syscalls.entries import Link, Mkdir, Mknod, Rename, Symlink, Unlink
from ...tracee import Tracee
from ...verdict import Return, Verdict
from .. import unsafe
from .aim import aimed, entry, or_kernel, read_path
from .served import Served

_NODES: Final = (0, stat.S_IFREG, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)
"""What mknod(2) makes; anything else fails before the path is looked at."""


class Entries(Served):
    """The families `Mkdir`, `Mknod`, `Unlink`, `Symlink`, `Rename`, `Link`."""

    @hook(Mkdir)
    @or_kernel
    def mkdir(self, call: Mkdir, tracee: Tracee) -> Verdict | None:
        path = read_path(tracee, call.path)
        with (
            self.identity.of(tracee, creating=True),
            entry(tracee, call.dirfd, path) as (parent, name),
        ):
            tracee.check()
            os.mkdir(name, call.mode, dir_fd=parent)
        return Return(0)

    @hook(Mknod)
    @or_kernel
    def mknod(self, call: Mknod, tracee: Tracee) -> Verdict | None:
        if stat.S_IFMT(call.mode) not in _NODES:
            return None
        path = read_path(tracee, call.path)
        # new_decode_dev(), include/linux/kdev_t.h
        major, minor = (call.dev & 0xFFF00) >> 8, call.dev & 0xFF | (call.dev >> 12) & 0xFFF00
        with (
            self.identity.of(tracee, creating=True),
            entry(tracee, call.dirfd, path) as (parent, name),
        ):
            tracee.check()
            os.mknod(name, call.mode, os.makedev(major, minor), dir_fd=parent)
        return Return(0)

    @hook(Unlink)
    @or_kernel
    def unlink(self, call: Unlink, tracee: Tracee) -> Verdict | None:
        if call.flags & ~AT_REMOVEDIR:
            return None
        path = read_path(tracee, call.path)
        with self.identity.of(tracee), entry(tracee, call.dirfd, path) as (parent, name):
            tracee.check()
            (os.rmdir if call.flags else os.unlink)(name, dir_fd=parent)
        return Return(0)

    @hook(Symlink)
    @or_kernel
    def symlink(self, call: Symlink, tracee: Tracee) -> Verdict | None:
        target, path = tracee.read_str(call.target), read_path(tracee, call.path)
        with self.identity.of(tracee), entry(tracee, call.dirfd, path) as (parent, name):
            tracee.check()
            os.symlink(target, name, dir_fd=parent)
        return Return(0)

    @hook(Rename)
    @or_kernel
    def rename(self, call: Rename, tracee: Tracee) -> Verdict | None:
        oldpath, newpath = read_path(tracee, call.oldpath), read_path(tracee, call.newpath)
        with (
            self.identity.of(tracee),
            entry(tracee, call.olddirfd, oldpath) as (old, oldname),
            entry(tracee, call.newdirfd, newpath) as (new, newname),
        ):
            tracee.check()
            unsafe.rename(old, oldname, new, newname, call.flags)
        return Return(0)

    @hook(Link)
    @or_kernel
    def link(self, call: Link, tracee: Tracee) -> Verdict | None:
        if call.flags:
            return None
        oldpath, newpath = read_path(tracee, call.oldpath), read_path(tracee, call.newpath)
        with (
            self.identity.of(tracee),
            aimed(tracee, call.olddirfd, oldpath, follow=False),  # it is looked for first
            entry(tracee, call.olddirfd, oldpath) as (old, oldname),
            entry(tracee, call.newdirfd, newpath) as (new, newname),
        ):
            tracee.check()
            os.link(oldname, newname, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
        return Return(0)
