"""Error numbers that user space must never see, and the range of those that it may.

The ordinary ones are in the standard library's errno. Source: include/linux/errno.h; what a
restart does: arch/x86/kernel/signal.c:arch_do_signal_or_restart().
"""

from __future__ import annotations

from typing import Final

# fmt: off
MAX_ERRNO: Final = 4095
"""A return value r is an error when -MAX_ERRNO <= r < 0 (include/linux/err.h)."""

EOVERFLOW:             Final = 75  # asm-generic/errno.h: a structure has no room for a number
ERESTARTSYS:           Final = 512  # restart, unless the handler lacks SA_RESTART: then EINTR
ERESTARTNOINTR:        Final = 513  # restart always
ERESTARTNOHAND:        Final = 514  # restart if there is no handler: else EINTR
ENOIOCTLCMD:           Final = 515  # no ioctl of this driver: ENOTTY
ERESTART_RESTARTBLOCK: Final = 516  # restart by restart_syscall(2), the rest of a timeout
EPROBE_DEFER:          Final = 517
EOPENSTALE:            Final = 518
ENOPARAM:              Final = 519
# fmt: on

RESTARTS: Final = frozenset({ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK})
"""What a debugger sees in the return register of a call that a signal broke off."""
