"""Whether a thread is being killed. Source: fs/proc/array.c; proc_pid_status(5).

A signal that kills is made SIGKILL for every thread of the process as it is sent:
kernel/signal.c:complete_signal().
"""

from __future__ import annotations

from typing import Final

_SIGKILL: Final = 1 << 8  # signal 9 in a mask


def is_dying(pid: int) -> bool:
    """False too if it can't be known: 0 is a thread of another pid namespace."""
    if not pid:
        return False
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    masks = (line.split()[1] for line in lines if line.startswith((b"SigPnd:", b"ShdPnd:")))
    return any(int(mask, 16) & _SIGKILL for mask in masks)
