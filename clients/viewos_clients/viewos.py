"""``viewos SUBCOMMAND``: look at views and change them, from inside and outside."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from . import listing, mounting
from .output import complain, note, run
from .session import locate
from .um import seconds, service_text

Body = Callable[[Namespace], int | None]
Argument = tuple[tuple[str, ...], dict[str, Any]]


class Subcommand:
    """One row: what it does, what it is called with, who carries it out.

    ``raw``: the usage of one whose words are not looked at here, for they may be another program's;
    they are ``asked.rest`` then.
    """

    __slots__ = ("arguments", "body", "help", "raw")

    def __init__(self, body: Body, help: str, *arguments: Argument, raw: str = "") -> None:
        self.body, self.help, self.arguments, self.raw = body, help, arguments, raw


def _arg(*names: str, **options: Any) -> Argument:
    return names, options


def _add(asked: Namespace) -> None:
    session, view = locate(asked.view)
    with session:
        note(session.call("add", view, service_text(asked.service), asked.permanent))


def _del(asked: Namespace) -> None:
    session, view = locate(asked.view)
    with session:
        session.call("del", view, asked.service)


def _mov(asked: Namespace) -> None:
    session, view = locate(asked.view)
    with session:
        session.call("mov", view, asked.service, max(asked.position - 1, 0))


def _name(asked: Namespace) -> None:
    session, view = locate(asked.view)
    with session:
        if asked.new is not None:
            session.call("name", view, asked.new)
            return
        if view is None:
            view = session.view
        print(dict(session.views).get(view or 0, ""))


def _stop(asked: Namespace) -> None:
    session, view = locate(asked.view)
    # With its last process the supervisor ends as well, with or without an answer.
    with session, suppress(ConnectionError):
        session.call("stop", view, asked.seconds)


def _attach(asked: Namespace) -> None:
    session, view = locate(asked.view)
    with session:
        note(session.call("attach", view, asked.pid))


def _exec(asked: Namespace) -> int:
    from .execute import execute

    return execute(asked.rest)


def _doctor(asked: Namespace) -> int:
    from .doctor import doctor

    return doctor(asked.json)


def _net(asked: Namespace) -> int:
    from .networking import net

    return net(asked)


def _layers(asked: Namespace) -> int | None:
    from . import layers

    bodies: dict[str, Body] = {
        "diff": layers.diff,
        "commit": layers.commit,
        "discard": layers.discard,
        "layers": layers.layers,
    }
    return bodies[asked.subcommand](asked)


_JSON = _arg("--json", action="store_true", help="as JSON, for programs")
_WHICH = _arg("view", metavar="VIEW", nargs="?", help="SERVERID, SERVERID:ID or its name")
_OF = _arg("-V", "--view", metavar="VIEW", help="SERVERID, SERVERID:ID or its name")
_LAYER = (
    _OF,
    _arg("--layer", metavar="LAYER", help="one of no view: a directory, or @NAME"),
    _arg("--target", metavar="DIRECTORY", help="what LAYER lies over, if it does not say so"),
    _arg("paths", metavar="[VIEW] [PATH]", nargs="*", help="these, and what is below them"),
)

SUBCOMMANDS: Final[dict[str, Subcommand]] = {
    "ls": Subcommand(listing.ls, "list the views", _JSON),
    "ps": Subcommand(listing.ps, "list a view's processes", _WHICH, _JSON),
    "services": Subcommand(
        listing.services,
        "list what is installed, or what a view has loaded",
        _arg("-l", "--loaded", action="store_true", help="what VIEW has loaded, in search order"),
        _WHICH,
        _JSON,
    ),
    "add": Subcommand(
        _add,
        "load a service",
        _arg("-p", "--permanent", action="store_true", help="it can't be removed"),
        _arg("service", metavar="SERVICE[,OPTION]..."),
        _OF,
    ),
    "del": Subcommand(_del, "remove a service", _arg("service", metavar="NAME"), _OF),
    "mov": Subcommand(
        _mov,
        "change the search order",
        _arg("service", metavar="NAME"),
        _arg("position", metavar="POSITION", type=int, help="1 is asked first"),
        _OF,
    ),
    "mount": Subcommand(
        mounting.mount,
        "mount in a view; alone, the same as mounts",
        *mounting.MOUNT_OPTIONS,
        _arg("words", metavar="SOURCE DIRECTORY [VIEW]", nargs="*"),
        _OF,
        _JSON,
    ),
    "umount": Subcommand(
        mounting.umount,
        "unmount in a view",
        *mounting.UMOUNT_OPTIONS,
        _arg("directory", metavar="DIRECTORY"),
        _WHICH,
    ),
    "net": Subcommand(_net, "list the network stacks of a view", _WHICH, _JSON),
    "mounts": Subcommand(mounting.mounts, "list what services have mounted", _WHICH, _JSON),
    "exec": Subcommand(
        _exec,
        "run PROG in a view; at a terminal it has one of its own",
        raw="[VIEW] -- PROG [ARG]...",
    ),
    "attach": Subcommand(
        _attach, "pull a process into a view", _arg("pid", metavar="PID", type=int), _WHICH
    ),
    "name": Subcommand(
        _name, "print a view's name, or change it", _arg("new", metavar="NEW", nargs="?"), _OF
    ),
    "trace": Subcommand(listing.trace, "show calls as they are answered", _WHICH, _JSON),
    "stats": Subcommand(listing.stats, "how often, how answered, how fast", _WHICH, _JSON),
    "top": Subcommand(
        listing.top,
        "stats, again and again",
        _arg("-n", "--interval", metavar="SECONDS", type=seconds, default=1.0, help="1"),
        _WHICH,
    ),
    "diff": Subcommand(
        _layers,
        "what a copy-on-write layer changed",
        _arg("--patch", action="store_true", help="as a patch for patch(1) and git apply"),
        *_LAYER,
        _JSON,
    ),
    "commit": Subcommand(
        _layers,
        "carry a copy-on-write layer's changes out",
        _arg("--force", action="store_true", help="overwrite what was changed outside meanwhile"),
        *_LAYER,
    ),
    "discard": Subcommand(_layers, "forget a copy-on-write layer's changes", *_LAYER),
    "layers": Subcommand(_layers, "list the layers that have a name", _JSON),
    "stop": Subcommand(
        _stop,
        "end all processes of a view",
        _WHICH,
        _arg("seconds", metavar="SECONDS", type=seconds, nargs="?", default=30.0, help="30"),
    ),
    "doctor": Subcommand(_doctor, "try what works on this machine, and say why not", _JSON),
}


def usage() -> str:
    """What ``viewos help`` prints."""
    rows = "".join(f"  {name:<9} {row.help}\n" for name, row in SUBCOMMANDS.items())
    return (
        "usage: viewos SUBCOMMAND [ARG]...\n\n"
        f"{rows}\nWithout VIEW: the view you are in; outside, the only one there is.\n"
        "'viewos SUBCOMMAND -h' tells more.\n"
    )


def main() -> int:
    """``viewos SUBCOMMAND [ARG]...``; the exit status."""
    args = sys.argv[1:]
    if args and args[0] in ("help", "-h", "--help"):
        args = [*args[1:2], "-h"] if args[1:] else []
        if not args:
            print(usage(), end="")
            return 0
    if args == ["--version"]:
        from .version import version

        print(f"viewos (viewosd) {version()}")
        return 0
    if not args or args[0] not in SUBCOMMANDS:
        complain("viewos", f"no such subcommand: {args[0]}" if args else "which SUBCOMMAND?")
        print("usage: viewos SUBCOMMAND [ARG]...; 'viewos help' lists them", file=sys.stderr)
        return 2
    name = args[0]
    row = SUBCOMMANDS[name]

    def body(_: list[str]) -> int | None:
        parser = ArgumentParser(f"viewos {name}", description=row.help)
        for names, options in row.arguments:
            parser.add_argument(*names, **options)
        rest = args[1:]
        if not row.raw:
            asked = parser.parse_intermixed_args(rest)
        else:
            parser.usage = f"viewos {name} {row.raw}"
            if rest[:1] in (["-h"], ["--help"]):
                parser.print_help()
                return 0
            asked = Namespace(rest=rest)
        asked.subcommand = name
        return row.body(asked)

    return run(f"viewos {name}", body)
