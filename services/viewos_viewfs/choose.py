"""Which engine overlays a tree: the kernel's overlayfs, or our own tree server.

Pure; docs/viewfs.md shows it as a table, and tests hold the table against this. The kernel's is as
fast as the file system below it, so it is taken wherever it can do what was asked for:

* it has one read-only tree below one that takes the changes: no merge, no mincow;
* it shows owners and modes as they are: no vstat;
* a file that is changed is copied up with its owner, so the owner must be one that the view's user
  namespace knows: an ordinary user's view knows the user alone (EOVERFLOW; user_namespaces(7));
* it does what the user may do: what belongs to others stays read-only, where View-OS's cow lets it
  be changed in the layer;
* changes must lie on a file system that has xattrs, whiteouts and is no overlay itself.

Source: Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import enum
import errno
from dataclasses import dataclass
from typing import Final

NO_UPPER: Final = frozenset(
    """overlay aufs ecryptfs vfat msdos exfat ntfs3 nfs nfs4 cifs smb3 9p ceph afs coda""".split()  # noqa: SIM905
)
"""File systems that overlayfs does not take for changes: no RENAME_WHITEOUT, no xattrs of its own,
or names that are revalidated. fuse is tried: some servers can.
Source: fs/overlayfs/super.c:ovl_make_workdir(), ovl_mount_dir_noesc()."""


class Engine(enum.Enum):
    """What overlays."""

    KERNEL = "overlay"
    TREE = "tree"


@dataclass(frozen=True)
class Facts:
    """What the decision depends on.

    Attributes:
        mode, vstat: as asked for.
        owner_mapped: root's view, or the target belongs to the view's owner and their group.
        overlay: the kernel has overlayfs, and lets this view mount it (ordinary users since 5.11).
        layer_fs: type of the file system that takes the changes.
        xattrs: that file system has the extended attributes that overlays are made of.
        lowers: how many trees lie below.
        appends: the kernel takes trees below one by one, by descriptor (``lowerdir+``, Linux 6.8).
    """

    mode: str = "cow"
    vstat: bool = False
    owner_mapped: bool = True
    overlay: bool = True
    layer_fs: str = "ext4"
    xattrs: bool = True
    lowers: int = 1
    appends: bool = True


def choose(facts: Facts) -> Engine:
    """The engine for these facts.

    Raises:
        OSError: ENOTSUP, none can do it; the text says why.
    """
    if not facts.xattrs and (facts.mode != "merge" or facts.vstat):
        raise OSError(
            errno.ENOTSUP,
            f"viewfs: the layer is on {facts.layer_fs}, which has no extended attributes; "
            "put it on another file system",
        )
    return Engine.TREE if why_not_kernel(facts) else Engine.KERNEL


def why_not_kernel(facts: Facts) -> str:
    """What overlayfs can't do of it, in words; "" if it can."""
    reasons = (
        (facts.mode != "cow", f"overlayfs has no {facts.mode}"),
        (facts.vstat, "overlayfs has no virtual owners and modes"),
        (not facts.owner_mapped, "it belongs to somebody whom this view's user namespace lacks"),
        (not facts.overlay, "the kernel has no overlayfs for this view"),
        (facts.layer_fs in NO_UPPER, f"overlayfs does not write to {facts.layer_fs}"),
        (facts.lowers > 1 and not facts.appends, "stacked layers need Linux 6.8"),
    )
    return next((why for holds, why in reasons if holds), "")
