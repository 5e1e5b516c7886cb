"""What the kernel and a tree agree on before the first call. Pure.

Source: fs/fuse/inode.c:process_init_reply(), include/uapi/linux/fuse.h (FUSE_INIT).
"""

from __future__ import annotations

from typing import Final

from ..abi import fuse as abi
from ..filetree import FileTree

PAGE: Final = 4096
# How much reading ahead and writing back may be under way before the kernel waits.
MAX_BACKGROUND: Final = 64
CONGESTION: Final = 48

_ALWAYS: Final = (
    abi.FUSE_ASYNC_READ
    | abi.FUSE_BIG_WRITES
    | abi.FUSE_AUTO_INVAL_DATA
    | abi.FUSE_DO_READDIRPLUS
    | abi.FUSE_READDIRPLUS_AUTO
    | abi.FUSE_ASYNC_DIO
    | abi.FUSE_PARALLEL_DIROPS
    | abi.FUSE_MAX_PAGES
    | abi.FUSE_HAS_IOCTL_DIR
    | abi.FUSE_NO_OPEN_SUPPORT
    | abi.FUSE_NO_OPENDIR_SUPPORT
    | abi.FUSE_INIT_EXT
    | abi.FUSE_DIRECT_IO_ALLOW_MMAP
)


def offers(tree: FileTree, method: str) -> bool:
    """Does this tree override a method?"""
    return getattr(type(tree), method) is not getattr(FileTree, method)


def wanted(tree: FileTree) -> int:
    """The FUSE_* flags that a tree wants of a kernel that has them all."""
    wish = {
        abi.FUSE_POSIX_LOCKS: offers(tree, "setlk"),
        abi.FUSE_FLOCK_LOCKS: offers(tree, "flock"),
        abi.FUSE_WRITEBACK_CACHE: tree.writeback,
        abi.FUSE_PASSTHROUGH: tree.passthrough and not tree.writeback,
        abi.FUSE_HANDLE_KILLPRIV_V2: tree.killpriv,
        abi.FUSE_DONT_MASK: tree.applies_umask,
        abi.FUSE_POSIX_ACL: tree.posix_acl,
        abi.FUSE_CACHE_SYMLINKS: tree.cache_symlinks,
    }
    return _ALWAYS | sum(flag for flag, yes in wish.items() if yes)


def max_write(tree: FileTree) -> int:
    """The tree's limit, in whole pages: 1 to 65535."""
    return min(max(tree.max_write // PAGE, 1), 0xFFFF) * PAGE


def init_out(tree: FileTree, args: tuple[int, ...]) -> tuple[bytes, int]:
    """The answer to FUSE_INIT, and the flags that are in force from now on.

    Args:
        args: the fields of fuse_init_in.

    Returns:
        Flags 0: the kernel is to say again what it can, in version 7.

    Raises:
        ValueError: the kernel's protocol is older than 7.
    """
    major, minor, readahead, low, high = args
    out = abi.fuse_init_out
    if major < abi.FUSE_KERNEL_VERSION:
        raise ValueError(f"the kernel speaks FUSE {major}.{minor}")
    if major > abi.FUSE_KERNEL_VERSION:
        return out.codec().pack(abi.FUSE_KERNEL_VERSION, abi.FUSE_MINOR, *[0] * 10), 0
    can = low | (high << 32 if low & abi.FUSE_INIT_EXT else 0)
    flags = wanted(tree) & can
    size = max_write(tree)
    answer = out(
        major=abi.FUSE_KERNEL_VERSION,
        minor=min(minor, abi.FUSE_MINOR),
        max_readahead=readahead,
        flags=flags & 0xFFFF_FFFF,
        max_background=MAX_BACKGROUND,
        congestion_threshold=CONGESTION,
        max_write=size,
        time_gran=1,
        max_pages=size // PAGE,
        map_alignment=0,
        flags2=flags >> 32,
        # Of overlayfs at most one may lie on it then: FILESYSTEM_MAX_STACK_DEPTH is 2.
        max_stack_depth=bool(flags & abi.FUSE_PASSTHROUGH),
    )
    return answer.pack(), flags
