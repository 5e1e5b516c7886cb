"""Mounting: the old calls, the new ones on descriptors, and what tells about mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import Buffer, CStr, DirFd, Fd, Flags, In, Int, Ptr, Size, UInt, ULong
from .paths import CWD, FOLLOW, ByPath

if TYPE_CHECKING:
    from ..abi.mount import mnt_id_req, mount_attr


class mount(Syscall):
    source: CStr  # may be NULL
    target: CStr
    type: CStr  # may be NULL, with MS_BIND, MS_MOVE, MS_REMOUNT and the propagation flags
    flags: ULong  # MS_*
    data: Ptr  # a string, or a page of the file system's own


class Umount(ByPath, family=True):
    """umount2(2), i386's umount. ``flags`` are MNT_* and UMOUNT_NOFOLLOW."""

    path: CStr
    flags: Flags


class umount2(Umount):
    path: CStr
    flags: Flags
    dirfd = CWD


class umount(Umount):
    path: CStr
    dirfd, flags = CWD, FOLLOW


class pivot_root(Syscall):
    new_root: CStr
    put_old: CStr


class OpenTree(ByPath, family=True):
    """open_tree(2), open_tree_attr(2)."""

    dirfd: DirFd
    path: CStr
    flags: Flags


class open_tree(OpenTree):
    dirfd: DirFd
    path: CStr
    flags: Flags


class open_tree_attr(OpenTree):
    dirfd: DirFd
    path: CStr
    flags: Flags
    attr: In[mount_attr]
    usize: Size


class move_mount(Syscall):
    from_dirfd: DirFd
    from_path: CStr
    to_dirfd: DirFd
    to_path: CStr
    flags: Flags


class fsopen(Syscall):
    fs_name: CStr
    flags: Flags


class fsconfig(Syscall):
    fd: Fd
    cmd: UInt
    key: CStr
    value: Ptr
    aux: Int


class fsmount(Syscall):
    fs_fd: Fd
    flags: Flags
    attr_flags: Flags


class fspick(ByPath):
    dirfd: DirFd
    path: CStr
    flags: Flags


class mount_setattr(ByPath):
    dirfd: DirFd
    path: CStr
    flags: Flags
    attr: In[mount_attr]
    usize: Size


class statmount(Syscall):
    req: In[mnt_id_req]
    buf: Buffer  # struct statmount and its strings
    bufsize: Size
    flags: Flags


class listmount(Syscall):
    req: In[mnt_id_req]
    mnt_ids: Ptr  # u64[nr_mnt_ids]
    nr_mnt_ids: Size
    flags: Flags


class listns(Syscall):
    req: Ptr  # struct ns_id_req
    ns_ids: Ptr  # u64[nr_ns_ids]
    nr_ns_ids: Size
    flags: Flags
