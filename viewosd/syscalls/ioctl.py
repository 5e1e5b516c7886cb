"""ioctl(2): one call, thousands of meanings. `viewosd.abi.ioctl` takes ``cmd`` apart."""

from __future__ import annotations

from .base import Syscall
from .kinds import Fd, UInt, ULong


class ioctl(Syscall):
    fd: Fd
    request: UInt
    arg: ULong  # a number or an address: the request tells
