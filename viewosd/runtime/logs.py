"""Where a supervisor writes what went wrong: it has no terminal of its own.

The file of ``-o`` if there is one, else SERVERID.log beside the control socket, made with the first
line that is written, and left there: somebody will want to know.
"""

from __future__ import annotations

import logging

from ..keeper import place
from ..keeper.plan import Plan


class _File(logging.FileHandler):
    """Made by the first line. Where it can't be made (no descriptor is free, the disk is full) that
    line is lost: what it was about must not become worse by it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            pass


def start(plan: Plan) -> None:
    """Send the log of the supervisor and its services to the view's file."""
    handler: logging.Handler
    if plan.log >= 0:
        handler = logging.StreamHandler(open(plan.log, "w", closefd=False))
    else:
        handler = _File(place.log_path(plan.serverid), delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if plan.log >= 0 else logging.INFO)
