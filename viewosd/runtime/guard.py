"""What processes inside may change of a secure view (viewos-run -s): who has the capability.

It must be one of our own user namespace: in one of its own (user_namespaces(7)) anybody has all. So
nobody inside an ordinary user's secure view may change it; its owner may, from outside.
"""

from __future__ import annotations

import os

from ..wire import GUARDED


def capabilities(pid: int) -> int:
    """The effective capabilities of a process, as bits, where they count here; else none."""
    try:
        if not os.path.samestat(os.stat(f"/proc/{pid}/ns/user"), os.stat("/proc/self/ns/user")):
            return 0
        with open(f"/proc/{pid}/status", "rb") as status:
            return next(int(line[7:], 16) for line in status if line.startswith(b"CapEff:"))
    except (OSError, StopIteration):  # it has ended, or we may not look
        return 0


def lacks(verb: str, capabilities: int) -> str:
    """Why a process of a secure view may not ask this; "" if it may."""
    if (needed := GUARDED.get(verb)) is None or capabilities >> needed[0] & 1:
        return ""
    return f"this view was started with -s: from inside, {verb!r} needs {needed[1]}"
