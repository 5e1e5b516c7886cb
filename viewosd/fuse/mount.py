"""What fsconfig(2) is told of a FUSE file system that serves a tree. Pure.

Source: fs/fuse/inode.c:fuse_fs_parameters; mount.fuse(8), fuse(4).
"""

from __future__ import annotations

from collections.abc import Sequence

Option = tuple[str, str | bytes | None]
"""Name and value; a flag has none."""


def options(
    *,
    root_mode: int = 0o040755,
    uid: int = 0,
    gid: int = 0,
    subtype: str = "viewosd",
    source: str | bytes = b"none",
    everybody: bool = True,
    checked: bool = True,
    more: Sequence[tuple[str, str | None]] = (),
) -> list[Option]:
    """The options of a file system, in the order to set them; ``fd``, its device, comes besides.

    Args:
        root_mode: the root's type and mode.
        uid, gid: whose server it is, as the mount's user namespace numbers them.
        subtype: /proc/mounts shows ``fuse.SUBTYPE``.
        everybody: who is not that user may use it too.
        checked: the kernel checks permissions, by the modes that the tree tells.
        more: further ones, as ``("max_read", "131072")`` or ``("blksize", …)``.
    """
    return [
        ("source", source),
        ("subtype", subtype),
        ("rootmode", f"{root_mode:o}"),
        ("user_id", str(uid)),
        ("group_id", str(gid)),
        *([("default_permissions", None)] if checked else []),
        *([("allow_other", None)] if everybody else []),
        *more,
    ]


def device(fd: int) -> Option:
    """The option for an open /dev/fuse, which must have been opened in the mount's user namespace.

    As text: kernels that know ``fd`` as a number refuse FSCONFIG_SET_FD.
    """
    return "fd", str(fd)
