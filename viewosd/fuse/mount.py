"""What fsconfig(2) is told of a FUSE file system. Pure.

Source: fs/fuse/inode.c:fuse_fs_parameters; mount.fuse(8), fuse(4).
"""

from __future__ import annotations

from collections.abc import Sequence

Option = tuple[str, str | bytes | int | None]

FSTYPE = "fuse"


def options(
    device: int,
    *,
    root_mode: int = 0o040755,
    uid: int = 0,
    gid: int = 0,
    subtype: str = "viewosd",
    source: str | bytes = b"none",
    more: Sequence[tuple[str, str | None]] = (),
) -> list[Option]:
    """The options of a file system whose server reads from ``device``, in the order to set them.

    Permissions are checked by the kernel, and everybody who can reach the mount may use it.

    Args:
        device: an open /dev/fuse; it must have been opened in the user namespace of the mount.
        root_mode: the root's type and mode.
        uid, gid: whose server it is, as the mount's user namespace numbers them.
        subtype: /proc/mounts shows ``fuse.SUBTYPE``.
        more: further ones, as ``("max_read", "131072")`` or ``("blksize", …)``.

    Returns:
        Names and values as in `viewosd.space.Space.create`, but ``fd``, which is the number as
        text: kernels that know ``fd`` as a number refuse FSCONFIG_SET_FD.
    """
    return [
        ("source", source),
        ("subtype", subtype),
        ("fd", str(device)),
        ("rootmode", f"{root_mode:o}"),
        ("user_id", str(uid)),
        ("group_id", str(gid)),
        ("default_permissions", None),
        ("allow_other", None),
        *more,
    ]
