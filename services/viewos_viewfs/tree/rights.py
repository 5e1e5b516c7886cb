"""Whom files belong to: what is kept for real, what is virtual, and what programs are shown.

Root keeps owners and modes as they are. An ordinary user can't, and the kernel lets nobody write to
a file whose owner has no number in the mount's user namespace (fs/namei.c:inode_permission(),
HAS_UNMAPPED_ID). So, without ``vstat``, what belongs to others is shown as the user's own, and the
user's bits in its mode say what he may do: read and execute what he may outside, write besides what
he may copy, which takes no right if it is empty. Once copied up it is the user's own, with those
bits; the true owner is kept beside.

With ``vstat`` the true, or virtual, attributes are shown, ids that have no number in the namespace
as the user's; then the kernel must not check (`kernel_checks`), and our own calls do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Final

from .virtual import NOTHING, Virtual

_PERM: Final = 0o7777
Ranges = Sequence[Sequence[int]]
"""Ids that have a number in the mount's user namespace: pairs of first and count."""


def kernel_checks(owner_uid: int, vstat: bool) -> bool:
    """Whether the mount option ``default_permissions`` is right for a tree."""
    return owner_uid == 0 or not vstat


class Rights:
    """Of whoever the tree is served for, and as whom it is served."""

    def __init__(
        self,
        uid: int,
        gid: int,
        *,
        vstat: bool,
        copies: bool,
        uids: Ranges | None,
        gids: Ranges | None,
    ) -> None:
        self.uid, self.gid, self.vstat, self._copies = uid, gid, vstat, copies
        self.root = uid == 0
        self._groups = {gid, *os.getgroups()}
        self._uids, self._gids = uids, gids

    def shown(
        self, st: os.stat_result, virtual: Virtual, *, upper: bool
    ) -> tuple[int, int, int, int]:
        """Mode with type, uid, gid and rdev that programs see."""
        mode, uid, gid = st.st_mode, st.st_uid, st.st_gid
        if self.vstat:
            mode, uid, gid, rdev = self.true(st, virtual)
            return (
                mode,
                _mapped(uid, self._uids, self.uid),
                _mapped(gid, self._gids, self.gid),
                rdev,
            )
        if self.root:
            return mode, uid, gid, st.st_rdev
        if upper:
            if virtual.uid is None and virtual.mode is not None:
                mode = stat.S_IFMT(mode) | virtual.mode & _PERM
        elif uid != self.uid:
            mode = self.effective(mode, gid, empty=st.st_size == 0)
        return mode, self.uid, _mapped(gid, self._gids, self.gid), st.st_rdev

    def true(self, st: os.stat_result, virtual: Virtual) -> tuple[int, int, int, int]:
        """Mode with type, uid, gid and rdev as they are meant."""
        mode = st.st_mode
        if virtual.mode is not None:
            mode = (virtual.type or stat.S_IFMT(mode)) | virtual.mode & _PERM
        uid = st.st_uid if virtual.uid is None else virtual.uid
        gid = st.st_gid if virtual.gid is None else virtual.gid
        rdev = st.st_rdev if virtual.rdev is None else virtual.rdev
        return mode, uid, gid, rdev

    def effective(self, mode: int, gid: int, *, empty: bool = False) -> int:
        """The mode of somebody else's file, with what the user may do where his own bits are.

        Args:
            empty: nothing has to be read to copy it, so it may be written. Lock files are such.
        """
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFLNK:
            return mode
        may = (mode >> 3 if gid in self._groups else mode) & 0o7
        if self._copies and kind == stat.S_IFREG and (may & 0o4 or empty):
            may |= 0o6 if empty else 0o2
        if self._copies and kind == stat.S_IFDIR and may & 0o1:
            may |= 0o2
        return mode & ~0o700 | may << 6

    def split(
        self, mode: int, uid: int, gid: int, rdev: int, *, empty: bool = False
    ) -> tuple[int, int, int, Virtual]:
        """How something with these attributes is stored in the upper layer.

        Args:
            empty: see `effective`.

        Returns:
            Mode with type, uid and gid to give it for real (-1: leave), and what is virtual. The
            type may be a regular file's in place of another.
        """
        if self.root and not self.vstat:
            return mode, uid, gid, NOTHING
        kind, perm = stat.S_IFMT(mode), stat.S_IMODE(mode)
        if self.vstat:
            return self._split_virtually(kind, perm, uid, gid, rdev)
        foreign = uid != self.uid
        real = stat.S_IMODE(self.effective(mode, gid, empty=empty)) if foreign else perm
        if kind == stat.S_IFDIR:
            real |= 0o700  # for us, who have to work in it
        group = gid if gid in self._groups else -1
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            return kind | real, -1, group, NOTHING
        virtual = Virtual(
            perm if real != perm else None,
            uid if foreign else None,
            gid if group == -1 else None,
        )
        return kind | real, -1, group, virtual

    def _split_virtually(
        self, kind: int, perm: int, uid: int, gid: int, rdev: int
    ) -> tuple[int, int, int, Virtual]:
        owners = Virtual(uid=None if uid == self.uid else uid, gid=None if gid == self.gid else gid)
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            real = perm & 0o777 | (0o700 if kind == stat.S_IFDIR else 0o600)
            return kind | real, -1, -1, owners._replace(mode=perm if real != perm else None)
        device = kind in (stat.S_IFCHR, stat.S_IFBLK)
        if owners == NOTHING and not device and (kind == stat.S_IFLNK or perm <= 0o777):
            return kind | perm, -1, -1, NOTHING
        virtual = owners._replace(mode=kind | perm, rdev=rdev if device else None)
        return stat.S_IFREG | 0o600, -1, -1, virtual


def _mapped(id: int, ranges: Ranges | None, otherwise: int) -> int:
    if ranges is None or any(first <= id < first + count for first, count in ranges):
        return id
    return otherwise
