"""viewos-run (kmview, umview): run a program in a new view."""

from __future__ import annotations

import contextlib
import os
import sys

from viewosd.keeper import inherit, place
from viewosd.keeper.detach import run_detached
from viewosd.keeper.keeper import Keeper
from viewosd.keeper.plan import Plan

from . import branch
from .options import USAGE, OptionError, Options, home

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_SYSTEM_RC = "/etc/viewosrc"


def main() -> NoReturn:
    """The command; it exits without Python's tidying up, which would cost more than a fork."""
    status = 125
    try:
        status = _main(sys.argv)
    except KeyboardInterrupt:
        status = 130
    except Exception as error:
        os.write(2, os.fsencode(f"viewos-run: a fault of its own: {error!r}\n"))
    finally:
        os._exit(status)


def _main(words: list[str]) -> int:
    inherit.guard_standard()
    me = os.path.basename(words[0]) if words else ""
    me = me if me in ("kmview", "umview") else "viewos-run"

    def say(text: str) -> None:
        with contextlib.suppress(OSError):  # nobody can be told; the exit status says it too
            os.write(2, os.fsencode(f"{me}: {text}\n"))

    try:
        options = Options.parse(words[1:])
        if options.show:
            os.write(1, (USAGE if options.show == "help" else _version(me)).encode())
            return 0
        plan = _plan(options, say)
        place.directory()
    except (OptionError, place.PlaceError) as error:
        say(str(error))
        return 125

    def announce(code: int, text: str) -> None:
        if text:
            say(text)

    if (serverid := branch.enclosing()) is not None:
        plan.enter = lambda: branch.enter(serverid, plan)
    try:
        return run_detached(plan, announce) if plan.detach else Keeper(plan, announce).run()
    except place.PlaceError as error:
        say(str(error))
        return 125


def _plan(options: Options, say: Callable[[str], None]) -> Plan:
    try:
        env = inherit.environment()
    except OSError:
        raise OptionError(
            "/proc is not mounted here, and no view can do without; mount -t proc proc /proc"
        ) from None
    plan = Plan([os.fsencode(word) for word in options.argv], env)
    plan.viewname = options.viewname
    plan.steps = options.steps
    plan.rc = [os.fsencode(path) for path in _rc(options, say)]
    plan.secure, plan.nonesting = options.secure, options.nonesting
    plan.quiet, plan.detach = options.quiet, options.detach
    if options.output:
        try:
            plan.log = os.open(options.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise OptionError(f"{options.output}: {error.strerror}") from None
    return plan


def _rc(options: Options, say: Callable[[str], None]) -> list[str]:
    """/etc/viewosrc, then the user's. Those two need not exist; one that was named must.

    Raises:
        OptionError: the named file is missing or can't be executed.
    """
    defaults = [] if options.no_rc else [_SYSTEM_RC]
    if options.rc is None and not options.no_rc and (own := home()):
        defaults.append(f"{own}/.viewosrc")
    found = []
    for path in defaults:
        if os.access(path, os.X_OK) and os.path.isfile(path):
            found.append(path)
        elif os.path.lexists(path) and not options.quiet:
            say(f"{path} is not executable and was skipped; chmod +x {path}")
    if options.rc is not None:
        if not os.path.isfile(options.rc):
            raise OptionError(f"{options.rc}: no such file")
        if not os.access(options.rc, os.X_OK):
            raise OptionError(f"{options.rc} is not executable; an rc file is a program: chmod +x")
        # From where we are: the program is not looked for in PATH.
        found.append(os.path.join(".", options.rc))
    return found


def _version(me: str) -> str:
    from .version import version

    return f"{me} (viewosd) {version()}\n"
