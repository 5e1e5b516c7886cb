"""Files that the kernel reads and writes itself, in place of a tree: FUSE_PASSTHROUGH, Linux 6.9.

While a node is open so, all its openings must be of one such file: fs/fuse/iomode.c. So there is
one for each node, given up with the last handle. Source: fs/fuse/backing.c.
"""

from __future__ import annotations

import fcntl
import logging
import struct
from dataclasses import dataclass

from ..abi.fuse import FUSE_DEV_IOC_BACKING_CLOSE, FUSE_DEV_IOC_BACKING_OPEN, fuse_backing_map

log = logging.getLogger("viewosd")


@dataclass
class _Used:
    """A file: the kernel's number of it, and how many handles use it."""

    number: int
    count: int = 0


class Backings:
    """Those of one mount, by node."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._used: dict[int, _Used] = {}
        self._refused = False

    def take(self, node: int, fd: int) -> int:
        """Have a node's contents be those of ``fd``, for one more handle; 0: it can't be."""
        if (used := self._used.get(node)) is None:
            if self._refused:
                return 0
            try:
                asked = bytearray(fuse_backing_map(fd, 0).pack())
                number = fcntl.ioctl(self._device, FUSE_DEV_IOC_BACKING_OPEN, asked)
            except PermissionError:  # of who has no CAP_SYS_ADMIN it will always be
                log.info("files go through the server: passing them through takes CAP_SYS_ADMIN")
                self._refused = True
                return 0
            except OSError:  # ELOOP: it lies on a file system that is stacked itself
                return 0
            used = self._used[node] = _Used(number)
        used.count += 1
        return used.number

    def restore(self, node: int, number: int) -> None:
        """A dead server had a handle with it; the kernel has the file still."""
        self._used.setdefault(node, _Used(number)).count += 1

    def give(self, node: int) -> None:
        """One handle less that has it."""
        used = self._used[node]
        used.count -= 1
        if not used.count:
            del self._used[node]
            fcntl.ioctl(self._device, FUSE_DEV_IOC_BACKING_CLOSE, struct.pack("=I", used.number))
