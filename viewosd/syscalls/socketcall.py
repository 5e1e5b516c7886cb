"""What is inside i386's socketcall(2): sub-call to class, and how to decode it.

Source: include/uapi/linux/net.h, SYS_*; net/socket.c, nargs[].
"""

from __future__ import annotations

import struct
from typing import Final

from ..abi.arch import Arch
from .base import Syscall
from .sockets import (
    accept,
    accept4,
    bind,
    connect,
    getpeername,
    getsockname,
    getsockopt,
    listen,
    recv,
    recvfrom,
    recvmmsg,
    recvmsg,
    send,
    sendmmsg,
    sendmsg,
    sendto,
    setsockopt,
    shutdown,
    socket,
    socketpair,
)

SOCKETCALL: Final[dict[int, type[Syscall]]] = {
    1: socket,
    2: bind,
    3: connect,
    4: listen,
    5: accept,
    6: getsockname,
    7: getpeername,
    8: socketpair,
    9: send,
    10: recv,
    11: sendto,
    12: recvfrom,
    13: shutdown,
    14: setsockopt,
    15: getsockopt,
    16: sendmsg,
    17: recvmsg,
    18: accept4,
    19: recvmmsg,
    20: sendmmsg,
}
"""The first register of socketcall(2) to the call that it means."""


def block_size(number: int) -> int:
    """Bytes of the arguments block of sub-call ``number``: 4 for every argument."""
    return 4 * len(SOCKETCALL[number].registers)


def decode_block(number: int, block: bytes) -> Syscall:
    """The call inside, from its arguments block of `block_size` bytes.

    Raises:
        KeyError: there is no such sub-call (the kernel says EINVAL).
        ValueError: the block is too short.
    """
    call, size = SOCKETCALL[number], block_size(number)
    if len(block) < size:
        raise ValueError(f"{call.__name__}: {len(block)} bytes of arguments, it takes {size}")
    args = struct.unpack_from(f"={size // 4}I", block)
    return call.decode((*args, *(0,) * (6 - len(args))), Arch.I386)
