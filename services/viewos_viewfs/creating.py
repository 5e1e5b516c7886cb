"""Calls that make, move and remove a hidden name.

They look at the name in its directory, not at what is mounted over it, and would say EEXIST or
EBUSY of what is not there. So a name that is hidden can be made again, empty and the view's own,
where the program could make one; what is made must be a directory if the hidden file is one, and
none if it is none. Taken away again, it is as hidden as it was.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from viewosd import Bits, Errno, InjectFd, Return, Tracee, Verdict, hook
from viewosd.abi.files import open_how
from viewosd.syscalls import creat, openat, openat2
from viewosd.syscalls import open as open_call
from viewosd.syscalls.entries import Link, Mkdir, Mknod, Rename, Symlink, Unlink

from . import making, unsafe
from .hidden import Hidden, Names
from .hide import settle, uncover

if TYPE_CHECKING:
    from viewosd.space import Space

O_CREAT: Final = os.O_CREAT
_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
_HERE: Final = os.O_PATH | os.O_DIRECTORY
_KNOWN: Final = (
    0o37777703  # include/linux/fcntl.h: open(2) takes others too, and openat2(2) does not
)


class Creating:
    """The hooks. Part of `viewos_viewfs.ViewFs`, which has the attributes."""

    names: Names
    making: making.Making
    remember: Callable[[], None]

    look: Callable[[], None]

    def the_space(self) -> Space:
        """The view's mounts."""
        raise NotImplementedError

    @contextmanager
    def _named(
        self, tracee: Tracee, dirfd: int, pointer: int
    ) -> Iterator[tuple[Hidden | None, int]]:
        """The hidden file that a path names, and a descriptor of its directory; (None, -1) if it
        names none, which is nearly always.
        """
        hidden, parent = None, -1
        self.look()
        try:
            path = tracee.read_str(pointer).rstrip(b"/")
            head, slash, name = path.rpartition(b"/")
            if name in self.names.names:
                parent = tracee.open(dirfd, head + slash or b".", _HERE)
                if unsafe.inode(b"/proc/self/fd/%d" % parent) >= 0:  # no server is asked
                    hidden = self.names.at((unsafe.device(), unsafe.last_inode()), name)
        except OSError:
            pass  # the kernel will say what is wrong with it
        try:
            yield hidden, parent
        finally:
            if parent >= 0:
                os.close(parent)

    async def _refuse(self, hidden: Hidden, parent: int, tracee: Tracee) -> None:
        refuse = making.refuse_unless_creatable
        await self.the_space().aside(refuse, hidden, parent, tracee.credentials)

    async def _appear(
        self,
        tracee: Tracee,
        hidden: Hidden,
        parent: int,
        is_directory: bool,
        make: Callable[[bytes, int], None],
    ) -> None:
        """Make something in the place of a hidden file. Raises OSError."""
        await self._refuse(hidden, parent, tracee)
        if is_directory != hidden.is_directory:
            # Nothing but a directory can be mounted over one.
            raise OSError(errno.EISDIR if hidden.is_directory else errno.EEXIST, "hidden")
        self._begin(hidden, tracee)
        await self.making.make(self.the_space(), hidden, tracee, make)
        self._changed(hidden, made=True)

    async def _undone(self, hidden: Hidden, tracee: Tracee) -> bool:
        """Had this very call begun when a supervisor died? Then nothing of it has happened now."""
        if hidden.doing != tracee.cookie:
            return False
        await settle(self.the_space(), hidden)
        self._changed(hidden, made=False)
        return True

    def _begin(self, hidden: Hidden, tracee: Tracee) -> None:
        """From here on something of it is done. Raises Vanished."""
        tracee.check()
        hidden.doing = tracee.cookie
        self.remember()

    def _changed(self, hidden: Hidden, *, made: bool) -> None:
        hidden.made = made
        self.names.refresh()
        self.remember()

    @hook(Mkdir, deadline_s=None)
    async def make_directory(self, call: Mkdir, tracee: Tracee) -> Verdict | None:
        """mkdir(2)."""
        with self._named(tracee, call.dirfd, call.path) as (hidden, parent):
            if hidden is None or (hidden.made and not await self._undone(hidden, tracee)):
                return None
            mode = call.mode & 0o1777 & ~tracee.umask
            await self._appear(tracee, hidden, parent, True, partial(_mkdir, mode))
            return Return(0)

    @hook(Mknod, deadline_s=None)
    async def make_node(self, call: Mknod, tracee: Tracee) -> Verdict | None:
        """mknod(2)."""
        with self._named(tracee, call.dirfd, call.path) as (hidden, parent):
            if hidden is None or (hidden.made and not await self._undone(hidden, tracee)):
                return None
            mode = call.mode if stat.S_IFMT(call.mode) else call.mode | stat.S_IFREG
            if stat.S_IFMT(mode) in (stat.S_IFBLK, stat.S_IFCHR) and tracee.credentials.fsuid:
                return Errno(errno.EPERM)
            major = call.dev >> 8 & 0xFFF
            minor = call.dev & 0xFF | call.dev >> 12 & 0xFFF00
            make = partial(_mknod, mode & ~tracee.umask, os.makedev(major, minor))
            await self._appear(tracee, hidden, parent, False, make)
            return Return(0)

    @hook(Symlink, deadline_s=None)
    async def make_link(self, call: Symlink, tracee: Tracee) -> Verdict | None:
        """symlink(2)."""
        with self._named(tracee, call.dirfd, call.path) as (hidden, parent):
            if hidden is None or (hidden.made and not await self._undone(hidden, tracee)):
                return None
            make = partial(_symlink, tracee.read_str(call.target))
            await self._appear(tracee, hidden, parent, False, make)
            return Return(0)

    @hook(open_call, deadline_s=None, flags=Bits(O_CREAT))
    @hook(openat, deadline_s=None, flags=Bits(O_CREAT))
    async def create(self, call: open_call | openat, tracee: Tracee) -> Verdict | None:
        """open(2) with O_CREAT."""
        return await self._create(call.dirfd, call.path, call.flags, call.mode, 0, tracee)

    @hook(creat, deadline_s=None)
    async def create_only(self, call: creat, tracee: Tracee) -> Verdict | None:
        """creat(2)."""
        return await self._create(call.dirfd, call.path, call.flags, call.mode, 0, tracee)

    @hook(openat2, deadline_s=None)
    async def create_by_structure(self, call: openat2, tracee: Tracee) -> Verdict | None:
        """openat2(2): its flags lie in memory, so every one comes here."""
        if call.usize < open_how.sizeof:
            return None
        how = tracee.read_struct(call.how, open_how)
        if not how.flags & O_CREAT:
            return None
        return await self._create(call.dirfd, call.path, how.flags, how.mode, how.resolve, tracee)

    async def _create(
        self, dirfd: int, path: int, flags: int, mode: int, resolve: int, tracee: Tracee
    ) -> Verdict | None:
        if flags & (os.O_PATH | os.O_DIRECTORY):
            return None
        with self._named(tracee, dirfd, path) as (hidden, parent):
            if hidden is None or (hidden.made and not await self._undone(hidden, tracee)):
                return None
            text = tracee.read_str(path)
            if text.endswith(b"/"):
                return Errno(errno.EISDIR)
            await self._appear(tracee, hidden, parent, False, partial(_mknod, 0o100600, 0))
            # Not continued: with O_EXCL it would be there already, with mode 0444 not writable.
            flags &= ~(O_CREAT | os.O_EXCL)
            # By its name in the view: who opens what is new need not wait for the way there again.
            space = self.the_space()
            fd = await space.aside(space.open, hidden.target, flags & _KNOWN)
            os.fchmod(fd, mode & 0o7777 & ~tracee.umask)
            return InjectFd(fd, cloexec=bool(flags & os.O_CLOEXEC))

    @hook(Unlink, deadline_s=None)
    async def remove(self, call: Unlink, tracee: Tracee) -> Verdict | None:
        """unlink(2), rmdir(2)."""
        with self._named(tracee, call.dirfd, call.path) as (hidden, parent):
            if hidden is None:
                return None
            if await self._undone(hidden, tracee):
                return Return(0)
            if not hidden.made:
                return Errno(errno.ENOENT)
            await self._refuse(hidden, parent, tracee)
            space = self.the_space()
            await space.aside(making.refuse_removal, space, hidden, call.flags)
            self._begin(hidden, tracee)
            await uncover(self.the_space(), [place.path for place in hidden.places])
            self._changed(hidden, made=False)
            return Return(0)

    @hook(Link, deadline_s=None)
    async def link(self, call: Link, tracee: Tracee) -> Verdict | None:
        """link(2): the file is shown at the hidden name too."""
        with self._named(tracee, call.olddirfd, call.oldpath) as (old, _):
            if old is not None:
                return Errno(errno.EXDEV if old.made else errno.ENOENT)
        return await self._show_old(call, tracee, follow=bool(call.flags & 0x400))

    @hook(Rename, deadline_s=None)
    async def rename(self, call: Rename, tracee: Tracee) -> Verdict | None:
        """rename(2). From a name that was made: EXDEV, and mv(1) copies."""
        with self._named(tracee, call.olddirfd, call.oldpath) as (old, _):
            if old is not None:
                return Errno(errno.EXDEV if old.made else errno.ENOENT)
        return await self._show_old(call, tracee)

    async def _show_old(
        self, call: Link | Rename, tracee: Tracee, *, follow: bool = False
    ) -> Verdict | None:
        moves = isinstance(call, Rename)
        with self._named(tracee, call.newdirfd, call.newpath) as (hidden, parent):
            if hidden is None:
                return None
            if moves and call.flags & _RENAME_EXCHANGE:
                return Errno(errno.EXDEV if hidden.made else errno.ENOENT)
            mine = hidden.doing == tracee.cookie
            if hidden.made and not mine and (not moves or call.flags & _RENAME_NOREPLACE):
                return Errno(errno.EEXIST)
            path = tracee.read_str(call.oldpath)
            nofollow = 0 if follow else os.O_NOFOLLOW
            head, slash, name = path.rstrip(b"/").rpartition(b"/")
            try:
                source = tracee.open(call.olddirfd, path, os.O_PATH | nofollow)
            except FileNotFoundError:
                if moves and hidden.doing == tracee.cookie:
                    return Return(0)  # it was moved when a supervisor died
                raise
            await self._undone(hidden, tracee)
            directory = -1
            try:
                directory = tracee.open(call.olddirfd, head + slash or b".", _HERE)
                await self._refuse(hidden, parent, tracee)
                status = await self.the_space().aside(os.fstat, source)
                if stat.S_ISDIR(status.st_mode) or hidden.is_directory:
                    return Errno(errno.EXDEV if moves else errno.EPERM)
                if moves:
                    await self._refuse(hidden, directory, tracee)
                self._begin(hidden, tracee)
                if hidden.made:
                    await uncover(self.the_space(), [place.path for place in hidden.places])
                await making.show(self.the_space(), hidden, source)
                if moves:
                    await self.the_space().aside(partial(os.unlink, name, dir_fd=directory))
                self._changed(hidden, made=True)
                return Return(0)
            finally:
                for fd in (source, directory):
                    if fd >= 0:
                        os.close(fd)


def _mkdir(mode: int, name: bytes, directory: int) -> None:
    os.mkdir(name, 0o700, dir_fd=directory)
    _chmod(mode, name, directory)


def _mknod(mode: int, device: int, name: bytes, directory: int) -> None:
    os.mknod(name, mode, device, dir_fd=directory)
    _chmod(mode, name, directory)


def _chmod(mode: int, name: bytes, directory: int) -> None:
    # The supervisor's own umask must not count.
    os.chmod(name, stat.S_IMODE(mode), dir_fd=directory)


def _symlink(target: bytes, name: bytes, directory: int) -> None:
    os.symlink(target, name, dir_fd=directory)
