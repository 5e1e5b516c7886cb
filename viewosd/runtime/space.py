"""The mount namespace of a view, as the supervisor holds it: `viewosd.space.Space` by its agent.

    supervisor (outside)                      agent (inside)
    --------------------                      --------------
    opens sources and targets, as who asks
    sends the call and the descriptors   ->   fsopen(2), open_tree(2), move_mount(2) …
    hands the result to the tracee       <-   the kernel's answer, and descriptors

One question at a time. The agent's end of the conversation is kept alive by a duplicate of ours in
the parking place, for a successor.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import signal
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import trio

from ..abi.fcntl import RESOLVE_IN_ROOT
from ..abi.mount import mount_attr
from ..agent import agent, frames, namespaces
from ..agent.unsafe import AT_RECURSIVE
from ..errors import ViewError
from ..fuse import mount as fuse
from ..keeper.processes import state_of
from ..space import DIRECTORY
from . import hosts, unsafe
from .aside import aside
from .helpers import Helpers, pair
from .space_calls import SpaceCalls, token
from .treeservers import TreeServers, made

Options = Sequence[tuple[str, str | bytes | int | None]]

START_S: Final = 5.0
"""Seconds that a new agent may take to come into its namespaces."""


class ViewSpace(SpaceCalls):
    """One view's.

    Attributes:
        end: our end of the conversation; a successor goes on with a duplicate.
        pid: the agent's.
        namespaces: descriptors for those that come into the view.
        inode: of its mount namespace.
        ordinary: an ordinary user's: it has a user namespace.
    """

    def __init__(self, end: socket.socket, helpers: Helpers, servers: TreeServers) -> None:
        self.end, self.pid = end, 0
        self.namespaces = namespaces.Namespaces(None, -1)
        self.inode = 0
        self._helpers, self._servers = helpers, servers
        self.replaced: Callable[[], None] = lambda: None
        """Called when `end` is another one."""
        self._numbers = itertools.count(os.getpid() << 16)
        self._lock = trio.Lock()

    @classmethod
    async def make(cls, helpers: Helpers, parent: ViewSpace | None) -> ViewSpace:
        """Make namespaces and an agent in them.

        Raises:
            ViewError: this machine does not allow it; the text says why.
        """
        above = None if parent is None else parent.namespaces
        ways = [True] if os.geteuid() else [False, True]
        if above is not None:
            ways = [above.user is not None]
        for user in ways:
            try:
                return await cls._make(helpers, above, user)
            except OSError as error:
                refused = error
                # Root of a container may lack what root needs, and have user namespaces.
                if error.errno != errno.EPERM:
                    break
        raise ViewError(f"this view can't have a file tree of its own: {refused.strerror}")

    @classmethod
    async def _make(
        cls, helpers: Helpers, above: namespaces.Namespaces | None, user: bool
    ) -> ViewSpace:
        def body(end: socket.socket) -> None:
            try:
                ours = namespaces.make(above, user)
            except OSError as error:
                frames.send(end, [0, error.errno, error.strerror, None], [])
                return
            frames.send(end, [0, 0, "", None], [])
            agent.serve(end, ours)

        end, pid = _fork_agent(helpers, body, above)
        space = cls(end, helpers, TreeServers(helpers))
        space.pid = pid
        try:
            await space._answer(0)
            await space.meet()
        except EOFError:
            raise OSError(errno.EIO, "its agent has ended") from None
        finally:
            if space.namespaces.mnt < 0:
                end.close()
        return space

    async def meet(self) -> None:
        """Learn who the agent is. Raises OSError."""
        (self.pid, names), fds = await self._ask("hello", [])
        frames.close_all(list(self.namespaces.fds()))
        found: dict[str, int] = dict(zip(names, fds, strict=True))
        self.namespaces = namespaces.Namespaces(found.get("user"), found["mnt"], found.get("net"))
        self.inode = os.fstat(self.namespaces.mnt).st_ino
        self._helpers.add(self.pid)

    @property
    def ordinary(self) -> bool:
        return self.namespaces.user is not None

    def close(self) -> None:
        """We ask no more. The agent ends when nobody else can ask either."""
        self._servers.close()
        trio.lowlevel.notify_closing(self.end)  # somebody may be asking
        self.end.close()
        for fd in self.namespaces.fds():
            os.close(fd)

    # -- the conversation

    async def _ask(self, verb: str, fds: Sequence[int], *args: Any) -> tuple[Any, list[int]]:
        async with self._lock:
            # To its end, or the answer would be another question's.
            with trio.CancelScope(shield=True):
                try:
                    answer = await self._asked(verb, fds, args)
                except (BrokenPipeError, ConnectionResetError, EOFError):
                    self._start_again()
                    answer = await self._asked(verb, fds, args)
                except trio.ClosedResourceError:  # it was started again meanwhile
                    answer = await self._asked(verb, fds, args)
        return answer

    async def _asked(self, verb: str, fds: Sequence[int], args: Any) -> tuple[Any, list[int]]:
        number = next(self._numbers)
        frames.send(self.end, [number, verb, args, token.get()], list(fds))
        return await self._answer(number)

    async def _answer(self, number: int) -> tuple[Any, list[int]]:
        while True:
            await trio.lowlevel.wait_readable(self.end)
            answer = frames.receive(self.end)
            if answer is None:
                raise EOFError
            (of, code, text, result), fds = answer
            if of == number:
                break
            frames.close_all(fds)  # a dead supervisor's question
        if code:
            raise OSError(code, text)
        return result, fds

    def _start_again(self) -> None:
        """Somebody has killed the agent. The namespaces live as long as we hold them."""
        ours = self.namespaces

        def body(end: socket.socket) -> None:
            namespaces.come_back(ours)
            frames.send(end, [0, 0, "", None], [])
            agent.serve(end, ours)

        trio.lowlevel.notify_closing(self.end)
        self.end.close()
        self.end, self.pid = _fork_agent(self._helpers, body, ours)
        # Without waiting on trio: who asks for its root must not see the one outside.
        if not select.select([self.end], [], [], START_S)[0] or frames.receive(self.end) is None:
            raise OSError(errno.EIO, "the view's agent can't be started again")
        self.replaced()

    # -- viewosd.space.Space

    async def create(self, fstype: str, options: Options = (), attributes: int = 0) -> int:
        given, fds = _numbered(options)
        _, (mount,) = await self._ask("create", fds, fstype.encode(), given, attributes)
        return mount

    async def clone(self, tree: int, *, recursive: bool = True) -> int:
        _, (copy,) = await self._ask("clone", [tree], recursive)
        return copy

    async def change(
        self,
        tree: int,
        *,
        set: int = 0,
        clear: int = 0,
        propagation: int = 0,
        recursive: bool = True,
    ) -> None:
        attr = mount_attr(attr_set=set, attr_clr=clear, propagation=propagation, userns_fd=0)
        await self.mount_setattr(tree, AT_RECURSIVE if recursive else 0, attr.pack())

    async def attach(self, tree: int, target: int, below: Sequence[tuple[bytes, int]] = ()) -> None:
        fds = [target, tree, *(fd for _, fd in below)]
        await self._ask("attach", fds, [path for path, _ in below])

    async def umount(self, path: bytes, flags: int = 0) -> None:
        try:
            await self._ask("umount", [], path, flags)
        except OSError as error:
            # A helper that is just being forked has a copy of what we have open.
            if error.errno != errno.EBUSY or not await self._helpers.settled():
                raise
            await self._ask("umount", [], path, flags)

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
        attributes: int = 0,
    ) -> int:
        given, _ = _numbered(
            fuse.options(
                root_mode=root_mode,
                uid=os.geteuid(),
                gid=os.getegid(),
                subtype=type,
                source=source,
                # An ordinary user's has one user; and the supervisor, which is not in its user
                # namespace, must look into it: fs/fuse/dir.c:fuse_allow_current_process().
                everybody=not self.ordinary,
                checked=not unchecked,
                more=options,
            )
        )
        _, (mount, device) = await self._ask("fuse", [], given, attributes)
        try:
            try:
                news = self._servers.serve(
                    device,
                    tree,
                    dict(arguments),
                    descriptors,
                    apart=apart,
                    st_dev=unsafe.st_dev_of(mount),
                )
            finally:
                os.close(device)
            await made(news)
            if self.ordinary and not stat.S_ISDIR(root_mode):
                await self._ask_for_owner(mount)
        except BaseException:
            os.close(mount)
            raise
        return mount

    def lost(self) -> dict[str, str]:
        """Why file systems that were served can't go on, by "major:minor"."""
        return self._servers.lost()

    async def _ask_for_owner(self, mount: int) -> None:
        """Have the kernel ask the tree whose its root is. Before, that is uid 0, which an ordinary
        user's namespace does not know, and what is nobody's can't be opened for writing:
        fs/namei.c:inode_permission(). Of a directory it asks by itself. Not by us: a tree may hang.
        """
        pid = self._helpers.fork(b"viewos-probe", lambda: os.fstat(mount), [mount])
        pidfd = os.pidfd_open(pid)
        try:
            with trio.move_on_after(START_S):
                await trio.lowlevel.wait_readable(pidfd)
        finally:
            with contextlib.suppress(ProcessLookupError):  # as it should be
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)

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
        self.agent()  # or there would be no namespaces
        job = hosts.job(argv, target, source, lock, what, marks)
        return await hosts.start(self._helpers, self.namespaces, job)

    async def ended(self, where: Mapping[str, int]) -> bool:
        return await hosts.ended(where)

    def open(self, path: bytes, flags: int) -> int:
        root = os.open(f"/proc/{self.agent()}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return unsafe.openat2(root, path, flags | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT)
        finally:
            os.close(root)

    aside = staticmethod(aside)

    def mountinfo(self) -> bytes:
        with open(f"/proc/{self.agent()}/mountinfo", "rb") as file:
            return file.read()

    def agent(self) -> int:
        """The agent's process id; a new one's, if that was killed."""
        if state_of(self.pid) in ("", "Z", "X"):
            self._start_again()
        return self.pid

    async def live_in(self, network: int) -> None:
        """Have the agent, and who comes in from now on, live in a network namespace."""
        await self._ask("live_in", [network])
        before = self.namespaces.net
        self.namespaces = self.namespaces._replace(net=os.dup(network))
        if before is not None:
            os.close(before)

    def inhabits(self, tid: int) -> bool:
        user, mnt, _ = self.namespaces
        try:
            mine = os.path.samestat(os.fstat(mnt), os.stat(f"/proc/{tid}/ns/mnt"))
            theirs = os.stat("/proc/self/ns/user") if user is None else os.fstat(user)
            return mine and os.path.samestat(theirs, os.stat(f"/proc/{tid}/ns/user"))
        except OSError:
            return False


def _fork_agent(
    helpers: Helpers, body: Any, above: namespaces.Namespaces | None
) -> tuple[socket.socket, int]:
    ours, theirs = pair()
    keep = {theirs.fileno()} | (above.fds() if above is not None else set())
    try:
        pid = helpers.fork(b"viewos-agent", lambda: body(theirs), keep)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours, pid


def _numbered(options: Options) -> tuple[list[list[Any]], list[int]]:
    """Options as the agent takes them, and the descriptors that go along."""
    fds: list[int] = []
    given: list[list[Any]] = []
    for name, value in options:
        if isinstance(value, int):
            fds.append(value)
            value = len(fds) - 1
        given.append([name.encode(), value.encode() if isinstance(value, str) else value])
    return given, fds
