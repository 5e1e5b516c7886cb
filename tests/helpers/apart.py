"""Work in a process of its own: as somebody else, among mounts that nobody else sees."""

from __future__ import annotations

import ctypes
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 0x40000


def checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def private_mounts() -> None:
    """Mounts of this process are nobody else's from now on."""
    checked(_libc.unshare(CLONE_NEWNS))
    checked(_libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))


def mount(source: bytes, target: bytes, fstype: bytes, options: bytes) -> None:
    checked(_libc.mount(source, target, fstype, ctypes.c_ulong(0), options))


def in_child(work: Callable[[], Any], uid: int | None = None) -> Any:
    """What a function returns, run in a process of its own, as somebody else if need be."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(ours)
            if uid is not None:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            result: Any = (True, work())
        except BaseException:
            result = (False, traceback.format_exc())
        try:
            with os.fdopen(theirs, "wb") as pipe:
                pickle.dump(result, pipe)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    good, result = pickle.loads(data)
    assert good, result
    return result
