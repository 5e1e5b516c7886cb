"""What commands print, and how they end. Errors are one line on stderr: ``COMMAND: what``."""

from __future__ import annotations

import json
import os
import pwd
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from viewosd.keeper.place import PlaceError
from viewosd.wire import CODES, PeerError, UsageError

from .session import NoView, Refused

VIEW_COLUMNS = ("id", "name", "owner", "processes", "services", "since")


class Outside(Exception):
    """A command that only makes sense inside a view was used elsewhere: exit status 2."""


def note(text: object) -> None:
    """Show a line that the supervisor has for the user, if it has one; no error."""
    if text:
        print(f"note: {text}", file=sys.stderr)


def run(prog: str, body: Callable[[list[str]], int | None]) -> int:
    """Run a command on the arguments it was started with.

    Returns:
        The exit status: 0, 1 could not be done, 2 used wrongly or outside a view, or as CODES says.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    try:
        status = body(sys.argv[1:]) or 0
        sys.stdout.flush()
        return status
    except Outside:
        complain(prog, "not inside a view; start one with viewos-run")
        return 2
    except Refused as refused:
        complain(prog, str(refused))
        return CODES[refused.code]
    except NoView as error:
        complain(prog, str(error))
        table(VIEW_COLUMNS, map(view_row, error.views), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Nobody reads our output: end quietly. The interpreter must not try again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except (PlaceError, PeerError, UsageError) as error:
        complain(prog, str(error))
        return 1
    except OSError as error:
        complain(prog, error.strerror or str(error))
        return 1


def complain(prog: str, line: str) -> None:
    """One line on stderr."""
    print(f"{prog}: {line}", file=sys.stderr)


def as_json(what: Any) -> None:
    """What ``--json`` prints: one document, texts that are no UTF-8 escaped."""
    json.dump(what, sys.stdout, indent=2, default=os.fsdecode)
    print()


def table(
    columns: Sequence[str], rows: Iterable[Mapping[str, Any]], file: Any = None, head: bool = True
) -> None:
    """Aligned columns under their names in capitals; numbers to the right; nothing for no rows."""
    listed = [[row[column] for column in columns] for row in rows]
    if not listed:
        return
    texts = [[_text(cell) for cell in row] for row in listed]
    numbers = (int, float, type(None))
    right = [all(isinstance(row[i], numbers) for row in listed) for i in range(len(columns))]
    lines = [[column.upper() for column in columns], *texts] if head else texts
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        )
        print("  ".join(cells).rstrip(), file=file or sys.stdout)


def _text(cell: Any) -> str:
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, float):
        return f"{cell:.1f}"
    return str(cell)


def view_row(view: Mapping[str, Any]) -> dict[str, Any]:
    """A row of "views" as people read it."""
    return {
        **view,
        "owner": user_name(view["owner"]),
        "services": ",".join(view["services"]),
        "since": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(view["since"])),
    }


def user_name(uid: int) -> str:
    """The login name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
