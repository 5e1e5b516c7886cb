"""Calls that make, move and remove directory entries."""

from __future__ import annotations

from ..abi.fcntl import AT_REMOVEDIR
from .base import Syscall
from .kinds import CStr, DirFd, Flags, Mode, UInt
from .paths import CWD, FOLLOW, ByPath


class Mkdir(ByPath, family=True):
    """mkdir(2), mkdirat(2)."""

    dirfd: DirFd
    path: CStr
    mode: Mode


class mkdir(Mkdir):
    path: CStr
    mode: Mode
    dirfd = CWD


class mkdirat(Mkdir):
    dirfd: DirFd
    path: CStr
    mode: Mode


class Mknod(ByPath, family=True):
    """mknod(2), mknodat(2). ``dev`` as new_encode_dev() packs it (include/linux/kdev_t.h)."""

    dirfd: DirFd
    path: CStr
    mode: Mode
    dev: UInt


class mknod(Mknod):
    path: CStr
    mode: Mode
    dev: UInt
    dirfd = CWD


class mknodat(Mknod):
    dirfd: DirFd
    path: CStr
    mode: Mode
    dev: UInt


class Unlink(ByPath, family=True):
    """unlink(2), rmdir(2), unlinkat(2): ``flags`` with AT_REMOVEDIR remove a directory."""

    dirfd: DirFd
    path: CStr
    flags: Flags


class unlink(Unlink):
    path: CStr
    dirfd, flags = CWD, FOLLOW


class rmdir(Unlink):
    path: CStr
    dirfd, flags = CWD, Flags(AT_REMOVEDIR)


class unlinkat(Unlink):
    dirfd: DirFd
    path: CStr
    flags: Flags


class Symlink(ByPath, family=True):
    """symlink(2), symlinkat(2): ``path`` is the link that is made, ``target`` what it says."""

    target: CStr
    dirfd: DirFd
    path: CStr


class symlink(Symlink):
    target: CStr
    path: CStr
    dirfd = CWD


class symlinkat(Symlink):
    target: CStr
    dirfd: DirFd
    path: CStr


class ByTwoPaths(Syscall, family=True):
    """Everything that names two files: `Rename` and `Link`."""

    olddirfd: DirFd
    oldpath: CStr
    newdirfd: DirFd
    newpath: CStr
    flags: Flags


class Rename(ByTwoPaths, family=True):
    """rename(2), renameat(2), renameat2: ``flags`` are RENAME_*."""


class rename(Rename):
    oldpath: CStr
    newpath: CStr
    olddirfd, newdirfd, flags = CWD, CWD, Flags(0)


class renameat(Rename):
    olddirfd: DirFd
    oldpath: CStr
    newdirfd: DirFd
    newpath: CStr
    flags = Flags(0)


class renameat2(Rename):
    olddirfd: DirFd
    oldpath: CStr
    newdirfd: DirFd
    newpath: CStr
    flags: Flags


class Link(ByTwoPaths, family=True):
    """link(2), linkat(2): ``flags`` are AT_SYMLINK_FOLLOW and AT_EMPTY_PATH; by default a symbolic
    link is not followed."""


class link(Link):
    oldpath: CStr
    newpath: CStr
    olddirfd, newdirfd, flags = CWD, CWD, Flags(0)


class linkat(Link):
    olddirfd: DirFd
    oldpath: CStr
    newdirfd: DirFd
    newpath: CStr
    flags: Flags
