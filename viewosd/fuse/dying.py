"""Whether a thread is being killed. Source: fs/proc/array.c:task_sig(); proc_pid_status(5).

A signal that kills is made SIGKILL for every thread of the process as it is sent, but not always:
kernel/signal.c:complete_signal() leaves it as it is for a thread that has another one pending.
"""

from __future__ import annotations

import signal
from typing import Final

_SIGKILL: Final = 1 << signal.SIGKILL - 1
# What kills nobody by default: signal(7), "Standard signals".
_HARMLESS: Final = sum(
    1 << number - 1
    for number in (
        signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT,
        signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU,
    )
)  # fmt: skip


def is_dying(pid: int) -> bool:
    """False too if it can't be known: 0 is a thread of another pid namespace."""
    if not pid:
        return False
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return kills(file.read())
    except OSError:
        return False


def kills(status: bytes) -> bool:
    """Does a signal wait that ends the process? ``status``: of /proc/pid/status."""
    masks: dict[bytes, int] = {}
    for line in status.splitlines():
        if line.startswith((b"Sig", b"ShdPnd")) and not line.startswith(b"SigQ"):
            name, _, mask = line.partition(b":")
            masks[name] = int(mask, 16)
    pending = masks.get(b"SigPnd", 0) | masks.get(b"ShdPnd", 0)
    kept = masks.get(b"SigBlk", 0) | masks.get(b"SigIgn", 0) | masks.get(b"SigCgt", 0)
    return bool(pending & (_SIGKILL | ~(kept | _HARMLESS)))
