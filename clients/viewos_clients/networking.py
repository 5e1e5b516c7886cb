"""``mstack`` and ``viewos net``: the network stacks of a view. ``msocket`` is for programs."""

from __future__ import annotations

import errno
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any, Final

from viewosd.keeper import inherit
from viewosd.keeper.keeper import Keeper
from viewosd.keeper.plan import Plan, StartError

from .output import complain
from .session import Refused, Session, inside, locate

USAGE: Final = """\
usage: mstack [-hv] [-o PROTOCOL[,PROTOCOL]...] STACK PROG [ARG]...
Run PROG on another network stack of this view, as all that it starts.
  -o   these protocols only: unix, ip, ipv4, ipv6, netlink, packet, bluetooth, all, #NUMBER;
       +ip adds one, -ipv6 takes one away (from all of them, if it comes first)
  -v   tell what is done
"""


def mstack() -> int:
    """``mstack [-hv] [-o PROTOCOLS] STACK PROG [ARG]...``"""
    words, protocols, verbose = sys.argv[1:], [], False
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        if word in ("-h", "--help"):
            print(USAGE, end="")
            return 0
        if word in ("-v", "--verbose"):
            verbose = True
        elif word.startswith("-o") and (word[2:] or words):
            protocols += (word[2:] or words.pop(0)).split(",")
        else:
            complain("mstack", f"{word}: not an option, or without its value; see mstack -h")
            return 2
    if len(words) < 2:
        complain("mstack", "STACK and PROG are needed; see mstack -h")
        return 2
    stack, *argv = words
    session = inside()
    if session is None:
        complain("mstack", "not inside a view; start one with viewos-run")
        return 2
    session.close()
    if verbose:
        chosen = ",".join(protocols) or "all"
        print(f"mstack: {argv[0]} on {stack}, protocols {chosen}", file=sys.stderr)
    asked = {"path": os.fsencode(os.path.abspath(stack)), "protocols": protocols}
    return _keep(argv, session.serverid, asked)


def _keep(argv: list[str], serverid: int, asked: Mapping[str, object]) -> int:
    """Run a program below a process that has the stack, and that stays as long as anybody is below.

    As a branch's root does (`viewosd.keeper`): what the program leaves behind is known by it.
    """
    plan = Plan([os.fsencode(word) for word in argv], inherit.environment())

    def enter() -> None:
        try:
            with Session(serverid) as session:
                _ask(session, "mstack", asked)
        except (Refused, OSError) as error:
            raise StartError(str(error).removeprefix("mstack: ")) from None

    def announce(code: int, text: str) -> None:
        if text:
            complain("mstack", text)

    plan.enter = enter
    return Keeper(plan, announce).run()


def msocket(
    path: str | None, family: int, type: int = socket.SOCK_STREAM, protocol: int = 0
) -> socket.socket | None:
    """A socket on one of the stacks of the view that we are in.

    Args:
        path: where the stack is mounted; None: the view's default.
        family: AF_*; with ``type`` 0 AF_UNSPEC is every one.
        type: SOCK_*; 0 (View-OS's SOCK_DEFAULT): make no socket, but the stack our own, for this
            family, and that of what we start.

    Returns:
        The socket; None for SOCK_DEFAULT.

    Raises:
        OSError: we are in no view, the stack is none, or what socket(2) says.
    """
    session = inside()
    if session is None:
        raise FileNotFoundError(errno.ENOENT, "not inside a view")
    where = b"" if path is None else os.fsencode(os.path.abspath(path))
    asked = {"path": where, "family": family, "type": type, "protocol": protocol}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with session, ours, theirs:
        try:
            failed = _ask(session, "msocket", asked, theirs.fileno())
        except Refused as error:
            raise OSError(errno.EINVAL, str(error)) from None
        if failed:
            raise OSError(failed["errno"], os.strerror(failed["errno"]))
        if not type:
            return None
        _, (fd,), _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=fd)


def _ask(session: Session, what: str, arguments: Mapping[str, object], output: int = 1) -> Any:
    return session.call("ask", session.view, "net", what, arguments, fds=(0, output, 2))


def net(asked: Namespace) -> int:
    """``viewos net [VIEW]``: stacks, their interfaces and addresses."""
    session, id = locate(asked.view)
    with session:
        told = session.call("ask", id, "net", "net", {"json": asked.json}, fds=(0, 1, 2))
    return os.waitstatus_to_exitcode(told["status"])
