"""Kernel calls that Python's library does not wrap and the keeper needs; see runtime/unsafe.py.

Apart from that file because the keeper must not import the runtime. ctypes costs 3 ms; the rest
here is free.
"""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38

# Source: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
SYS_signalfd4: Final = 74 if os.uname().machine == "aarch64" else 289


def check(result: int, what: str) -> int:
    """The result of a C call, or OSError with the errno that it left."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def prctl(option: int, arg: int = 0) -> int:
    """prctl(2) for options that take one number."""
    return check(libc.prctl(option, ctypes.c_ulong(arg), 0, 0, 0), f"prctl({option})")


def set_name(name: bytes) -> None:
    """The thread's name as ps(1) shows it, at most 15 bytes. PR_SET_NAME(2const)."""
    check(libc.prctl(PR_SET_NAME, ctypes.c_char_p(name[:15]), 0, 0, 0), "prctl(PR_SET_NAME)")


def signalfd(signals: set[int]) -> int:
    """A descriptor that reads blocked signals: signalfd(2), non-blocking and close-on-exec."""
    mask = struct.pack("=Q", sum(1 << s - 1 for s in signals))
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    return check(libc.syscall(SYS_signalfd4, -1, mask, ctypes.c_size_t(8), flags), "signalfd4")


class Execve:
    """execve(2) with its arrays made beforehand: calling it asks the kernel for nothing else.

    os.execve() takes the environment as a mapping, so it can't pass on an entry that is there twice
    or has no "=", and it would ask for memory after a filter is in place.
    """

    def __init__(self, argv: Sequence[bytes], env: Sequence[bytes]) -> None:
        self._argv = (ctypes.c_char_p * (len(argv) + 1))(*argv, None)
        self._env = (ctypes.c_char_p * (len(env) + 1))(*env, None)

    def __call__(self, path: bytes) -> int:
        """The errno; only a failed execve(2) returns."""
        libc.execve(path, self._argv, self._env)
        return ctypes.get_errno()
