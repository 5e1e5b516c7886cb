"""The tracee of a real notification: `viewosd.tracee.Tracee` on top of /proc and pidfds.

Everything is looked up by thread id, and a thread id may be reused by the time we look; so what
was found is used only after the cookie was seen to be alive (seccomp_unotify(2)): while it is, the
thread waits in its call and its id is its own.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

from ..abi.arch import Arch
from ..abi.fcntl import RESOLVE_BENEATH, RESOLVE_CACHED, RESOLVE_IN_ROOT
from ..abi.layout import Struct
from ..errors import BadAddress, MustWait, Vanished
from ..keeper.processes import parent_of, start_of
from ..syscalls.kinds import In, InOut, Out
from ..tracee import ARGS_MAX, AT_FDCWD, Credentials
from . import memory, unsafe
from .aside import Aside, served, would_wait
from .listener import Listener
from .resolve import Walk

S = TypeVar("S", bound=Struct)
T = TypeVar("T")
PIDFD_THREAD = os.O_EXCL  # include/uapi/linux/pidfd.h, Linux 6.9
VALID_OPEN_FLAGS = 0o37777703  # include/linux/fcntl.h; open(2) ignores others
MAX_ARG_STRLEN = 0x2_0000  # include/uapi/linux/binfmts.h


class ThreadTracee:
    """One thread that waits for our answer to ``cookie``.

    Attributes:
        done: what was done aside for it; None: nothing.
    """

    __slots__ = ("_pid", "arch", "cookie", "done", "listener", "tid")

    def __init__(self, listener: Listener, cookie: int, tid: int, arch: Arch) -> None:
        self.listener, self.cookie, self.tid = listener, cookie, tid
        self.arch = arch
        self.done: Aside | None = None
        self._pid = 0

    @property
    def pid(self) -> int:
        if not self._pid:
            try:
                # Only a process's first thread can be opened as one, and then it is the process:
                # told in a tenth of the time that /proc/TID/status takes.
                os.close(unsafe.pidfd_open(self.tid))
                self.check()
                self._pid = self.tid
            except OSError:
                self._pid = int(self._status()[b"Tgid"])
        return self._pid

    def ancestors(self) -> Iterator[tuple[int, int]]:
        pid, supervisor = self.pid, os.getpid()
        while pid and pid != supervisor and (start := start_of(pid)):
            yield pid, start
            pid = parent_of(pid)

    def check(self) -> None:
        if not self.listener.alive(self.cookie):
            raise Vanished

    def read(self, address: int, length: int) -> bytes:
        data = memory.read(self.tid, address, length)
        self.check()
        return data

    def read_str(self, address: int, limit: int = 4096) -> bytes:
        data = memory.read_str(self.tid, address, limit)
        self.check()
        return data

    def read_strs(self, address: int, limit: int = ARGS_MAX) -> list[bytes]:
        size = self.arch.pointer_size
        found: list[bytes] = []
        while address:
            pointer = int.from_bytes(memory.read(self.tid, address, size), "little")
            if not pointer:
                break
            limit -= size
            if limit <= 0:
                raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
            found.append(memory.read_str(self.tid, pointer, MAX_ARG_STRLEN))
            limit -= len(found[-1]) + 1
            address += size
        self.check()
        return found

    def read_struct(self, where: In[S] | InOut[S] | Out[S], kind: type[S]) -> S:
        narrow = kind.compat if self.arch.is_compat else None
        if narrow is None:
            return kind.unpack(self.read(where, kind.sizeof))
        small = narrow.unpack(self.read(where, narrow.sizeof))
        return kind(**{n: getattr(small, n) for n in kind._fields if n in narrow._fields})

    def write(self, address: int, data: bytes) -> None:
        self.check()
        memory.write(self.tid, address, data)

    def write_struct(self, where: Out[S] | InOut[S], what: S) -> None:
        self.write(where, narrowed(what, self.arch).pack())

    @contextmanager
    def fd(self, number: int) -> Iterator[int]:
        ours = self._duplicate(number)
        try:
            yield ours
        finally:
            os.close(ours)

    def open(
        self, dirfd: int, path: bytes, flags: int = 0, mode: int = 0, *, resolve: int = 0
    ) -> int:
        if not served():
            return self._open(dirfd, path, flags, mode, resolve)
        key = ("open", dirfd, path, flags, mode, resolve)
        if self.done is not None and key in self.done:
            return os.dup(self.done.outcome(key))
        if flags & os.O_PATH:
            try:
                return self._open(dirfd, path, flags, mode, resolve | RESOLVE_CACHED)
            except OSError as error:
                if not would_wait(error):
                    raise
        raise MustWait(key, partial(self._open, dirfd, path, flags, mode, resolve))

    def aside(self, function: Callable[..., T], *args: Any) -> T:
        if not served():
            return function(*args)
        key = ("aside", function.__name__)
        if self.done is not None and key in self.done:
            return cast(T, self.done.outcome(key))
        raise MustWait(key, partial(function, *args))

    def let_go(self) -> None:
        if self.done is not None:
            self.done.close()

    def _open(self, dirfd: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
        if flags & os.O_PATH:
            flags &= os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
            creates, asked_too = False, os.O_CLOEXEC
        else:
            flags &= VALID_OPEN_FLAGS
            # No controlling terminal of ours comes of it, and we do not wait for a FIFO's other
            # end: everybody would wait with us.
            asked_too = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
            creates = bool(flags & (os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY))
        root = self._opened("root")
        try:
            start = root
            if not path.startswith(b"/") or resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT):
                start = self._opened("cwd" if dirfd == AT_FDCWD else f"fd/{dirfd}")
            walk = Walk(root, start, lambda: self.pid, self.tid, resolve)
            # Of our whole process; there is one thread, and it does not wait meanwhile.
            ours = os.umask(self.umask) if creates else 0
            try:
                self.check()
                fd = walk.open(path, flags | asked_too, mode & 0o7777 if creates else 0)
            finally:
                if creates:
                    os.umask(ours)
                if start != root:
                    os.close(start)
        finally:
            os.close(root)
        return fd if flags & (os.O_PATH | os.O_NONBLOCK) else waiting(fd)

    def path_of(self, dirfd: int, path: bytes) -> bytes:
        if path.startswith(b"/"):
            return path
        directory, root = self._directory(dirfd), self._link("root")
        if root != b"/" and (directory == root or directory.startswith(root + b"/")):
            directory = directory[len(root) :]
        return directory.rstrip(b"/") + b"/" + path

    @property
    def cwd(self) -> bytes:
        return self._directory(AT_FDCWD)

    @property
    def umask(self) -> int:
        return int(self._status()[b"Umask"], 8)

    @property
    def credentials(self) -> Credentials:
        status = self._status()
        uid, euid, suid, fsuid = map(int, status[b"Uid"].split())
        gid, egid, sgid, fsgid = map(int, status[b"Gid"].split())
        groups = tuple(map(int, status[b"Groups"].split()))
        effective = int(status[b"CapEff"], 16)
        return Credentials(uid, euid, suid, fsuid, gid, egid, sgid, fsgid, groups, effective)

    @property
    def personality(self) -> int:
        return int(self._proc_file("personality"), 16)

    @property
    def command(self) -> bytes:
        return self._proc_file("comm").rstrip(b"\n")

    def _proc_file(self, name: str) -> bytes:
        try:
            with open(f"/proc/{self.tid}/{name}", "rb", 0) as file:
                data = cast(bytes, file.read())
        except (FileNotFoundError, ProcessLookupError):
            raise Vanished from None
        self.check()
        return data

    def _status(self) -> dict[bytes, bytes]:
        lines = self._proc_file("status").splitlines()
        return {key: value.strip() for key, _, value in (line.partition(b":") for line in lines)}

    def _link(self, name: str) -> bytes:
        try:
            target = os.readlink(f"/proc/{self.tid}/{name}".encode())
        except FileNotFoundError:
            self.check()
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None
        self.check()
        return target

    def _directory(self, dirfd: int) -> bytes:
        return self._link("cwd" if dirfd == AT_FDCWD else f"fd/{dirfd}")

    def _opened(self, name: str) -> int:
        try:
            return os.open(f"/proc/{self.tid}/{name}", os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            self.check()
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def _duplicate(self, number: int) -> int:
        # A pidfd of this very thread: its table may not be its process's (unshare(CLONE_FILES)),
        # and pidfd_open() of a thread id needs PIDFD_THREAD.
        try:
            pidfd = unsafe.pidfd_open(self.tid, PIDFD_THREAD)
        except OSError as error:
            if error.errno == errno.ESRCH:
                raise Vanished from None
            if error.errno != errno.EINVAL:
                raise
            pidfd = unsafe.pidfd_open(self.pid)  # Until Linux 6.9 is the minimum.
        try:
            ours = unsafe.pidfd_getfd(pidfd, number)
        finally:
            os.close(pidfd)
        if not self.listener.alive(self.cookie):
            os.close(ours)
            raise Vanished
        return ours


def waiting(fd: int) -> int:
    """Take O_NONBLOCK off again, which was not asked for. Closes a FIFO and says EAGAIN: opening
    it would have had to wait."""
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    os.set_blocking(fd, True)
    return fd


def narrowed(what: Struct, arch: Arch) -> Struct:
    """``what`` as a program of ``arch`` lays it out.

    Raises:
        OSError: EOVERFLOW, a value does not fit (as fs/stat.c:cp_compat_stat() says).
    """
    narrow = what.compat if arch.is_compat else None
    if narrow is None:
        return what
    small = narrow(**{n: getattr(what, n, 0) for n in narrow._fields})
    try:
        small.pack()
    except Exception as error:
        raise OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW)) from error
    return small


__all__ = ["BadAddress", "ThreadTracee", "narrowed"]
