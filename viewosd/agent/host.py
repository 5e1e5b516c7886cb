"""A host: the process in which a FUSE program of somebody else's runs for a view, and its parent.

    host (in a copy of the view's mount namespace)
     ├── program        mounts at the mountpoint's path: nobody else has this namespace
     └── probe          asks the new root for its attributes: the answer says that it is served

What the program has mounted is cloned, sent to the supervisor, which attaches it in the view, and
let go here. So the file system lives as long as it is used in a view; then the program hears of it
and ends as it does after any umount. The program sees what was mounted in the view before it, so an
image may lie there.

The host outlives supervisors. It keeps the image locked, logs what the program says and how it
ends, and answers one question: is the file system gone, and the program only writing back what it
has? It keeps both ends of the conversation; a supervisor takes a duplicate (pidfd_getfd(2)).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import socket
import time
from typing import Final

from ..abi.mount import (
    MNT_DETACH,
    MS_REC,
    MS_SLAVE,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    UMOUNT_NOFOLLOW,
)
from ..keeper.processes import descendants
from ..keeper.unsafe import PR_SET_CHILD_SUBREAPER, prctl, set_name
from . import frames, namespaces, unsafe
from .hosting import MISSING, Job, be_program, device_of, keep_the_log, lock, mounts, text

log = logging.getLogger("viewosd")

START_S: Final = 60.0
"""Seconds until a program must have mounted; one that asks the network may take long."""
KILL_S: Final = 2.0
"""Seconds that a program which is told to end is given."""
TURN_S: Final = 1.0
"""How often is looked whether the supervisor that waits for us still lives."""
KEPT: Final = 4096
"""Bytes of what a program said last that are looked at for its error's text."""
SHOWN: Final = 4
"""Lines that its error's text has."""

LINES: Final = 100
"""Lines of a program in a minute that the log has."""

NAME: Final = b"viewos-fuse"
"""Its name once something is mounted: it may take long to end then."""

GONE: Final = "gone"
"""The one question."""


def serve(end: socket.socket, other: int, ours: namespaces.Namespaces, job: Job) -> None:
    """Be the host of one program, until that has ended.

    Args:
        end: the answer goes there; then it is listened to.
        other: the other end's number, for a supervisor to take.
    """
    keep_the_log()
    try:
        namespaces.come_back(ours)
        for fd in ours.fds():
            os.close(fd)  # the view's mounts would live as long as we
        unsafe.unshare(unsafe.CLONE_NEWNS)
        # What the system unmounts is to go here too, and nothing of ours is to be seen anywhere.
        unsafe.mount(None, b"/", None, MS_REC | MS_SLAVE)
        image = lock(job) if job.source and job.lock else -1
        host = Host(end, job, ours.user is not None, image)
    except OSError as error:
        _refuse(end, error)
        return
    host.run()


class Host:
    """One program, from its start to its end."""

    def __init__(self, end: socket.socket, job: Job, ordinary: bool, image: int) -> None:
        self._end, self._job = end, job
        self._image = image  # locked as long as it is open
        self._before = {number for number, _, _ in mounts()}
        self._supervisor = os.getppid()
        self._said = b""
        self._line = b""
        self._minute = self._lines = 0
        self._probe = 0
        self._mounted = False
        self._device = -1
        self._left = False  # it has ended, and the file system is there
        self._status = 0
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # one that puts itself into the background stays below us
        self._table = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._output, output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._output, False)
        self._program = os.fork()
        if not self._program:
            be_program(job, output, ordinary)
        os.close(output)

    def run(self) -> None:
        until = time.monotonic() + START_S
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._output, select.POLLIN)
        poll.register(self._table, select.POLLERR | select.POLLPRI)
        while True:
            self._look()
            for fd, event in poll.poll(None if self._mounted else TURN_S * 1000):
                if fd == self._wake:
                    os.read(self._wake, 4096)
                elif fd == self._output and not self._hear():
                    poll.unregister(self._output)
                elif fd == self._table and self._mounted:
                    poll.unregister(self._table)
                elif fd == self._end.fileno() and event & select.POLLIN:
                    self._answer()
            was = self._mounted
            if not self._collect():
                self._over()
                return
            if self._mounted and not was:
                poll.register(self._end, select.POLLIN)
            if not self._mounted and (time.monotonic() > until or self._is_alone()):
                self._kill()
                late = f"it has not mounted anything within {START_S:.0f} seconds"
                _refuse(self._end, OSError(errno.ETIMEDOUT, self._why(late)))
                return

    def _is_alone(self) -> bool:
        return os.getppid() != self._supervisor

    # -- what the program does

    def _look(self) -> None:
        """Has it mounted? Then somebody asks for the root's attributes."""
        if self._mounted or self._probe or not self._has_mounted():
            return
        self._probe = os.fork()
        if not self._probe:
            code = errno.EIO
            try:
                signal.set_wakeup_fd(-1)
                os.stat(self._job.target)
                code = 0
            except OSError as error:
                code = error.errno or code
            finally:
                os._exit(code)

    def _has_mounted(self) -> bool:
        return any(
            point == self._job.target and kind.startswith(b"fuse") and number not in self._before
            for number, point, kind in mounts()
        )

    def _collect(self) -> bool:
        """What has ended. False: all has."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if pid == self._probe:
                self._probe = 0
                self._found(os.waitstatus_to_exitcode(status))
                continue
            if pid == self._program:
                self._status = os.waitstatus_to_exitcode(status)
            if self._device >= 0:
                # As long as we have it nobody is told that the server is gone.
                gone = self._gone()
                os.close(self._device)
                self._device = -1
                if not gone:
                    self._device = device_of(descendants(os.getpid()))
                    self._left = self._device < 0

    def _found(self, code: int) -> None:
        """What the probe was told."""
        if code == errno.EIO:  # half an image: all that is asked will fail
            self._kill()
            self._hear()
            why = f"its root directory can't be read: {os.strerror(code)}"
            _refuse(self._end, OSError(code, self._why(why)))
            os._exit(1)
        if code not in _ENDED and not self._mounted:
            self._hand_over()

    def _hand_over(self) -> None:
        target = self._job.target
        flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
        try:
            tree = unsafe.open_tree(unsafe.AT_FDCWD, target, flags)
        except OSError as error:
            self._kill()
            _refuse(self._end, error)
            os._exit(1)
        try:
            unsafe.umount2(target, MNT_DETACH)
        except OSError:  # the program was faster: it has changed its mind, and ends
            os.close(tree)
            return
        self._let_go()
        self._device = device_of(descendants(os.getpid()))
        frames.send(self._end, [0, 0, "", None], [tree])
        os.close(tree)
        # While we had it an umount of it would be EBUSY.
        frames.send(self._end, [0, 0, "", None], [])
        self._mounted = True
        set_name(NAME)

    def _let_go(self) -> None:
        """Other served and overlaid mounts that are copied here would live on after their umount.
        What the image lies on stays, as it would stay busy outside.
        """
        needed = self._job.source or b"/"
        for _, point, kind in reversed(list(mounts())):
            below = point.rstrip(b"/") + b"/"
            if kind.startswith((b"fuse", b"overlay")) and not needed.startswith(below):
                with contextlib.suppress(OSError):  # it is the system's, and locked
                    unsafe.umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW)

    def _hear(self) -> bool:
        """What it says goes to the log; False: it will say no more."""
        try:
            data = os.read(self._output, 1 << 16)
        except BlockingIOError:
            return True
        self._said = (self._said + data)[-KEPT:]
        *lines, self._line = (self._line + data).split(b"\n")
        if not data or len(self._line) > KEPT:
            lines, self._line = [*lines, self._line], b""
        for line in filter(bytes.strip, lines):
            self._log(text(line))
        return bool(data)

    def _log(self, line: str) -> None:
        """One that tells of each call must not fill the disk; -o FILE has all of it."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._lines = minute, 0
        self._lines += 1
        level = logging.INFO if self._lines <= LINES else logging.DEBUG
        log.log(level, "%s: %s", self._job.what, line)
        if self._lines == LINES:
            log.info("%s: and more, for the rest of this minute", self._job.what)

    # -- questions, and the end

    def _gone(self) -> bool:
        """Is the file system gone? Source: fs/fuse/dev.c:fuse_dev_poll()."""
        poll = select.poll()
        poll.register(self._device, 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))

    def _answer(self) -> None:
        question = frames.receive(self._end)
        if question is not None:
            (number, _, _), _ = question
            known = self._device >= 0
            frames.send(self._end, [number, 0, "", self._gone() if known else None], [])

    def _over(self) -> None:
        while self._hear() and select.select([self._output], [], [], 0)[0]:
            pass
        how = f"status {self._status}" if self._status >= 0 else f"signal {-self._status}"
        if self._mounted:
            if self._left:
                how += f": nothing in {text(self._job.target)} answers any more, umount it"
            level = logging.ERROR if self._left or self._status else logging.INFO
            log.log(level, "%s: %s has ended with %s", self._job.what, self._name(), how)
            return
        code = errno.EIO if self._status < 0 else errno.EINVAL
        if self._status == MISSING:
            code = errno.ENOPKG
        _refuse(self._end, OSError(code, self._why(f"it has ended with {how}")))

    def _name(self) -> str:
        return text(os.path.basename(self._job.argv[0]))

    def _why(self, how: str) -> str:
        """The error's text: how it ended, and what it said last."""
        said = [line.strip() for line in text(self._said).splitlines() if line.strip()]
        if len(said) > SHOWN:  # it begins with what is wrong, or ends with it
            said[SHOWN // 2 : -SHOWN // 2] = ["…"]
        return "; ".join([f"{self._name()}: {how}", *said])

    def _kill(self) -> None:
        """End all that was started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            until = time.monotonic() + KILL_S
            while time.monotonic() < until:
                try:
                    if not os.waitpid(-1, os.WNOHANG)[0]:
                        time.sleep(0.01)
                except ChildProcessError:
                    return


_ENDED: Final = (errno.ENOTCONN, errno.ECONNABORTED)
"""What is said of a file system whose server has ended: fs/fuse/dev.c."""


def _refuse(end: socket.socket, error: OSError) -> None:
    code = error.errno or errno.EIO
    with contextlib.suppress(OSError):  # nobody waits any more
        frames.send(end, [0, code, error.strerror or os.strerror(code), None], [])
