"""What a tree tells the kernel unasked. Source: fs/fuse/dev.c:fuse_notify().

Such a write waits in the kernel for locks of directories and pages, and who holds them may be
waiting for this very tree. So it is made by a thread of its own, in the order of the asking.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from queue import SimpleQueue

import trio

from ..abi import fuse as abi
from ..filetree import Data
from .codec import header


class Notifier:
    """`viewosd.filetree.Kernel` for one mount. The thread starts with the first notification.

    It has a descriptor of its own and is not waited for: it may hang in a write for as long as
    the mount lives.
    """

    def __init__(self, device: int) -> None:
        self._device = device
        self._queue: SimpleQueue[tuple[bytes, trio.lowlevel.TrioToken | None, int] | None] = (
            SimpleQueue()
        )
        self._wanted: dict[int, _Wanted] = {}
        self._last = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def inval_entry(self, parent: int, name: bytes) -> None:
        body = abi.fuse_notify_inval_entry_out(parent, len(name), 0).pack() + name + b"\0"
        self._send(abi.FUSE_NOTIFY_INVAL_ENTRY, body)

    def inval_inode(self, node: int, offset: int = 0, length: int = 0) -> None:
        body = abi.fuse_notify_inval_inode_out(node, offset, length).pack()
        self._send(abi.FUSE_NOTIFY_INVAL_INODE, body)

    def delete(self, parent: int, node: int, name: bytes) -> None:
        body = abi.fuse_notify_delete_out(parent, node, len(name)).pack() + name + b"\0"
        self._send(abi.FUSE_NOTIFY_DELETE, body)

    def poll(self, kh: int) -> None:
        """Who sleeps in poll(2) on a file is to look again."""
        self._send(abi.FUSE_NOTIFY_POLL, abi.fuse_notify_poll_wakeup_out(kh).pack())

    async def retrieve(self, node: int, offset: int, size: int) -> bytes:
        self._last += 1
        unique, wanted = self._last, _Wanted()
        self._wanted[unique] = wanted
        try:
            body = abi.fuse_notify_retrieve_out(unique, node, offset, size).pack()
            self._send(abi.FUSE_NOTIFY_RETRIEVE, body, trio.lowlevel.current_trio_token(), unique)
            await wanted.there.wait()
        finally:
            del self._wanted[unique]
        return wanted.data

    def retrieved(self, unique: int, data: bytes) -> None:
        """What somebody waits for in `retrieve` has come."""
        if (wanted := self._wanted.get(unique)) is not None:
            wanted.data = data
            wanted.there.set()

    def store(self, node: int, offset: int, data: Data) -> None:
        body = abi.fuse_notify_store_out(node, offset, len(data)).pack() + bytes(data)
        self._send(abi.FUSE_NOTIFY_STORE, body)

    def close(self) -> None:
        """No more."""
        self._closed = True
        self._queue.put(None)

    def _send(
        self, code: int, body: bytes, token: trio.lowlevel.TrioToken | None = None, unique: int = 0
    ) -> None:
        """Args: token, unique: of who waits in `retrieve`."""
        if self._closed:
            return
        self._queue.put((header(0, len(body), code) + body, token, unique))
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, args=(os.dup(self._device),), name="fuse notify", daemon=True
            )
            self._thread.start()

    def _work(self, device: int) -> None:
        while (item := self._queue.get()) is not None:
            message, token, unique = item
            try:
                os.write(device, message)
            except OSError:
                # Not known there (any more), or the mount is gone: nothing is left to do.
                if token is not None:
                    with suppress(trio.RunFinishedError):
                        token.run_sync_soon(self.retrieved, unique, b"")
        os.close(device)


class _Wanted:
    """What `Notifier.retrieve` waits for."""

    def __init__(self) -> None:
        self.there, self.data = trio.Event(), b""
