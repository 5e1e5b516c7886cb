"""The service: what is mounted below ``/dev/net``, and which stack a socket goes to.

The node of a stack is its network namespace (nsfs), as ``ip netns`` has them below /run/netns; so
``nsenter --net=/dev/net/NAME`` works where one may. Who makes a socket gets one of its stack, and
from then on the kernel alone has to do with it.

Which stack: that of the process's own ``mstack``, or of whoever it was started by; else what is
mounted at ``/dev/net/default``; else the one that it lives in. While none of these differs from the
last, nothing is trapped.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import trio

from viewosd import Credentials, Errno, InjectFd, Service, Tracee, Verdict, hook
from viewosd.abi.mount import MNT_DETACH
from viewosd.abi.socket import AF_NETLINK, AF_VSOCK, NETLINK_ROUTE, SOCK_CLOEXEC, SOCK_DGRAM
from viewosd.network import Networks
from viewosd.service import HookSpec
from viewosd.space import Mounted, MountRequest, Space
from viewosd.syscalls import socket

from . import asking, files, nat, options, protocols, sysfs
from .defaults import Defaults
from .stacks import DEFAULT, Stack, restored

log = logging.getLogger(__name__)

_NOT_OURS: Final = frozenset({AF_VSOCK})
"""Families that have to do with the machine, not with a network namespace."""


class Net(Service):
    """Network stacks of the view's own"""

    name = "net"
    mounts = ("umnetns", "umnetnative", "umnetnull", "umnetlink")

    def __init__(self) -> None:
        self.stacks: list[Stack] = []
        self.defaults = Defaults()
        self._native = 0  # inode of the namespace that programs live in, if not in one of ours

    # -- mounts

    async def mount(self, request: MountRequest) -> int:
        """See docs/net.md for the types, their options and errors."""
        networks = self._networks()
        if any(stack.path == request.target for stack in self.stacks):
            raise OSError(errno.EBUSY, f"net: {os.fsdecode(request.target)} has a stack already")
        stack = await self._make(request, networks)
        try:
            self._native = self._native or await self._inode_of_native(networks)
            tree = await request.space.clone(stack.namespace)
            try:
                await self._begin(stack, networks)
            except BaseException:
                os.close(tree)
                raise
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._let_go(stack)
            raise
        self.remember()
        return tree

    async def _make(self, request: MountRequest, networks: Networks) -> Stack:
        stack = Stack(request.target, request.type)
        if request.type == "umnetlink":
            await self._link(stack, request)
        elif request.type == "umnetns":
            wish = options.parse(request.options)
            stack.namespace = await networks.create()
            await self._configure(stack, wish, networks)
        else:
            for name, _ in request.options:
                raise options.invalid(f"{request.type} has no option {name}")
            null = request.type == "umnetnull"
            stack.namespace = await (networks.create() if null else networks.native())
        stack.inode = os.fstat(stack.namespace).st_ino
        return stack

    async def _configure(self, stack: Stack, wish: options.Wish, networks: Networks) -> None:
        try:
            if wish.nat:
                what = f"{stack.kind} on {options.shown(stack.path)}"
                stack.facts["nat"] = await nat.begin(networks, stack.namespace, wish, what)
                stack.facts["published"] = [str(port) for port in wish.publish]
            if stack.path == DEFAULT:
                await self._cover(stack, wish)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._let_go(stack)
            raise

    async def _cover(self, stack: Stack, wish: options.Wish) -> None:
        """Name servers and names as the stack that everybody is on wants them."""
        space, place = self._space(), next(iter(self.view_places()))
        servers = wish.dns or [nat.FORWARDER] * (wish.nat and nat.forwards())
        texts: dict[bytes, str] = {}
        if servers:
            old = files.text_of(space, files.RESOLV_CONF)
            texts[files.RESOLV_CONF] = files.resolv_conf(servers, old)
        if wish.hosts:
            old = files.text_of(space, files.HOSTS)
            texts[files.HOSTS] = files.hosts(wish.hosts, old)
        covers = stack.facts["covers"] = []
        for path, text in texts.items():
            covers.append(await files.cover(space, path, text, place))

    async def _link(self, stack: Stack, request: MountRequest) -> None:
        """The protocols of another stack, which the source names."""
        words = [name for name, value in request.options if not value]
        stack.override = any(word in ("override", "o") for word in words)
        try:
            stack.families = protocols.chosen(w for w in words if w not in ("override", "o"))
        except ValueError as error:
            raise options.invalid(str(error)) from None
        other = self.at(request.source)
        if other is None:
            shown = os.fsdecode(request.source)
            raise OSError(errno.ENOENT, f"net: {shown} is no stack of this view")
        stack.families &= other.families
        stack.facts["of"] = other.kind
        stack.namespace = os.dup(await self._namespace(other))

    async def _begin(self, stack: Stack, networks: Networks) -> None:
        if stack.path == DEFAULT and stack.kind == "umnetns":
            stack.home = await networks.live_in(stack.namespace)
            if stack.home:
                await self._renew_sysfs()
        self.stacks.append(stack)
        try:
            await self.rearm()
        except BaseException:
            self.stacks.remove(stack)
            raise

    async def _renew_sysfs(self) -> None:
        try:
            await sysfs.renew(self._space())
        except OSError as error:
            log.info("/sys/class/net goes on showing the system's interfaces: %s", error.strerror)

    async def umounted(self, mounted: Mounted) -> None:
        """Sockets that were made on the stack go on; new ones are not made on it."""
        stack = self.at(mounted.target)
        if stack is not None:
            self.stacks.remove(stack)
            await self._let_go(stack)
            await self.rearm()
            self.remember()

    async def _let_go(self, stack: Stack) -> None:
        networks, space = self.view_networks(), self.view_space()
        if networks is not None and "nat" in stack.facts:
            networks.drop(stack.facts["nat"])
        for path in stack.facts.get("covers", ()):
            with suppress(OSError):  # the view ends, and all of its mounts with it
                if space is not None:
                    await space.umount(path, MNT_DETACH)
        stack.close()

    async def stop(self) -> None:
        """The view has ended."""
        while self.stacks:
            self.stacks.pop().close()

    # -- sockets

    def hooks(self) -> list[tuple[HookSpec, Callable[[Any, Tracee], Any]]]:
        """Nothing is trapped while everybody's stack is the one that they live in."""
        on_its_own = self.defaults or any(s.path == DEFAULT and not s.home for s in self.stacks)
        return super().hooks() if on_its_own else []

    @hook(socket)
    async def on_socket(self, call: socket, tracee: Tracee) -> Verdict | None:
        """A socket of the caller's stack; None: it is made where the caller lives."""
        if call.family in _NOT_OURS:
            return None
        path = self.defaults.of(tracee, call.family) if self.defaults else None
        stack = self.at(path or DEFAULT)
        if stack is None:
            return Errno(errno.ENETDOWN) if path else None  # it was umounted
        networks = self._networks()
        lives = networks.lives_in(tracee.tid)
        if lives not in self._homes():
            return None  # in a namespace that it has made itself
        if call.family not in stack.families and not stack.override:
            return None
        if lives == stack.inode and not stack.refuses(call.family):
            return None
        like = None if os.geteuid() else tracee.credentials
        type = call.type & ~SOCK_CLOEXEC
        try:
            fd = await self._socket(stack, call.family, type, call.protocol, like)
        except OSError as error:
            return Errno(error.errno or errno.EIO)
        return InjectFd(fd, cloexec=bool(call.type & SOCK_CLOEXEC))

    async def _socket(
        self, stack: Stack, family: int, type: int, protocol: int, like: Credentials | None = None
    ) -> int:
        if stack.refuses(family):
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        namespace = await self._namespace(stack)
        return await self._networks().socket(namespace, family, type, protocol, like=like)

    def _homes(self) -> set[int]:
        return {self._native, *(stack.inode for stack in self.stacks)}

    # -- commands

    async def ask(self, what: str, arguments: Mapping[str, Any], pid: int) -> Any:
        """``mstack``, ``msocket`` and ``net``: asking.py."""
        return await asking.answer(self, what, arguments, pid)

    async def give(self, pid: int, families: Iterable[int], stack: Stack) -> None:
        """Give a process, and what it starts, a stack for some families.

        Raises:
            ProcessLookupError: there is no such process.
        """
        fresh = not self.hooks()
        self.defaults.set(pid, families, stack.path)
        if fresh:
            await self.rearm()
        self.remember()

    async def netlink(self, stack: Stack) -> int:
        """A netlink socket that tells of a stack's namespace, and configures it. Raises OSError."""
        # pyroute2 takes none of type SOCK_RAW; to the kernel they are the same: netlink(7).
        networks, namespace = self._networks(), await self._namespace(stack)
        return await networks.socket(namespace, AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE)

    async def socket_on(self, stack: Stack, family: int, type: int, protocol: int) -> int:
        """A socket of the view's owner on a stack. Raises OSError."""
        return await self._socket(stack, family, type, protocol)

    # -- what a successor and a branch need

    def describe(self) -> Any:
        stacks = [stack.describe() for stack in self.stacks]
        return [self._native, stacks, self.defaults.describe()]

    def restore(self, state: Any) -> None:
        self._native, stacks, defaults = state
        self.defaults.restore(defaults)
        self.stacks = [restored(one) for one in stacks]

    # -- namespaces

    def at(self, path: bytes) -> Stack | None:
        """The stack that is mounted at a path."""
        return next((stack for stack in self.stacks if stack.path == path), None)

    async def _namespace(self, stack: Stack) -> int:
        """Its descriptor; after a restart found where it is mounted."""
        if stack.namespace < 0:
            fd = self._space().open(stack.path, os.O_RDONLY)
            try:
                if os.fstat(fd).st_ino != stack.inode:
                    raise OSError(errno.ENETDOWN, "something else is mounted there")
                stack.namespace = await self._networks().again(fd)
            finally:
                os.close(fd)
        return stack.namespace

    def _space(self) -> Space:
        space = self.view_space()
        if space is None:
            raise OSError(errno.EIO, "net: the view has no mounts")
        return space

    def _networks(self) -> Networks:
        networks = self.view_networks()
        if networks is None:
            raise OSError(errno.EIO, "net: the view has no mounts")
        return networks

    async def _inode_of_native(self, networks: Networks) -> int:
        fd = await networks.native()
        try:
            return os.fstat(fd).st_ino
        finally:
            os.close(fd)
