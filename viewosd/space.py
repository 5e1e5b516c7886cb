"""The file tree of a view, as a service that offers mount types may change it.

A view with a file service loaded has a mount namespace of its own. What is mounted there is seen by
the programs of the view and by nobody else. A service names the types that it offers in
`Service.mounts` and makes a tree of mounts for each request in `Service.mount`; the runtime checks
who asks, attaches the tree, remembers it and takes it away.

Descriptors of mounts are O_PATH. Those that a method returns are the caller's to close; those that
it takes stay the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

DIRECTORY = 0o040755
"""The type and mode bits of a served tree's root unless said otherwise: S_IFDIR and 0755."""


class Space(Protocol):
    """A view's mount namespace. Everything here is done with the rights of the view's owner.

    Raises (any method):
        OSError: the kernel's errno; its text is the kernel's own explanation where there is one.
    """

    async def create(
        self,
        fstype: str,
        options: Sequence[tuple[str, str | bytes | int | None]] = (),
        attributes: int = 0,
    ) -> int:
        """A new file system, attached nowhere: fsopen(2), fsconfig(2), fsmount(2).

        Args:
            options: in order; str or bytes: FSCONFIG_SET_STRING, int: a descriptor of ours
                (FSCONFIG_SET_FD), None: FSCONFIG_SET_FLAG.
            attributes: MOUNT_ATTR_*. An ordinary user's mounts are nosuid and nodev whatever it
                says.
        """

    async def clone(self, tree: int, *, recursive: bool = True) -> int:
        """A copy of the mounts at a descriptor, attached nowhere: open_tree(2), OPEN_TREE_CLONE."""

    async def change(
        self,
        tree: int,
        *,
        set: int = 0,
        clear: int = 0,
        propagation: int = 0,
        recursive: bool = True,
    ) -> None:
        """Change MOUNT_ATTR_* and propagation of mounts: mount_setattr(2)."""

    async def attach(self, tree: int, target: int, below: Sequence[tuple[bytes, int]] = ()) -> None:
        """Attach a tree at a descriptor of the mountpoint, a directory or a file: move_mount(2).

        At the root of the view it becomes the root, for all who had that as theirs: pivot_root(2).

        Args:
            below: further trees and where they are to be attached in ``tree``, in order; paths
                without a slash in front, no symbolic link is followed. What has no place there any
                more, or one that the view's owner may not reach, is left out.
        """

    async def umount(self, path: bytes, flags: int = 0) -> None:
        """Take away what was mounted last at a path of the view: umount2(2).

        Nobody may hold a descriptor in it (EBUSY), unless with MNT_DETACH.
        """

    async def serve(
        self,
        tree: str,
        arguments: Mapping[str, object],
        descriptors: Sequence[int] = (),
        *,
        type: str,
        source: bytes = b"none",
        root_mode: int = DIRECTORY,
        apart: bool = False,
        unchecked: bool = False,
        options: Sequence[tuple[str, str | None]] = (),
    ) -> int:
        """A FUSE file system, attached nowhere, served by a process of its own outside the view.

        Args:
            tree: "module:Class" of a `viewosd.filetree.FileTree`; it is made in the serving process
                as ``Class(descriptors, **arguments)`` and ends with its last mount.
            arguments: numbers, str, bytes, lists and dicts of these.
            descriptors: go along; numbered anew there.
            type, source: what /proc/mounts shows: ``fuse.TYPE`` and the source.
            root_mode: the root's type and mode; a regular file can be a root.
            apart: in a process of its own. For trees that work on other mounts of the view: one
                that waits for itself would wait for ever.
            unchecked: the tree checks permissions itself, or everybody may everything; else the
                kernel does, by the modes and owners that the tree tells (default_permissions).
            options: further ones of fuse: mount.fuse(8).
        """

    async def host(
        self,
        argv: Sequence[str | bytes],
        target: bytes,
        source: bytes | None = None,
        *,
        lock: int = 0,
        marks: Sequence[tuple[int, bytes]] = (),
        what: str,
    ) -> tuple[int, Mapping[str, int]]:
        """A FUSE file system, attached nowhere, served by a program of somebody else's in the view.

        The program runs with the owner's rights and environment, sees what is mounted now, and is
        no process of the view. It mounts at ``target``, which nobody else sees.

        Args:
            argv: of the program, which is to stay in the foreground; looked for in PATH.
            target: the mountpoint, an absolute path of the view.
            source: an absolute path that it reads, if it does.
            lock: ``source`` is an image: fcntl.LOCK_EX, it will be written (EBUSY if it is mounted
                already); LOCK_SH, it will be read. It is unlocked when the program has ended.
            marks: (offset, bytes): the image has one of them, else EINVAL. For programs that serve
                whatever they are given.
            what: what lines of the log begin with; what the program says goes there.

        Returns:
            The tree, and where the program is found, for `ended`.

        Raises:
            OSError: it has not mounted, the text has what it said last: ENOPKG, there is no such
                program; EINVAL, it has ended; ETIMEDOUT, it has been ended.
        """

    async def ended(self, where: Mapping[str, int]) -> bool:
        """Wait until a hosted program, of which nothing is mounted now, has written back and ended.

        Returns:
            False: its file system is in use elsewhere, or a minute was not enough.
        """

    def open(self, path: bytes, flags: int) -> int:
        """Open an absolute path of the view as its owner: O_PATH, O_DIRECTORY, O_NOFOLLOW …"""

    async def aside(self, function: Callable[..., T], *args: Any) -> T:
        """Call what follows paths, or asks for a file's attributes or content.

        A program of the view may serve these files and be waiting for us. While any does, it is
        called in a thread: nobody else's calls wait. ``function`` may use `open`, and no tracee.

        Raises:
            What ``function`` does.
        """

    def mountinfo(self) -> bytes:
        """The mounts of the view as /proc/pid/mountinfo shows them: proc(5)."""


class MountRequest:
    """One mount that somebody asked for.

    Attributes:
        type: one of the service's `Service.mounts`.
        source: as it was written; what it means is the service's to say.
        target: the mountpoint, an absolute path of the view, symbolic links resolved.
        target_fd: a descriptor (O_PATH) of it, as it is before the mount.
        flags: MS_* of mount(2) that are no options of the mountpoint alone (those are set by the
            runtime on what `Service.mount` returns).
        options: the rest, split at commas: (name, value), a bare one has the value "".
        space: where it is to be.
        created: nothing was there: the mountpoint was made for this mount, and goes with it.
        attached: it is mounted now. What is not, a successor must not be told of.
        keep: what the service wants to find again in `Mounted.keep`: numbers, str, lists, dicts.
    """

    def __init__(
        self,
        type: str,
        source: bytes,
        target: bytes,
        target_fd: int,
        flags: int,
        options: Sequence[tuple[str, str]],
        space: Space,
        open: Callable[[bytes, int], int],
        created: bool = False,
    ) -> None:
        self.type, self.source, self.target, self.target_fd = type, source, target, target_fd
        self.flags, self.options, self.space = flags, list(options), space
        self._open, self.created, self.attached = open, created, False
        self.keep: Any = None

    def open(self, path: bytes, flags: int) -> int:
        """Open a path as whoever asks for the mount would: its root, its directory.

        Returns:
            A descriptor of ours, close-on-exec, in the view's namespace.

        Raises:
            OSError: as open(2) for it.
        """
        return self._open(path, flags)


class Mounted:
    """A mount that a service has made, while it lasts.

    Attributes:
        id: counted up in the view; a service may remember things by it.
        type, source, target, flags, options: as in `MountRequest`.
        permanent: it can't be taken away (EBUSY).
        keep: as the service has set it in the request; a branch and a successor have it too.
    """

    def __init__(self, id: int, request: MountRequest, permanent: bool) -> None:
        self.id, self.permanent = id, permanent
        self.type, self.source, self.target = request.type, request.source, request.target
        self.flags, self.options = request.flags, request.options
        self.keep = request.keep
