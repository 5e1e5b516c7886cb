"""A tree server and its keeper without a supervisor, and file systems that it serves."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from helpers.waiting import until
from viewosd.agent import frames
from viewosd.fuse import mount as fuse
from viewosd.keeper.processes import state_of
from viewosd.runtime import treekeeper
from viewosd.runtime.helpers import pair
from viewosd.runtime.treeserver import work
from viewosd.runtime.treeservers import _told_by
from viewosd.testing.mounted import create


class TreeServer:
    """One; trees are named as in `viewosd.space.Space.serve`."""

    def __init__(self, log: Path, *, alone: bool = False) -> None:
        self._log = log
        self._end, theirs = pair()
        self.keeper = os.fork()
        if not self.keeper:
            try:
                self._end.close()
                logger = logging.getLogger("viewosd")
                logger.handlers, logger.propagate = [logging.FileHandler(log)], False
                treekeeper.keep(theirs, work, alone=alone)
                os._exit(0)
            finally:
                os._exit(1)
        theirs.close()

    def serve(
        self, tree: str, descriptors: Sequence[int] = (), st_dev: str = "", **arguments: Any
    ) -> int:
        """The mount, O_PATH; the caller's to close. Raises OSError as the tree did."""
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        news, theirs = os.pipe()
        try:
            mount = create("fuse", [*fuse.options(), fuse.device(device)])
            fds = [device, theirs, *descriptors]
            frames.send(self._end, [tree, "", arguments, st_dev], fds)
        finally:
            os.close(device)
            os.close(theirs)
        try:
            code, why = msgspec.msgpack.decode(os.read(news, 4096))
        finally:
            os.close(news)
        if code:
            os.close(mount)
            raise OSError(code, why)
        return mount

    @property
    def pid(self) -> int:
        """Of the process that serves; 0: there is none just now."""
        children = Path(f"/proc/{self.keeper}/task/{self.keeper}/children").read_text().split()
        return int(children[0]) if children else 0

    def kill(self) -> None:
        """kill -9 of the process that serves."""
        os.kill(until(lambda: self.pid, "a server"), signal.SIGKILL)

    def lost(self) -> dict[str, str]:
        return _told_by(self.keeper)

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def close(self) -> None:
        """Its mounts are closed: it ends by itself."""
        self._end.close()
        until(lambda: state_of(self.keeper) in ("Z", ""), "the end of a tree server")
        assert os.waitstatus_to_exitcode(os.waitpid(self.keeper, 0)[1]) == 0, self.log()


@contextmanager
def tree_server(log: Path, *, alone: bool = False) -> Iterator[TreeServer]:
    """Ended with the block."""
    server = TreeServer(log, alone=alone)
    try:
        yield server
    except BaseException:
        os.kill(server.keeper, signal.SIGKILL)
        os.waitpid(server.keeper, 0)
        raise
    server.close()


@contextmanager
def at(mount: int) -> Iterator[Path]:
    """A path to a mount, which ends with the block."""
    try:
        yield Path(f"/proc/self/fd/{mount}")
    finally:
        os.close(mount)
