"""``viewname`` and ``vuname``: what the view that we are in is called."""

from __future__ import annotations

import argparse
import os

from .output import Outside, run
from .session import Refused, Session, inside


def viewname() -> int:
    """``viewname [-p] [-q] [NEW]``: print the view's name, or change it."""

    def body(args: list[str]) -> int:
        parser = argparse.ArgumentParser("viewname", description=viewname.__doc__)
        parser.add_argument(
            "-p", "--prompt", action="store_true",
            help="for a shell's prompt: NODE[SERVERID:VIEWID] where the view has no name",
        )  # fmt: skip
        parser.add_argument("-q", "--quiet", action="store_true", help="say nothing on errors")
        parser.add_argument("new", metavar="NEW", nargs="?")
        asked = parser.parse_args(args)
        try:
            with _session() as session:
                if asked.new is not None:
                    session.call("name", None, asked.new)
                    return 0
                name = _name(session)
        except (Outside, Refused) as error:
            return _quiet(error, asked.quiet)
        if asked.prompt and not name:
            name = f"{os.uname().nodename}[{session.serverid}:{session.view}]"
        print(name)
        return 0

    return run("viewname", body)


def _session() -> Session:
    session = inside()
    if session is None:
        raise Outside
    return session


def _name(session: Session) -> str:
    return dict(session.views).get(session.view or 0, "")


def _quiet(error: Exception, quiet: bool) -> int:
    if not quiet:
        raise error
    return 2 if isinstance(error, Outside) else 1


_FIELDS = (
    # option, long option, help
    ("s", "kernel-name", "the kernel's name; what is printed without options"),
    ("n", "nodename", "the host's name in the network"),
    ("r", "kernel-release", "the kernel's release"),
    ("v", "kernel-version", "the kernel's version"),
    ("m", "machine", "the machine's hardware name"),
    ("p", "processor", "the processor type, or unknown"),
    ("i", "hardware-platform", "the hardware platform, or unknown"),
    ("o", "operating-system", "the operating system"),
    ("U", "serverid", "the id of the view's server"),
    ("V", "viewid", "the view's id"),
    ("N", "viewname", "the view's name"),
)


def vuname() -> int:
    """Print system and view information, as uname(1) does."""

    def body(args: list[str]) -> int:
        parser = argparse.ArgumentParser("vuname", description=vuname.__doc__)
        parser.add_argument("-a", "--all", action="store_true", help="all, but unknown -p and -i")
        for letter, name, help in _FIELDS:
            parser.add_argument(f"-{letter}", f"--{name}", action="store_true", help=help)
        # View-OS's command is uname(1) outside a view unless -x says no. Here it always says no.
        parser.add_argument("-x", "--nouname", action="store_true", help="accepted, does nothing")
        parser.add_argument("-q", "--quiet", action="store_true", help="say nothing on errors")
        parser.add_argument("--version", action="store_true", help="the version of this command")
        asked = vars(parser.parse_args(args))
        if asked["version"]:
            from .version import version

            print(f"vuname (viewosd) {version()}")
            return 0
        try:
            with _session() as session:
                values = _values(session)
        except (Outside, Refused) as error:
            return _quiet(error, asked["quiet"])
        wanted = [letter for letter, name, _ in _FIELDS if asked[name.replace("-", "_")]]
        if asked["all"]:
            wanted = [
                letter
                for letter, *_ in _FIELDS
                if letter not in "pi" or values[letter] != "unknown"
            ]
        print(" ".join(text for letter in wanted or ["s"] if (text := values[letter])))
        return 0

    return run("vuname", body)


def _values(session: Session) -> dict[str, str]:
    """Option letter to text. uname(2) is asked inside the view, so its services have their say."""
    host = os.uname()
    return {
        "s": host.sysname,
        "n": host.nodename,
        "r": host.release,
        "v": host.version,
        "m": host.machine,
        "p": "unknown",
        "i": "unknown",
        "o": "GNU/Linux/View-OS",
        "U": str(session.serverid),
        "V": str(session.view),
        "N": _name(session),
    }
