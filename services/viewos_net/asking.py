"""What commands ask of the service: ``mstack``, ``msocket``, ``viewos net``."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from viewosd.errors import ServiceError
from viewosd.service import Handed, Work

from . import protocols
from .stacks import DEFAULT, Stack

if TYPE_CHECKING:
    from .service import Net

SOCK_DEFAULT: Final = 0
"""The socket type with which View-OS's msocket sets the caller's default stack."""


class Mstack(msgspec.Struct, forbid_unknown_fields=True):
    """Give whoever asks, and what it starts, a stack: ``path``; b"" is the view's default."""

    path: bytes
    protocols: list[str]


class Msocket(msgspec.Struct, forbid_unknown_fields=True):
    """A socket on the stack at ``path``; ``type`` SOCK_DEFAULT: make it the caller's own."""

    path: bytes
    family: int
    type: int
    protocol: int


class Show(msgspec.Struct, forbid_unknown_fields=True):
    """List the stacks of the view."""

    json: bool = False


_COMMANDS: Final = {"mstack": Mstack, "msocket": Msocket, "net": Show}


async def answer(net: Net, what: str, arguments: Mapping[str, Any], pid: int) -> Any:
    """Carry a command out.

    Raises:
        ServiceError: it can't be, in one line.
    """
    if what not in _COMMANDS:
        raise ServiceError(f"service {net.name} has no command {what}")
    try:
        asked = msgspec.convert(arguments, _COMMANDS[what])
        if isinstance(asked, Mstack):
            stack = _stack(net, asked.path)
            return await _give(net, pid, protocols.chosen(asked.protocols), stack)
        if isinstance(asked, Msocket):
            return await _msocket(net, pid, asked)
        return await _show(net, asked.json)
    except ValueError as error:
        raise ServiceError(f"{what}: {error}") from None
    except ProcessLookupError:
        raise ServiceError(f"{what}: who asks can't be found from here") from None
    except OSError as error:
        raise ServiceError(f"{what}: {error.strerror}") from None


def _stack(net: Net, path: bytes) -> Stack:
    path = os.path.normpath(path) if path else DEFAULT
    if (stack := net.at(path)) is None:
        raise ValueError(f"{os.fsdecode(path)} is no stack of this view")
    return stack


async def _give(net: Net, pid: int, families: Iterable[int], stack: Stack) -> None:
    if not pid:
        raise ProcessLookupError
    await net.give(pid, families, stack)


async def _msocket(net: Net, pid: int, asked: Msocket) -> Handed | dict[str, int] | None:
    stack = _stack(net, asked.path)
    if asked.type == SOCK_DEFAULT:
        families = [asked.family] if asked.family else protocols.FAMILIES
        await _give(net, pid, families, stack)
        return None
    kind = asked.type & ~socket.SOCK_CLOEXEC
    try:
        return Handed((await net.socket_on(stack, asked.family, kind, asked.protocol),))
    except OSError as error:  # what socket(2) says is the program's to know
        return {"errno": error.errno or errno.EIO}


async def _show(net: Net, as_json: bool) -> Work:
    """A program that asks each namespace, through a netlink socket of it."""
    rows = [stack.told() for stack in net.stacks]
    words = ["--json"] if as_json else []
    argv = (sys.executable, "-P", "-m", "viewos_net.show", *words, json.dumps(rows))
    with contextlib.ExitStack() as undo:
        sockets = []
        for stack in net.stacks:
            sockets.append(await net.netlink(stack))
            undo.callback(os.close, sockets[-1])
        undo.pop_all()
    return Work(argv, tuple(sockets))
