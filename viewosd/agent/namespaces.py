"""Make the namespaces of a view, or come into them.

A view of an ordinary user has a user namespace that maps the owner to itself: the owner of it, who
stands outside, may do there what root may, and the programs inside have no capability. A view of
root has none. Its mount namespace is a slave of ours: what the system mounts or unmounts later is
seen inside, and nothing that is mounted inside is seen outside. Source: user_namespaces(7),
mount_namespaces(7).
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from ..abi.mount import MS_REC, MS_SLAVE
from . import unsafe


class Namespaces(NamedTuple):
    """Descriptors of what the programs of a view live in.

    Attributes:
        user: the user namespace; None for root's own.
        mnt: the mount namespace.
        net: the network namespace; None for the one that we are in.
    """

    user: int | None
    mnt: int
    net: int | None = None

    def fds(self) -> set[int]:
        """Those that there are."""
        return {fd for fd in self if fd is not None and fd >= 0}


def make(parent: Namespaces | None, user: bool) -> Namespaces:
    """Put this process, which must have one thread, into namespaces of its own.

    Args:
        parent: of the view that this one is a branch of; it begins with what that one sees.
        user: with a user namespace.

    Raises:
        OSError: what this machine does not allow; the text says it.
    """
    me = os.open(f"/proc/{os.getpid()}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if parent is not None:
            _join(parent)
        if user:
            _own_user(me)
        try:
            unsafe.unshare(unsafe.CLONE_NEWNS)
            unsafe.mount(None, b"/", None, MS_REC | MS_SLAVE)
        except OSError as error:
            raise OSError(error.errno, f"no mount namespace: {_why(error)}") from None
        ours = _open(me, "ns/user") if user else None
        return Namespaces(ours, _open(me, "ns/mnt"))
    finally:
        os.close(me)


def own_user(others: int = 0) -> None:
    """Put this process into a user namespace of its own, in which it is who it is, with all
    capabilities, and into others (CLONE_NEW*) that belong to that.

    Raises:
        OSError: what this machine does not allow; the text says it.
    """
    me = os.open(f"/proc/{os.getpid()}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _own_user(me, others)
    finally:
        os.close(me)


def _own_user(me: int, others: int = 0) -> None:
    uid, gid = os.geteuid(), os.getegid()
    try:
        unsafe.unshare(unsafe.CLONE_NEWUSER | others)
    except OSError as error:
        raise OSError(error.errno, f"no user namespace: {_why(error)}") from None
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        _write(me, name, text)


def come_back(namespaces: Namespaces) -> None:
    """Bring this process, which must have one thread, into namespaces with all rights there."""
    _join(namespaces)


def _join(namespaces: Namespaces) -> None:
    if namespaces.user is not None:
        unsafe.setns(namespaces.user, unsafe.CLONE_NEWUSER)
    if namespaces.net is not None:
        unsafe.setns(namespaces.net, unsafe.CLONE_NEWNET)
    unsafe.setns(namespaces.mnt, unsafe.CLONE_NEWNS)


def enter(namespaces: Namespaces) -> None:
    """Bring this process, which must have one thread, into a view's namespaces, for a program that
    will be executed: without a capability, in the same directory and below the same root by name.

    A directory that has no name there is kept as it is, outside.
    """
    root = _name_of("root")
    cwd = _name_of("cwd")
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    _join(namespaces)
    if root != b"/":
        os.chroot(root)
        cwd = cwd[len(root) :] or b"/" if cwd.startswith(root) else cwd
    with contextlib.suppress(OSError):  # where setns(2) has led us: the root
        try:
            os.chdir(cwd)
        except OSError:
            os.fchdir(here)
    os.close(here)
    if namespaces.user is not None and os.geteuid():
        unsafe.drop_capabilities()


def _name_of(what: str) -> bytes:
    try:
        return os.readlink(f"/proc/self/{what}".encode())
    except OSError:
        return b"/"


def _open(directory: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)


def _write(directory: int, name: str, text: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _why(error: OSError) -> str:
    """unshare(2), in the words of an administrator."""
    import errno

    words = {
        errno.ENOSPC: "too many, or nested too deep (sysctl user.max_user_namespaces)",
        errno.EPERM: "the system forbids it to ordinary users (sysctl "
        "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, a "
        "container), or we are in a chroot",
        errno.EACCES: "the system forbids it to ordinary users",
        errno.EINVAL: "this kernel has none",
        errno.EUSERS: "nested too deep",
    }
    return words.get(error.errno or 0, os.strerror(error.errno or 0))
