"""The processes that serve file trees to a view through FUSE, as the supervisor knows them.

Outside of the view, with its owner's rights. Trees that only make things up share one process;
those that work on other mounts get one each, for a process that waits for itself waits for ever. A
server needs no supervisor: it goes on when that dies, ends with its mounts, and is started anew by
a keeper of its own when it is killed (`viewosd.runtime.treekeeper`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import trio

from ..agent import frames
from . import treekeeper
from .captive import name_of
from .helpers import Helpers, pair
from .treeserver import lost_mounts, work

NAME: Final = b"viewos-tree"
"""Of both processes of a tree server."""


class TreeServers:
    """Those that this supervisor has started for one view."""

    def __init__(self, helpers: Helpers) -> None:
        self._helpers = helpers
        self._shared: socket.socket | None = None

    def serve(
        self,
        device: int,
        tree: str,
        arguments: Mapping[str, Any],
        descriptors: Sequence[int],
        *,
        apart: bool,
        st_dev: str = "",
    ) -> int:
        """Serve one more tree at a /dev/fuse descriptor; all descriptors stay the caller's.

        Args:
            st_dev: "major:minor" of the file system, for `lost`.

        Returns:
            A descriptor that tells whether the tree could be made, for `made`.

        Raises:
            OSError: no process could be started, or too much is asked of one.
        """
        news, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            module = sys.modules.get(tree.partition(":")[0])
            job = [tree, getattr(module, "__file__", None) or "", arguments, st_dev]
            self._send(job, [device, theirs, *descriptors], apart)
        except BaseException:
            os.close(news)
            raise
        finally:
            os.close(theirs)
        return news

    def _send(self, job: list[Any], fds: list[int], apart: bool) -> None:
        if apart:
            end = self._start(alone=True)
            try:
                frames.send(end, job, fds)
            finally:
                end.close()
            return
        try:
            if self._shared is None:
                self._shared = self._start()
            frames.send(self._shared, job, fds)
        except (BrokenPipeError, ConnectionResetError):  # somebody has killed it
            self.close()
            self._shared = self._start()
            frames.send(self._shared, job, fds)

    def close(self) -> None:
        """No more trees; those that are served go on."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    def lost(self) -> dict[str, str]:
        """Why file systems can't go on whose servers have died, by "major:minor"."""
        found: dict[str, str] = {}
        for pid in self._helpers.pids():
            if name_of(pid) == NAME.decode():
                with contextlib.suppress(OSError):  # it has ended
                    found |= _told_by(pid)
        return found

    def _start(self, *, alone: bool = False) -> socket.socket:
        ours, theirs = pair()

        def body() -> None:
            treekeeper.keep(theirs, work, alone=alone)

        try:
            self._helpers.fork(NAME, body, [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours


def _told_by(keeper: int) -> dict[str, str]:
    """What is lost of what a tree server serves; it has written that down."""
    for number in sorted(map(int, os.listdir(f"/proc/{keeper}/fd"))):
        path = f"/proc/{keeper}/fd/{number}"
        if os.readlink(path).startswith(f"/memfd:{treekeeper.REGISTRY}"):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return lost_mounts(fd)
            finally:
                os.close(fd)
    return {}


async def made(news: int) -> None:
    """Wait until a tree has been made; closes the descriptor.

    Raises:
        OSError: it could not be, with the reason.
    """
    try:
        await trio.lowlevel.wait_readable(news)
        text = os.read(news, 1 << 12)
    finally:
        trio.lowlevel.notify_closing(news)
        os.close(news)
    code, why = msgspec.msgpack.decode(text) if text else (errno.EIO, "its server has ended")
    if code:
        raise OSError(code, why)
