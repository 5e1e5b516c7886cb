"""What ``viewos doctor`` tries, each for itself. A probe raises Broken if it does not work.

Probes try the thing itself, in a forked child where it leaves a mark: what a version or a file in
/proc says may be true of the kernel and still not of this container.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from fcntl import ioctl
from typing import Final

from viewosd.abi.seccomp import (
    SECCOMP_ADDFD_FLAG_SEND,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    SECCOMP_IOCTL_NOTIF_ADDFD,
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_IOCTL_NOTIF_SET_FLAGS,
    SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP,
)

from . import unsafe

PATIENCE_S: Final = 20
_ANSWER: Final = 4242


class Broken(Exception):
    """It does not work; the reason, and what to do about it if that depends on the reason."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


@contextlib.contextmanager
def child(body: Callable[[socket.socket], None]) -> Iterator[tuple[int, socket.socket]]:
    """A forked child that runs ``body`` on one end of a socket; its pid and the other end.

    What ``body`` raises comes as a message ``error ERRNO``. It is killed at the end.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            body(theirs)
            theirs.send(b"done")
            theirs.recv(1)  # until the other end closes or we are killed
        except OSError as error:
            with contextlib.suppress(OSError):
                theirs.send(b"error %d" % (error.errno or 0))
        finally:
            os._exit(0)
    theirs.close()
    ours.settimeout(PATIENCE_S)
    try:
        with ours:
            yield pid, ours
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def hear(ours: socket.socket) -> bytes:
    """The child's next message. Raises OSError with the child's own errno."""
    message = ours.recv(64)
    if message.startswith(b"error "):
        code = int(message[6:])
        raise OSError(code, os.strerror(code))
    if not message:
        raise Broken("the child that tried it was killed")
    return message


@contextlib.contextmanager
def listener(flags: int = 0) -> Iterator[tuple[int, socket.socket]]:
    """The listener of a child whose getppid() waits for us, and the child's end of the talk."""

    def body(theirs: socket.socket) -> None:
        fd = unsafe.listen_to_getppid(flags)
        socket.send_fds(theirs, [b"listening"], [fd])
        os.close(fd)
        theirs.send(b"got %d" % unsafe.getppid())

    with child(body) as (_, ours):
        message, fds, _, _ = socket.recv_fds(ours, 64, 1)
        if not fds:
            code = int(message[6:]) if message.startswith(b"error ") else 0
            raise OSError(code, os.strerror(code))
        try:
            yield fds[0], ours
        finally:
            os.close(fds[0])


def receive(fd: int) -> int:
    """Take the notification; its cookie. struct seccomp_notif."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(PATIENCE_S * 1000):
        raise Broken("no notification came")
    notification = bytearray(80)
    ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, notification, True)
    cookie: int = struct.unpack_from("=Q", notification)[0]
    return cookie


def answering(flags: int = 0) -> None:
    """Fork a child, install, RECV once, answer."""
    try:
        with listener(flags) as (fd, ours):
            response = struct.pack("=QqiI", receive(fd), _ANSWER, 0, 0)
            ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, response)
            if (got := hear(ours)) != b"got %d" % _ANSWER:
                raise Broken(f"the answer did not arrive ({got.decode()})")
    except OSError as error:
        raise _why_no_listener(error) from None


def _why_no_listener(error: OSError) -> Broken:
    if error.errno == errno.EBUSY:
        return Broken(
            "another seccomp listener is in the chain already (EBUSY)",
            "leave the container or view that has it, or start it without its seccomp profile",
        )
    if error.errno in (errno.ENOSYS, errno.EPERM, errno.EACCES):
        return Broken(
            f"seccomp(2) is refused ({error.strerror})",
            "if this is a container, allow seccomp(2) in its profile; else use a kernel with "
            "CONFIG_SECCOMP_FILTER",
        )
    return Broken(str(error.strerror), "use Linux 5.9 or later with CONFIG_SECCOMP_FILTER")


def wait_killable() -> None:
    """SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19."""
    answering(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)


def addfd_send() -> None:
    """ADDFD with FLAG_SEND, Linux 5.14: the descriptor's number is the answer."""
    with listener() as (fd, ours), open("/dev/null", "rb") as null:
        flags = SECCOMP_ADDFD_FLAG_SEND
        addfd = bytearray(struct.pack("=QIIII", receive(fd), flags, null.fileno(), 0, 0))
        number = ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, addfd, True)
        if (got := hear(ours)) != b"got %d" % number:
            raise Broken(f"the descriptor did not arrive ({got.decode()})")


def sync_wake_up() -> None:
    """SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6; passed by value."""
    with listener() as (fd, _):
        ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)


def _idle(theirs: socket.socket) -> None:
    """A child that is there and does nothing."""


def getfd() -> None:
    """pidfd_getfd(2) of a child's descriptor."""
    with child(_idle) as (pid, ours):
        hear(ours)
        pidfd = os.pidfd_open(pid)
        try:
            os.close(unsafe.pidfd_getfd(pidfd, 0))
        except OSError as error:
            if error.errno != errno.EBADF:  # our own descriptor 0 is closed: the call works
                raise
        finally:
            os.close(pidfd)


def memory() -> None:
    """process_vm_readv(2) of a child."""
    with child(_idle) as (pid, ours):
        hear(ours)
        unsafe.read_other(pid)


def ptrace() -> None:
    """PTRACE_SEIZE of a child."""
    with child(_idle) as (pid, ours):
        hear(ours)
        try:
            unsafe.ptrace_seize(pid)
        except OSError as error:
            raise Broken(f"{error.strerror} (Yama ptrace_scope is {yama()})") from None


def yama() -> str:
    """/proc/sys/kernel/yama/ptrace_scope: 0 any, 1 descendants, 2 CAP_SYS_PTRACE, 3 nobody."""
    return read("/proc/sys/kernel/yama/ptrace_scope") or "not there"


def user_namespace() -> None:
    """A user and a mount namespace, with ourselves mapped to ourselves."""
    with child(lambda theirs: _become_the_owner()) as (_, ours):
        try:
            hear(ours)
        except OSError as error:
            raise _why_no_namespace(error) from None


def _become_the_owner() -> None:
    """Of namespaces that map ourselves to ourselves."""
    uid, gid = os.getuid(), os.getgid()
    unsafe.unshare(unsafe.CLONE_NEWUSER | unsafe.CLONE_NEWNS)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def overlay() -> None:
    """overlayfs, mounted as a view of ours would: over a tmpfs, in namespaces of its own."""

    def body(theirs: socket.socket) -> None:
        if os.getuid():
            _become_the_owner()
        else:
            unsafe.unshare(unsafe.CLONE_NEWNS)
        unsafe.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, b"")
        unsafe.mount(b"none", b"/tmp", b"tmpfs", 0, b"")
        for name in ("lower", "upper", "work", "at"):
            os.mkdir(f"/tmp/{name}")
        options = b"lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work"
        options += b",userxattr" if os.getuid() else b""
        unsafe.mount(b"none", b"/tmp/at", b"overlay", 0, options)

    with child(body) as (_, ours):
        try:
            hear(ours)
        except OSError as error:
            raise Broken(f"it can't be mounted ({error.strerror})") from None


def _why_no_namespace(error: OSError) -> Broken:
    for path, bad in (
        ("/proc/sys/user/max_user_namespaces", "0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ):
        if read(path) == bad:
            name = path.removeprefix("/proc/sys/").replace("/", ".")
            return Broken(
                f"{error.strerror}: {name} is {bad}", f"ask for another {name}: sysctl(8)"
            )
    return Broken(str(error.strerror), "if this is a container, allow unshare(2) in its profile")


_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18  # include/uapi/linux/mount.h


def openat2() -> None:
    """openat2(2) with RESOLVE_IN_ROOT."""
    os.close(unsafe.openat2(-100, b"/", os.O_PATH | os.O_CLOEXEC, 0x10))


def fuse() -> None:
    """/dev/fuse can be opened."""
    os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))


def read(path: str) -> str:
    """A small file of /proc; "" if it is not there."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
