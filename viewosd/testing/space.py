"""The mounts of a view, for tests of services: recorded, or made for real in a namespace of one's
own.

    space = FakeSpace()
    request = space.request("viewfs", b"/from", b"/to", [("bind", "")])
    tree = await service.mount(request)
    assert space.said("clone") and not space.said("attach")
    space.close()

Every descriptor that it hands out is a real one, so what a service forgets to close is noticed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ..abi.mount import mount_attr
from ..agent.agent import Agent
from ..agent.namespaces import Namespaces
from ..agent.unsafe import AT_RECURSIVE
from ..space import DIRECTORY, MountRequest

T = TypeVar("T")
Options = Sequence[tuple[str, str | bytes | int | None]]


class FakeSpace:
    """Offers what `viewosd.space.Space` does.

    Args:
        real: mount for real, in the namespace of this process: run as root by ``unshare -m``. What
            is served is an empty tmpfs then, for nobody serves.

    Attributes:
        calls: what was asked, in order: name, arguments by name; options without descriptors.
        failures: name of a method to the exception that it raises from now on.
        table: what `mountinfo` tells; None: this process's own.
    """

    def __init__(self, *, real: bool = False) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failures: dict[str, Exception] = {}
        self.table: bytes | None = None
        self._agent = Agent(Namespaces(None, -1)) if real else None
        self._directory = tempfile.mkdtemp(prefix="viewos-fake-")

    def close(self) -> None:
        """Remove what fake trees were made of."""
        shutil.rmtree(self._directory)

    def said(self, name: str) -> list[dict[str, Any]]:
        """The arguments of every call of a method."""
        return [arguments for called, arguments in self.calls if called == name]

    def request(
        self,
        type: str,
        source: bytes,
        target: bytes,
        options: Sequence[tuple[str, str]] = (),
        *,
        flags: int = 0,
        created: bool = False,
    ) -> MountRequest:
        """A request for a mount here. Its ``target_fd`` is the caller's to close."""
        fd = self.open(target, os.O_PATH)
        where = os.readlink(b"/proc/self/fd/%d" % fd)
        return MountRequest(type, source, where, fd, flags, options, self, self.open, created)

    def _called(self, name: str, **arguments: Any) -> None:
        self.calls.append((name, arguments))
        if name in self.failures:
            raise self.failures[name]

    def _fake(self) -> int:
        return os.open(tempfile.mkdtemp(dir=self._directory), os.O_PATH | os.O_CLOEXEC)

    async def create(self, fstype: str, options: Options = (), attributes: int = 0) -> int:
        self._called("create", fstype=fstype, options=list(options), attributes=attributes)
        if self._agent is None:
            return self._fake()
        given: list[Any] = []
        fds: list[int] = []
        for name, value in options:
            if isinstance(value, int):
                fds.append(value)
                given.append([name.encode(), len(fds) - 1])
            else:
                text = value.encode() if isinstance(value, str) else value
                given.append([name.encode(), text])
        return self._agent.create(fds, fstype.encode(), given, attributes)[1][0]

    async def clone(self, tree: int, *, recursive: bool = True) -> int:
        self._called("clone", tree=tree, recursive=recursive)
        if self._agent is not None:
            return self._agent.clone([tree], recursive)[1][0]
        return os.dup(tree)

    async def change(
        self,
        tree: int,
        *,
        set: int = 0,
        clear: int = 0,
        propagation: int = 0,
        recursive: bool = True,
    ) -> None:
        self._called("change", set=set, clear=clear, propagation=propagation, recursive=recursive)
        if self._agent is not None:
            attr = mount_attr(attr_set=set, attr_clr=clear, propagation=propagation, userns_fd=0)
            self._agent.mount_setattr([tree], AT_RECURSIVE if recursive else 0, attr.pack())

    async def attach(self, tree: int, target: int, below: Sequence[tuple[bytes, int]] = ()) -> None:
        self._called("attach", tree=tree, target=target, below=[path for path, _ in below])
        if self._agent is not None:
            fds = [target, tree, *(fd for _, fd in below)]
            self._agent.attach(fds, [path for path, _ in below])

    async def umount(self, path: bytes, flags: int = 0) -> None:
        self._called("umount", path=path, flags=flags)
        if self._agent is not None:
            self._agent.umount([], path, flags)

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
        self._called(
            "serve",
            tree=tree,
            arguments=dict(arguments),
            count=len(descriptors),
            type=type,
            source=source,
            root_mode=root_mode,
            apart=apart,
            unchecked=unchecked,
            options=list(options),
        )
        if self._agent is None:
            return self._fake()
        return self._agent.create([], b"tmpfs", [[b"source", b"served"]], 0)[1][0]

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
        self._called("host", argv=list(argv), target=target, source=source, lock=lock, what=what)
        if self._agent is None:
            return self._fake(), {"pid": 0}
        return self._agent.create([], b"tmpfs", [[b"source", b"hosted"]], 0)[1][0], {"pid": 0}

    async def ended(self, where: Mapping[str, int]) -> bool:
        self._called("ended", where=dict(where))
        return True

    def open(self, path: bytes, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC)

    async def aside(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    def mountinfo(self) -> bytes:
        if self.table is not None:
            return self.table
        with open("/proc/self/mountinfo", "rb") as file:
            return file.read()
