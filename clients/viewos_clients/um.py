"""View-OS's own commands for services and views, with their options and output.

They are about the view that the caller is in, and say so outside of one (exit status 2).
"""

from __future__ import annotations

import argparse
import os
import sys

from .options import from_here
from .output import Outside, note, run
from .session import NoView, Session, inside


def _session() -> Session:
    session = inside()
    if session is None:
        raise Outside
    return session


def add_service() -> int:
    """``um_add_service [-p] SERVICE[,OPTION]...``"""

    def body(args: list[str]) -> None:
        parser = argparse.ArgumentParser("um_add_service", description="Load a service here.")
        parser.add_argument("-p", "--permanent", action="store_true", help="it can't be removed")
        parser.add_argument("service", metavar="SERVICE[,OPTION]...")
        asked = parser.parse_args(args)
        with _session() as session:
            note(session.call("add", None, service_text(asked.service), asked.permanent))

    return run("um_add_service", body)


def del_service() -> int:
    """``um_del_service NAME``"""

    def body(args: list[str]) -> None:
        parser = argparse.ArgumentParser("um_del_service", description="Remove a service here.")
        parser.add_argument("name", metavar="NAME")
        asked = parser.parse_args(args)
        with _session() as session:
            session.call("del", None, asked.name)

    return run("um_del_service", body)


def ls_service() -> int:
    """``um_ls_service``: a line each, ``NAME: description``, in search order."""

    def body(args: list[str]) -> None:
        parser = argparse.ArgumentParser("um_ls_service", description="List the services here.")
        parser.parse_args(args)
        with _session() as session:
            for row in session.call("list", None):
                print(f"{row['name']}: {row['description']}")

    return run("um_ls_service", body)


def mov_service() -> int:
    """``um_mov_service NAME POSITION``, or ``-p N M``: the N-th becomes the M-th, from 1."""

    def body(args: list[str]) -> None:
        parser = argparse.ArgumentParser(
            "um_mov_service",
            usage="um_mov_service [-h] (NAME | -p N) POSITION",
            description="Change the order in which services are asked.",
        )
        parser.add_argument("-p", "--position", metavar="N", type=int, help="the N-th, not a NAME")
        parser.add_argument("rest", nargs="+", help=argparse.SUPPRESS)
        asked = parser.parse_args(args)
        *name, to = asked.rest
        if len(name) != (asked.position is None):
            parser.error("a NAME (or -p N) and a POSITION are needed")
        if not to.isdecimal():
            parser.error(f"POSITION is a number, 1 the first; not {to}")
        with _session() as session:
            if asked.position is not None:
                name = [_nth(session, asked.position)]
            session.call("mov", None, name[0], max(int(to) - 1, 0))

    return run("um_mov_service", body)


def _nth(session: Session, position: int) -> str:
    rows = session.call("list", None)
    if not 1 <= position <= len(rows):
        raise NoView(f"there is no service {position}: {len(rows)} are loaded")
    return str(rows[position - 1]["name"])


def attach() -> int:
    """``um_attach PID``: pull a process that was started outside into this view."""

    def body(args: list[str]) -> None:
        parser = argparse.ArgumentParser("um_attach", description=attach.__doc__)
        parser.add_argument("pid", metavar="PID", type=int)
        asked = parser.parse_args(args)
        if asked.pid < 1:
            parser.error("PID is a positive number")
        with _session() as session:
            note(session.call("attach", None, asked.pid))

    return run("um_attach", body)


def shutdown() -> int:
    """``umshutdown [SECONDS]``: TERM to all processes of this view, then KILL."""

    def body(args: list[str]) -> None:
        parser = argparse.ArgumentParser("umshutdown", description=shutdown.__doc__)
        parser.add_argument(
            "seconds", metavar="SECONDS", nargs="?", type=seconds, default=30.0,
            help="between the two, 30",
        )  # fmt: skip
        asked = parser.parse_args(args)
        with _session() as session:
            # We are a process of the view ourselves, and our shell waits for us: ask from a
            # process that nobody waits for. The TERM may end it: what it asked for goes on.
            sys.stdout.flush()
            if os.fork():
                return
            os.setsid()
            try:
                session.call("stop", None, asked.seconds)
            finally:
                os._exit(0)

    return run("umshutdown", body)


def service_text(asked: str) -> bytes:
    """SERVICE[,OPTION]... as the supervisor takes it; a service file is found from where we are."""
    return os.fsencode(from_here(asked))


def seconds(text: str) -> float:
    """A duration: for argparse, so it raises what argparse makes a usage error of."""
    value = float(text)
    if not 0 <= value <= 86400 * 365:
        raise ValueError(text)
    return value
