"""The subcommands of ``viewos`` that show something, as a table or with ``--json``."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from viewosd.wire import Notification, Response
from viewosd.wire.verbs import STATS

from .output import VIEW_COLUMNS, as_json, complain, table, user_name, view_row
from .session import Refused, Session, everywhere, locate, result_of


def ls(asked: Namespace) -> None:
    """``viewos ls``: every view of the user, the oldest first."""
    rows: list[dict[str, Any]] = []
    for session in everywhere():
        with session, suppress(ConnectionError):  # ended while we looked
            rows += session.call("views")
    rows.sort(key=lambda row: row["since"])
    if asked.json:
        as_json(rows)
    else:
        table(VIEW_COLUMNS, map(view_row, rows))


def ps(asked: Namespace) -> None:
    """``viewos ps``: /proc tells about the processes, the supervisor only which they are."""
    session, view = locate(asked.view)
    with session:
        pids = session.call("ps", view)["pids"]
    rows = [row for pid in pids if (row := _process(pid)) is not None]
    if asked.json:
        as_json(rows)
    else:
        table(("pid", "ppid", "state", "user", "command"), rows)


def _process(pid: int) -> dict[str, Any] | None:
    """proc(5): /proc/pid/stat and /proc/pid/cmdline. None: it has ended."""
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
        with open(f"/proc/{pid}/stat", "rb") as file:
            before, _, after = file.read().rpartition(b") ")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read().rstrip(b"\0").replace(b"\0", b" ")
    except OSError:
        return None
    state, ppid, *_ = after.split()
    name = b"[" + before.partition(b"(")[2] + b"]"
    return {
        "pid": pid,
        "ppid": int(ppid),
        "state": state.decode(),
        "user": user_name(uid),
        "command": printable(os.fsdecode(command or name)),
    }


def printable(text: str) -> str:
    """One line that can't steer a terminal; bytes that are no UTF-8 stay as they are."""
    return "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else "?" for c in text)


def services(asked: Namespace) -> None:
    """``viewos services``: what is installed; with ``-l`` or a VIEW what is loaded there."""
    if asked.loaded or asked.view is not None:
        session, view = locate(asked.view)
        with session:
            rows = session.call("list", view)
        columns: tuple[str, ...] = ("name", "options", "permanent", "description")
        rows = [{**row, "options": os.fsdecode(row["options"])} for row in rows]
        shown = [{**row, "permanent": "yes" if row["permanent"] else "no"} for row in rows]
    else:
        from .installed import installed

        rows = installed()
        columns = ("name", "description", "options", "distribution")
        shown = [{**row, "options": ", ".join(row["options"])} for row in rows]
    if asked.json:
        as_json(rows)
    else:
        table(columns, shown)


def trace(asked: Namespace) -> None:
    """``viewos trace``: a line per answered call, until the view ends or we are interrupted.

    If the supervisor is replaced meanwhile we go on with its successor.
    """
    session, view = locate(asked.view)
    try:
        while True:
            with session:
                if not _trace(session, view, asked.json):
                    return
            try:
                session = Session(session.serverid)
            except (OSError, Refused):
                return  # the view has ended
            complain("viewos trace", "the supervisor was replaced; calls may be missing here")
    except KeyboardInterrupt:
        pass


def _trace(session: Session, view: int | None, json: bool) -> bool:
    """Until the view ends (False), or the supervisor hangs up (True)."""
    session.start("trace", view)
    messages = session.messages()
    while True:
        with suppress(ConnectionResetError):  # not BrokenPipeError: that is our own reader
            message = next(messages, None)
            if message is None:
                return True
            if isinstance(message, Response):
                result_of(message)
                return False
            if isinstance(message, Notification) and message.verb == "trace":
                _, records, lost = list(message.params)
                for record in records:
                    print(_json_line(record) if json else trace_line(record))
                if lost:
                    complain("viewos trace", f"{lost} calls came too fast to be shown")
                sys.stdout.flush()


def _json_line(record: Mapping[str, Any]) -> str:
    import json

    return json.dumps(record, default=os.fsdecode)


def trace_line(record: Mapping[str, Any]) -> str:
    """``TID COMMAND: CALL = VERDICT  <MICROSECONDS SERVICE>``"""
    command = record["command"]
    if isinstance(command, bytes):
        command = command.decode(errors="backslashreplace")
    by = f" {record['service']}" if record.get("service") else ""
    answer = f"{record['call']} = {record['verdict']}  <{record['us']:.0f} us{by}>"
    return printable(f"{record['tid']} {command}: {answer}")


def stats(asked: Namespace) -> None:
    """``viewos stats``: per call how often, how it was answered, how long that took."""
    session, view = locate(asked.view)
    with session:
        rows = session.call("stats", view)
    if asked.json:
        as_json(rows)
    else:
        table(STATS, rows)


def top(asked: Namespace) -> None:
    """``viewos top``: stats with calls per second, busiest first; once if not on a terminal."""
    session, view = locate(asked.view)
    with session:
        before, then = _counts(session, view), time.monotonic()
        while True:
            time.sleep(asked.interval)
            rows, now = session.call("stats", view), time.monotonic()
            for row in rows:
                row["per_s"] = (row["count"] - before.get(row["call"], 0)) / (now - then)
            rows.sort(key=lambda row: (-row["per_s"], -row["count"]))
            before, then = {row["call"]: row["count"] for row in rows}, now
            if sys.stdout.isatty():
                print("\033[H\033[J", end="")
                rows = rows[: max(os.get_terminal_size().lines - 2, 1)]
            table(("call", "per_s", *STATS[1:]), rows)
            if not sys.stdout.isatty():
                return
            sys.stdout.flush()


def _counts(session: Session, view: int | None) -> dict[str, int]:
    return {row["call"]: row["count"] for row in session.call("stats", view)}
