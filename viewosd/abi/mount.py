"""Mounting. Source: include/uapi/linux/mount.h, include/linux/fs.h; mount(2), move_mount(2),
mount_setattr(2), statmount(2)."""

from __future__ import annotations

from typing import Annotated, Final

from .layout import Struct, u32, u64

# fmt: off
# mount(2)
MS_RDONLY:      Final = 1 << 0
MS_NOSUID:      Final = 1 << 1
MS_NODEV:       Final = 1 << 2
MS_NOEXEC:      Final = 1 << 3
MS_SYNCHRONOUS: Final = 1 << 4
MS_REMOUNT:     Final = 1 << 5
MS_MANDLOCK:    Final = 1 << 6
MS_DIRSYNC:     Final = 1 << 7
MS_NOSYMFOLLOW: Final = 1 << 8  # 5.10
MS_NOATIME:     Final = 1 << 10
MS_NODIRATIME:  Final = 1 << 11
MS_BIND:        Final = 1 << 12
MS_MOVE:        Final = 1 << 13
MS_REC:         Final = 1 << 14
MS_SILENT:      Final = 1 << 15
MS_POSIXACL:    Final = 1 << 16
MS_UNBINDABLE:  Final = 1 << 17
MS_PRIVATE:     Final = 1 << 18
MS_SLAVE:       Final = 1 << 19
MS_SHARED:      Final = 1 << 20
MS_RELATIME:    Final = 1 << 21
MS_KERNMOUNT:   Final = 1 << 22
MS_I_VERSION:   Final = 1 << 23
MS_STRICTATIME: Final = 1 << 24
MS_LAZYTIME:    Final = 1 << 25
MS_RMT_MASK:    Final = MS_RDONLY | MS_SYNCHRONOUS | MS_MANDLOCK | MS_I_VERSION | MS_LAZYTIME
MS_MGC_VAL:     Final = 0xC0ED_0000  # of old programs: the high half is then ignored
MS_MGC_MSK:     Final = 0xFFFF_0000

# umount2(2)
MNT_FORCE:       Final = 1 << 0
MNT_DETACH:      Final = 1 << 1
MNT_EXPIRE:      Final = 1 << 2
UMOUNT_NOFOLLOW: Final = 1 << 3

# open_tree(2), move_mount(2), fsopen(2), fsmount(2), fspick(2)
OPEN_TREE_CLONE:   Final = 1
OPEN_TREE_CLOEXEC: Final = 0o0200_0000  # O_CLOEXEC

MOVE_MOUNT_F_SYMLINKS:   Final = 0x001
MOVE_MOUNT_F_AUTOMOUNTS: Final = 0x002
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x004
MOVE_MOUNT_T_SYMLINKS:   Final = 0x010
MOVE_MOUNT_T_AUTOMOUNTS: Final = 0x020
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x040
MOVE_MOUNT_SET_GROUP:    Final = 0x100
MOVE_MOUNT_BENEATH:      Final = 0x200  # 6.5

FSOPEN_CLOEXEC:          Final = 1
FSPICK_CLOEXEC:          Final = 1
FSPICK_SYMLINK_NOFOLLOW: Final = 2
FSPICK_NO_AUTOMOUNT:     Final = 4
FSPICK_EMPTY_PATH:       Final = 8
FSMOUNT_CLOEXEC:         Final = 1

FSCONFIG_SET_FLAG:        Final = 0
FSCONFIG_SET_STRING:      Final = 1
FSCONFIG_SET_BINARY:      Final = 2
FSCONFIG_SET_PATH:        Final = 3
FSCONFIG_SET_PATH_EMPTY:  Final = 4
FSCONFIG_SET_FD:          Final = 5
FSCONFIG_CMD_CREATE:      Final = 6
FSCONFIG_CMD_RECONFIGURE: Final = 7
FSCONFIG_CMD_CREATE_EXCL: Final = 8  # 6.6

# fsmount(2), mount_setattr(2)
MOUNT_ATTR_RDONLY:      Final = 0x0000_0001
MOUNT_ATTR_NOSUID:      Final = 0x0000_0002
MOUNT_ATTR_NODEV:       Final = 0x0000_0004
MOUNT_ATTR_NOEXEC:      Final = 0x0000_0008
MOUNT_ATTR__ATIME:      Final = 0x0000_0070
MOUNT_ATTR_RELATIME:    Final = 0x0000_0000
MOUNT_ATTR_NOATIME:     Final = 0x0000_0010
MOUNT_ATTR_STRICTATIME: Final = 0x0000_0020
MOUNT_ATTR_NODIRATIME:  Final = 0x0000_0080
MOUNT_ATTR_IDMAP:       Final = 0x0010_0000
MOUNT_ATTR_NOSYMFOLLOW: Final = 0x0020_0000

# statmount(2), what is asked for; 6.8 and later
STATMOUNT_SB_BASIC:       Final = 0x0001
STATMOUNT_MNT_BASIC:      Final = 0x0002
STATMOUNT_PROPAGATE_FROM: Final = 0x0004
STATMOUNT_MNT_ROOT:       Final = 0x0008
STATMOUNT_MNT_POINT:      Final = 0x0010
STATMOUNT_FS_TYPE:        Final = 0x0020
STATMOUNT_MNT_NS_ID:      Final = 0x0040
STATMOUNT_MNT_OPTS:       Final = 0x0080
STATMOUNT_FS_SUBTYPE:     Final = 0x0100
STATMOUNT_SB_SOURCE:      Final = 0x0200
STATMOUNT_OPT_ARRAY:      Final = 0x0400
STATMOUNT_OPT_SEC_ARRAY:  Final = 0x0800
STATMOUNT_SUPPORTED_MASK: Final = 0x1000

LSMT_ROOT: Final = 0xFFFF_FFFF_FFFF_FFFF  # listmount(2): the whole namespace
# fmt: on


class mount_attr(Struct, size=32):
    """mount_setattr(2), open_tree_attr(2). It may grow; the call says its size."""

    attr_set: u64
    attr_clr: u64
    propagation: u64
    userns_fd: u64


class mnt_id_req(Struct, size=32):
    """statmount(2), listmount(2). It may grow; it says its size (24 before 6.11)."""

    size: u32
    mnt_ns_fd: u32  # 6.18; spare before, 0
    mnt_id: u64
    param: u64
    mnt_ns_id: u64


class statmount(Struct, size=512):
    """statmount(2). Strings follow; a string field is an offset into them, in bytes."""

    size: u32  # with the strings
    mnt_opts: u32
    mask: u64  # what was filled
    sb_dev_major: u32
    sb_dev_minor: u32
    sb_magic: u64
    sb_flags: u32
    fs_type: u32
    mnt_id: u64
    mnt_parent_id: u64
    mnt_id_old: u32
    mnt_parent_id_old: u32
    mnt_attr: u64
    mnt_propagation: u64
    mnt_peer_group: u64
    mnt_master: u64
    propagate_from: u64
    mnt_root: u32
    mnt_point: u32
    mnt_ns_id: u64
    fs_subtype: u32
    sb_source: u32
    opt_num: u32
    opt_array: u32
    opt_sec_num: u32
    opt_sec_array: u32
    supported_mask: u64
    mnt_uidmap_num: u32
    mnt_uidmap: u32
    mnt_gidmap_num: u32
    mnt_gidmap: Annotated[int, "I344x"]


class file_handle(Struct, size=8):
    """name_to_handle_at(2): the header; ``handle_bytes`` bytes follow.

    Source: include/linux/fs.h; MAX_HANDLE_SZ is 128.
    """

    handle_bytes: u32
    handle_type: Annotated[int, "i"]
