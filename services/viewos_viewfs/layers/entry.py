"""What stands at a name: in the target, or in a layer, where it may mean something else.

A layer is in the format of the kernel's overlayfs (Documentation/filesystems/overlayfs.rst) with
one addition of ours, for what a user may not do for real: the xattr ``user.viewos.stat``, a text of
``mode=0NNNN uid=N gid=N rdev=MAJOR:MINOR`` that says what a program of the view sees. Where the
type in its mode is another, a regular file stands for it; it holds a symbolic link's text.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

VIRTUAL: Final = "user.viewos.stat"
PREFIXES: Final = ("trusted.overlay.", "user.overlay.")
"""Of root's layers, and of an ordinary user's (mount option userxattr)."""
# Labels that the system puts on what it likes; they are not the view's.
_NOT_OURS: Final = ("security.selinux", "security.ima", "security.evm")
_CHUNK: Final = 1 << 20

_NAMES: Final = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One name, as the view or the target shows it.

    Attributes:
        st: what lies there for the kernel.
        mode: type and permissions; with uid, gid and rdev the virtual ones where there are any.
        whiteout: the name is deleted.
        opaque: a directory that hides everything of the same name below the layer.
        copied: it was copied from below, and so was there: a directory that is renamed is not, and
            a file may lie under another name since.
    """

    st: os.stat_result
    mode: int
    uid: int
    gid: int
    rdev: int
    whiteout: bool = False
    opaque: bool = False
    copied: bool = False

    @property
    def type(self) -> int:
        """S_IFREG, S_IFDIR …"""
        return stat.S_IFMT(self.mode)

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def word(self) -> str:
        """file, directory, symlink, fifo, socket, device."""
        return _NAMES.get(self.type, "file")

    @property
    def inode(self) -> tuple[int, int]:
        return self.st.st_dev, self.st.st_ino


def look(directory: int, name: str) -> Entry | None:
    """What stands at a name of the target; None: nothing."""
    try:
        st = os.stat(name or ".", dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Entry(st, st.st_mode, st.st_uid, st.st_gid, st.st_rdev)


def look_in_layer(directory: int, name: str) -> Entry | None:
    """What a name of a layer means; None: the layer says nothing about it."""
    plain = look(directory, name)
    if plain is None:
        return None
    if stat.S_ISCHR(plain.mode) and plain.rdev == 0:
        return Entry(plain.st, plain.mode, plain.uid, plain.gid, 0, whiteout=True)
    if not stat.S_ISREG(plain.mode) and not plain.is_dir:
        return plain
    path = proc_path(directory, name)
    names = _names(path)
    if not names:
        return plain
    virtual = _virtual(os.getxattr(path, VIRTUAL)) if VIRTUAL in names else {}
    mode = virtual.get("mode", plain.mode)
    return Entry(
        plain.st,
        mode if stat.S_IFMT(mode) else stat.S_IFMT(plain.mode) | mode,
        virtual.get("uid", plain.uid),
        virtual.get("gid", plain.gid),
        virtual.get("rdev", plain.rdev),
        whiteout=plain.st.st_size == 0 and any(f"{p}whiteout" in names for p in PREFIXES),
        opaque=any(
            f"{p}opaque" in names and os.getxattr(path, f"{p}opaque") == b"y" for p in PREFIXES
        ),
        copied=any(f"{p}origin" in names for p in PREFIXES),
    )


def _virtual(text: bytes) -> dict[str, int]:
    found = {}
    for word in text.decode("ascii", "replace").split():
        name, _, value = word.partition("=")
        try:
            if name == "mode":
                found[name] = int(value, 8)
            elif name == "rdev":
                major, _, minor = value.partition(":")
                found[name] = os.makedev(int(major), int(minor))
            elif name in ("uid", "gid"):
                found[name] = int(value)
        except ValueError:
            raise OSError(f"{VIRTUAL}: {word!r} is not understood") from None
    return found


def proc_path(directory: int, name: str) -> str:
    """A path for the calls that know no ``dirfd``: only its last name can be a symbolic link."""
    return f"/proc/self/fd/{directory}/{name or '.'}"


def _names(path: str, *, follow: bool = False) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=follow)
    except OSError:  # ENOTSUP; EACCES on a file that can't be looked at
        return []


def xattrs(directory: int, name: str) -> dict[str, bytes]:
    """Extended attributes, access control lists among them; those of overlays are left out."""
    return xattrs_at(proc_path(directory, name), follow=False)


def xattrs_at(path: str, *, follow: bool = True) -> dict[str, bytes]:
    """The same by a path."""
    return {
        each: os.getxattr(path, each, follow_symlinks=follow)
        for each in _names(path, follow=follow)
        if not each.startswith(PREFIXES) and each != VIRTUAL and each not in _NOT_OURS
    }


def link_text(directory: int, name: str, entry: Entry) -> str:
    """Where a symbolic link points."""
    if stat.S_ISLNK(entry.st.st_mode):
        return os.readlink(name, dir_fd=directory)
    with opened(directory, name) as fd:
        return os.fsdecode(os.read(fd, os.pathconf("/", "PC_PATH_MAX")))


@contextmanager
def opened(directory: int, name: str) -> Iterator[int]:
    """A regular file, to be read."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)


def same_content(a: tuple[int, str, Entry], b: tuple[int, str, Entry]) -> bool:
    """Do two names of one type hold the same? Each: directory, name, entry."""
    one, other = a[2], b[2]
    if one.type in (stat.S_IFCHR, stat.S_IFBLK):
        return one.rdev == other.rdev
    if one.type == stat.S_IFLNK:
        return link_text(*a) == link_text(*b)
    if one.type != stat.S_IFREG:
        return True
    if one.st.st_size != other.st.st_size:
        return False
    if not one.st.st_size:  # a lock file, which the user may perhaps not read
        return True
    try:
        with opened(*a[:2]) as x, opened(*b[:2]) as y:
            while chunk := os.read(x, _CHUNK):
                if chunk != os.read(y, _CHUNK):
                    return False
    except PermissionError:  # the owner of the view may not read it: the view has written it anew
        return False
    return True
