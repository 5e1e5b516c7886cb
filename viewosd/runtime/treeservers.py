"""The processes that serve file trees to a view through FUSE.

Outside of the view, with its owner's rights. Trees that only make things up share one process;
those that work on other mounts get one each, for a process that waits for itself waits for ever. A
server needs no supervisor: it goes on when that dies, and ends with its mounts.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import trio

from ..agent import frames
from .helpers import Helpers, pair

log = logging.getLogger("viewosd")


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
    ) -> int:
        """Serve one more tree at a /dev/fuse descriptor; all descriptors stay the caller's.

        Returns:
            A descriptor that tells whether the tree could be made, for `made`.

        Raises:
            OSError: no process could be started, or too much is asked of one.
        """
        news, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            self._send([tree, arguments], [device, theirs, *descriptors], apart)
        except BaseException:
            os.close(news)
            raise
        finally:
            os.close(theirs)
        return news

    def _send(self, job: list[Any], fds: list[int], apart: bool) -> None:
        if apart:
            end = self._start()
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

    def _start(self) -> socket.socket:
        ours, theirs = pair()
        try:
            self._helpers.fork(b"viewos-tree", lambda: _be_server(theirs), [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours


def _be_server(end: socket.socket) -> None:
    """Serve until nobody asks any more and the last mount is gone."""
    # In a thread of its own: trio has an idea of who runs it in the one that was forked.
    thread = threading.Thread(target=trio.run, args=(_serve, end), name="trees")
    thread.start()
    thread.join()


async def _serve(end: socket.socket) -> None:
    end.setblocking(False)
    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(end)
            job = frames.receive(end)
            if job is None:
                return
            (tree, arguments), (device, news, *descriptors) = job
            nursery.start_soon(_serve_one, device, news, tree, arguments, descriptors)


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


def _tell(news: int, code: int, why: str) -> None:
    with contextlib.suppress(OSError):  # the supervisor has ended
        os.write(news, msgspec.msgpack.encode([code, why[:1000]]))


async def _serve_one(
    device: int, news: int, tree: str, arguments: dict[str, Any], descriptors: list[int]
) -> None:
    from ..fuse.server import serve

    module, _, name = tree.partition(":")
    try:
        try:
            made = getattr(importlib.import_module(module), name)(descriptors, **arguments)
            _tell(news, 0, "")
        except OSError as error:
            _tell(news, error.errno or errno.EIO, error.strerror or str(error))
            return
        except Exception as error:
            _tell(news, errno.EIO, f"tree {tree}: a bug, see the log: {error!r}")
            raise
        finally:
            os.close(news)
        await serve(device, made)
    except Exception:
        # Its mount says ENOTCONN from now on; the others' must not.
        log.exception("tree %s: its server ends", tree)
    finally:
        os.close(device)
