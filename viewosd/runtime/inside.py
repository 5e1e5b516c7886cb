"""What an i386 program asks through socketcall(2) and ipc(2), whose arguments lie in its memory."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..abi.sysno_i386 import SYSNO_I386
from ..core.routing import Route, Routes
from ..errors import Vanished
from ..syscalls.base import Syscall
from ..syscalls.ipccall import decode_ipc
from ..syscalls.socketcall import block_size, decode_block
from . import memory

_SOCKETCALL: Final = SYSNO_I386["socketcall"]
_IPC: Final = SYSNO_I386["ipc"]


class Inside(NamedTuple):
    """A call that was found, and the address where its result goes; 0: it is returned."""

    route: Route
    call: Syscall
    result_at: int = 0


def look(routes: Routes, tid: int, nr: int, args: tuple[int, ...]) -> Inside | None:
    """The call inside call ``nr`` of thread ``tid``; None: nobody wants it, or it can't be read,
    which the kernel says itself.
    """
    try:
        if nr == _SOCKETCALL:
            number = args[0] & 0xFFFF_FFFF
            if (route := routes.socketcall.get(number)) is not None:
                block = memory.read(tid, args[1] & 0xFFFF_FFFF, block_size(number))
                return Inside(route, decode_block(number, block))
        elif nr == _IPC and (route := routes.ipc.get(args[0] & 0xFFFF)) is not None:
            found = decode_ipc(args, lambda at: int.from_bytes(memory.read(tid, at, 4), "little"))
            if found is not None:
                return Inside(route, *found)
    except (OSError, Vanished):
        pass
    return None
