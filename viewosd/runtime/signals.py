"""What signals wait for a tracee. Source: proc_pid_status(5), SigPnd to SigCgt; signal(7)."""

from __future__ import annotations

import signal
from typing import Final

IGNORED_BY_DEFAULT: Final = sum(
    1 << s - 1 for s in (signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT)
)


def deliverable(tid: int) -> int:
    """The signals, as a mask, that would interrupt a sleeping system call of this thread now.

    Pending for it or its process, not blocked, not ignored by choice or by default. 0 also when
    the thread is gone.
    """
    masks = {}
    try:
        with open(f"/proc/{tid}/status", "rb", 0) as status:
            for line in status.read().splitlines():
                if line.startswith((b"Sig", b"Shd")):
                    key, _, value = line.partition(b":")
                    if key != b"SigQ":
                        masks[key] = int(value, 16)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    pending = masks[b"SigPnd"] | masks[b"ShdPnd"]
    ignored = masks[b"SigIgn"] | (IGNORED_BY_DEFAULT & ~masks[b"SigCgt"])
    return pending & ~masks[b"SigBlk"] & ~ignored


def interrupted(tid: int) -> bool:
    """Would a signal end a system call that this thread sleeps in?"""
    return deliverable(tid) != 0
