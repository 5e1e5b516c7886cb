"""Bring a program that already runs into the namespaces of its view: setns(2), injected.

The thread makes the calls itself, and does not know of them afterwards. Kernel facts met here
(setns(2), user_namespaces(7)):

* A user namespace can be entered by a process with one thread only. So a multi-threaded program of
  an ordinary user stays outside; it has what it had, and its next program comes in.
* A mount namespace is a thread's own as soon as that shares no directory with others (CLONE_FS). A
  multi-threaded program of root gives that up, so a later chdir(2) is its thread's alone.
* setns(2) leads to the root directory; the old directory is looked for by its name.
* Who was in our network namespace comes into the one of the view; who has another one keeps it.
* With the user namespace come all capabilities in it, which are given up at once.
"""

from __future__ import annotations

import os
from collections.abc import Container
from typing import Final

from ..abi.capability import (
    LINUX_CAPABILITY_U32S_3,
    LINUX_CAPABILITY_VERSION_3,
    cap_user_data,
    cap_user_header,
)
from ..agent.unsafe import CLONE_FS, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER
from ..tracee import AT_FDCWD
from . import memory
from .captive import CannotStop, Captive
from .injection import Injection
from .rewrite import Rewriter
from .space import ViewSpace

_OPEN: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NO_CAPABILITY: Final = (
    cap_user_data(effective=0, permitted=0, inheritable=0).pack() * LINUX_CAPABILITY_U32S_3
)


class Outside(Exception):
    """A process stays outside; the text says why."""


def enter(
    pid: int,
    captives: dict[int, Captive],
    rewriter: Rewriter,
    space: ViewSpace,
    origins: Container[str],
) -> None:
    """Bring a process whose threads all stand still into a view's namespaces.

    Args:
        origins: the mount namespaces (`mnt_of`) that it may come from; any other one it has made
            itself.

    Raises:
        Outside: it can't be; it is as it was.
        ProcessLookupError: it is gone.
    """
    try:
        now = mnt_of(pid)
        if now == mnt_of(space.agent()):
            return
        if now not in origins:
            raise Outside("it has a mount namespace of its own")
        if os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid"):
            raise Outside("it has a pid namespace of its own")
        threads = len(os.listdir(f"/proc/{pid}/task"))
        if threads > 1 and space.ordinary:
            raise Outside(f"it has {threads} threads, and the kernel lets in only one")
        if not all(captive.stopped for captive in captives.values()):
            raise Outside("a thread of it sleeps uninterruptibly")
        for captive in captives.values():
            _bring(captive, rewriter, space, alone=threads == 1)
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    except CannotStop as error:
        raise Outside(str(error)) from None


def _bring(captive: Captive, rewriter: Rewriter, space: ViewSpace, *, alone: bool) -> None:
    root = os.readlink(f"/proc/{captive.tid}/root".encode())
    cwd = os.readlink(f"/proc/{captive.tid}/cwd".encode())
    if root != b"/" and cwd.startswith(root):
        cwd = cwd[len(root) :] or b"/"
    header = cap_user_header(version=LINUX_CAPABILITY_VERSION_3, pid=0).pack()
    parts = [b".\0", root + b"\0", cwd + b"\0", header, _NO_CAPABILITY]
    address = rewriter.region(captive, sum(len(part) + 8 for part in parts))
    places = []
    for part in parts:
        places.append(address)
        memory.write(captive.tid, address, part)
        address += len(part) + 7 & ~7
    here, root_at, cwd_at, header_at, data_at = places
    with Injection(captive, rewriter.let_pass) as inside:
        call = inside.syscall
        agent = _checked(call("pidfd_open", space.agent(), 0), "pidfd_open")
        back = call("openat", AT_FDCWD & 0xFFFF_FFFF_FFFF_FFFF, here, _OPEN)
        try:
            if not alone:
                _checked(call("unshare", CLONE_FS), "unshare")
            kinds = CLONE_NEWNS | (CLONE_NEWUSER if space.ordinary else 0)
            if space.namespaces.net is not None and net_of(captive.tid) == net_of(os.getpid()):
                kinds |= CLONE_NEWNET
            _checked(call("setns", agent, kinds), "setns")
            if root != b"/":
                call("chroot", root_at)
            if call("chdir", cwd_at) < 0:
                call("fchdir", back)
            if space.ordinary and os.geteuid():
                call("capset", header_at, data_at)
        finally:
            call("close", agent)
            if back >= 0:
                call("close", back)


def _checked(result: int, name: str) -> int:
    if result < 0:
        raise CannotStop(f"{name}(2) says {os.strerror(-result)} to it")
    return result


def mnt_of(pid: int) -> str:
    """The mount namespace that a process is in. Raises FileNotFoundError: it is gone."""
    return os.readlink(f"/proc/{pid}/ns/mnt")


def net_of(pid: int) -> str:
    """The network namespace that a process or thread is in. Raises FileNotFoundError."""
    return os.readlink(f"/proc/{pid}/ns/net")
