"""What a tree is after its server was killed, if it can't go on: every call fails with EIO.

It is served, and not just given up, for then the kernel would say ENOTCONN, also to those who
unmount it with a program that looks first; and what is cached could still be read.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, NoReturn

from ..filetree import Context, FileTree, Statfs


def _eio(*_: Any) -> NoReturn:
    raise OSError(errno.EIO, "lost with its server")


def _lose(cls: type[FileTree]) -> type[FileTree]:
    for name, method in vars(FileTree).items():
        if callable(method) and name not in vars(cls) and not name.startswith("_"):
            setattr(cls, name, _eio)
    return cls


@_lose
class Lost(FileTree):
    """Any tree."""

    def forget(self, node: int, nlookup: int) -> None:
        pass

    def release(self, node: int, handle: Any, owner: int) -> None:
        pass

    def releasedir(self, node: int, handle: Any) -> None:
        pass

    def destroy(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def descriptors(self, handles: Sequence[Any]) -> tuple[int, ...]:
        return ()

    def restore(self, node: int, described: Any) -> None:
        return None

    def statfs(self, node: int, context: Context) -> Statfs:
        return Statfs()  # umount(8) may ask
