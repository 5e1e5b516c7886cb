"""One seccomp listener: receive, answer, inject. Source: seccomp_unotify(2), kernel/seccomp.c.

Kernel facts met here:

* RECV wants 80 zero bytes, else EINVAL (check_zeroed_user()).
* RECV says ENOENT when the call was withdrawn between poll and RECV, and EINTR when a signal came:
  both are ordinary, and the loop goes on. The end of a listener is POLLHUP and nothing else.
* After poll said IN, one reader's RECV can't sleep: ``requests`` is never counted down on
  withdrawal.
* ENOENT means that a cookie is dead, and EINPROGRESS to an answer that it was answered and its
  thread did not run yet (a dead supervisor may have got that far); on any other error the call
  still waits for us.
* An ADDFD with SEND that a signal interrupts leaves the tracee waiting for ever, or lets its call
  return 0 with nothing installed, on kernels before 832b9b176be0 (September 2026). No signal can
  reach the supervisor but SIGKILL, and that can: so ADDFD and SEND are two steps here.
* SYNC_WAKE_UP is passed by value; a pointer is EINVAL.
"""

from __future__ import annotations

import errno
import os
import select
from fcntl import ioctl
from struct import Struct

from ..abi.seccomp import (
    SECCOMP_IOCTL_NOTIF_ADDFD,
    SECCOMP_IOCTL_NOTIF_ID_VALID,
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_IOCTL_NOTIF_SET_FLAGS,
    SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE,
)
from ..errors import Vanished

RESPONSE = Struct("=QqiI").pack_into  # struct seccomp_notif_resp: cookie, value, error, flags
ANSWER = bytearray(24)
"""Where answers are packed, always the same: `fcntl.ioctl` tries its argument as a writable buffer
first, and one that is not writable costs it an exception, 0.3 µs a call."""
_ADDFD = Struct("=QIIII").pack  # struct seccomp_notif_addfd
_COOKIE = Struct("=Q").pack
_DEAD = (errno.ENOENT, errno.EINPROGRESS)
MAX_ERRNO = 4095  # include/linux/err.h


class Listener:
    """A notification descriptor, owned: closed by `close`.

    ``key`` names it in the journal, so that a successor can tell which listener a cookie is of.
    """

    __slots__ = ("fd", "key")

    def __init__(self, fd: int, key: int) -> None:
        self.fd, self.key = fd, key
        # Linux < 6.6 lacks the flag: then every answer wakes the tracee the slow way.
        with_sync = SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
        try:
            ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, with_sync)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY):
                raise

    def readable(self) -> bool:
        """Does a call wait to be received?"""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return any(events & select.POLLIN for _, events in poll.poll(0))

    def receive(self, slot: memoryview) -> bool:
        """Take one notification into ``slot`` (more than 1024 bytes, the first 80 zero).

        The size makes `fcntl.ioctl` hand the buffer to the kernel uncopied, so that what was
        received is in shared memory before any line of ours runs. False: nothing was there.
        """
        try:
            ioctl(self.fd, SECCOMP_IOCTL_NOTIF_RECV, slot, True)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return False
            raise
        return True

    def go_on(self, cookie: int) -> None:
        """Let the kernel run the call. Raises Vanished."""
        RESPONSE(ANSWER, 0, cookie, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE)
        self._send()

    def give(self, cookie: int, value: int) -> None:
        """The call returns ``value``, any signed 64-bit number. Raises Vanished."""
        RESPONSE(ANSWER, 0, cookie, value, 0, 0)
        self._send()

    def fail(self, cookie: int, code: int) -> None:
        """The call fails with errno ``code``, 0 < code < 4096. Raises Vanished.

        The one place where the sign is turned: the kernel wants a negative number, and takes a
        positive one for success.
        """
        if not 0 < code <= MAX_ERRNO:
            raise ValueError(f"{code} is no errno")
        RESPONSE(ANSWER, 0, cookie, 0, -code, 0)
        self._send()

    def add(self, cookie: int, fd: int, cloexec: bool) -> int:
        """Put a duplicate of ``fd`` into the tracee's table and let it wait on; its number there.

        Raises:
            Vanished: nothing was installed.
            OSError: EMFILE, the tracee's table is full (its RLIMIT_NOFILE).
        """
        # A mutable buffer: only then does fcntl.ioctl return the kernel's result.
        request = bytearray(_ADDFD(cookie, 0, fd, 0, os.O_CLOEXEC if cloexec else 0))
        try:
            return int(ioctl(self.fd, SECCOMP_IOCTL_NOTIF_ADDFD, request, True))
        except OSError as error:
            if error.errno in _DEAD:
                raise Vanished from None
            raise
        except ValueError:
            raise Vanished from None

    def alive(self, cookie: int) -> bool:
        """Does the call still wait? Ask after looking at anything by pid, before using it."""
        try:
            ioctl(self.fd, SECCOMP_IOCTL_NOTIF_ID_VALID, _COOKIE(cookie))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        except ValueError:
            return False
        return True

    def close(self) -> None:
        """Our copy only; the last copy's end makes trapped calls fail with ENOSYS.

        Hooks may still hold calls of it; for them every cookie is dead from now on.
        """
        os.close(self.fd)
        self.fd = -1  # the number may soon be another file's; of -1 ioctl says ValueError

    def _send(self) -> None:
        try:
            ioctl(self.fd, SECCOMP_IOCTL_NOTIF_SEND, ANSWER)
        except OSError as error:
            if error.errno in _DEAD:
                raise Vanished from None
            raise
        except ValueError:
            raise Vanished from None
