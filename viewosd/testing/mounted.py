"""A `FileTree` in the kernel, attached nowhere: for tests that use it as programs would.

    with mounted(lambda: MyTree()) as mount:
        (mount.root / "file").write_bytes(b"x")

It needs the right to mount: root, or a user namespace of one's own in which /dev/fuse may be
opened. No other process sees anything of it.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trio

from ..abi import mount as abi
from ..filetree import FileTree
from ..fuse import mount as fuse
from ..fuse.server import serve
from .unsafe import call

LIMIT_S = 60.0
"""Seconds until a server that does not end by itself is killed."""


class Mount:
    """A file system that is attached nowhere.

    Attributes:
        fd: O_PATH of its root; the file system ends when nobody has it or a file of it.
        root: a path of this process to it. Children get at it by ``pass_fds=[fd]``.
        pid: of its server; 0 if it has none.
    """

    def __init__(self, fd: int, pid: int = 0, log: int = -1) -> None:
        self.fd, self.pid, self._log = fd, pid, log
        self.root = Path(f"/proc/self/fd/{fd}")

    def log(self) -> str:
        """What its server has logged."""
        return os.pread(self._log, 1 << 20, 0).decode()


def create(fstype: str, options: Sequence[fuse.Option] = (), attributes: int = 0) -> int:
    """A new file system's mount: fsopen(2), fsconfig(2), fsmount(2)."""
    context = call("fsopen", fstype.encode(), abi.FSOPEN_CLOEXEC)
    try:
        for name, value in options:
            command = abi.FSCONFIG_SET_FLAG if value is None else abi.FSCONFIG_SET_STRING
            text = value.encode() if isinstance(value, str) else value
            call("fsconfig", context, command, name.encode(), text, 0)
        call("fsconfig", context, abi.FSCONFIG_CMD_CREATE, None, None, 0)
        return call("fsmount", context, abi.FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


@contextmanager
def tmpfs(*options: fuse.Option) -> Iterator[Mount]:
    """An empty tmpfs, to compare with."""
    fd = create("tmpfs", [("mode", "0755"), *options])
    try:
        yield Mount(fd)
    finally:
        os.close(fd)


@contextmanager
def mounted(
    make: Callable[[], FileTree],
    *,
    root_mode: int = 0o040755,
    attributes: int = 0,
    options: Sequence[tuple[str, str | None]] = (),
) -> Iterator[Mount]:
    """Serve a tree from a child until the block ends and nobody uses it any more.

    Args:
        make: called in the child.
        attributes: MOUNT_ATTR_*.
    """
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    log = os.memfd_create("log")
    try:
        given = fuse.options(root_mode=root_mode, uid=os.getuid(), gid=os.getgid(), more=options)
        fd = create("fuse", [*given, fuse.device(device)], attributes)
        pid = os.fork()
        if not pid:
            _be_server(device, fd, log, make)
    finally:
        os.close(device)
    try:
        yield Mount(fd, pid, log)
    finally:
        os.close(fd)
        _end(pid)
        os.close(log)


def _be_server(device: int, fd: int, log: int, make: Callable[[], FileTree]) -> None:
    status = 1
    try:
        os.close(fd)
        os.dup2(log, 2)
        logger = logging.getLogger("viewosd")
        logger.handlers, logger.propagate = [logging.StreamHandler(os.fdopen(log, "w"))], False
        trio.run(serve, device, make())
        status = 0
    finally:
        os._exit(status)


def _end(pid: int) -> None:
    until = time.monotonic() + LIMIT_S
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError("a tree's server had not ended: is one of its files still open?")
        time.sleep(0.005)
