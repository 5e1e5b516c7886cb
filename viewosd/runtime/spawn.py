"""Start a program inside a view: fork, put right what differs, install the filter, exec.

The supervisor blocks every signal and all its descriptors are close-on-exec, so what the program
gets is what this file gives it and nothing else.

The listener of a new filter is in the child and has to come to the parent without a system call
that a hook may trap: nobody would answer it. So the child writes its number into memory that both
share, and sleeps in short steps (nanosleep is never trapped) until the parent has fetched it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import resource
import signal
import struct
import time

from viewosd.keeper.unsafe import PR_SET_NO_NEW_PRIVS, Execve, prctl

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final, NoReturn

    from viewosd.agent.namespaces import Namespaces

# The shared memory: how far the child is, the errno that stopped it, its listener's number, and the
# parent's word that it may go on.
_STAGE, _ERRNO, _LISTENER, _GO = range(0, 16, 4)
_INT: Final = struct.Struct("=i")
_SETUP, _FILTER, _READY, _EXEC = range(4)
_STAGES: Final = ("preparing", "installing the filter", "waiting", "exec")
NO_FILTER: Final = {
    errno.EBUSY: "a program around us listens already, and the kernel allows one listener only; "
    "start it outside that sandbox or container",
    errno.EINVAL: "this kernel has no seccomp listeners; Linux 5.9 or later has",
    errno.ENOSYS: "this kernel has no seccomp(2), or a container hides it",
    errno.EPERM: "seccomp(2) is forbidden here, as in some containers",
}
"""What a refused filter means, by errno: seccomp(2)."""
NO_FETCH: Final = {
    errno.EPERM: "pidfd_getfd(2) is forbidden here, as by Yama's ptrace_scope and in some "
    "containers; 'viewos doctor' tells what works",
    errno.ENOSYS: "this kernel has no pidfd_getfd(2), or a container hides it; Linux 5.6 has it",
}
"""Why the listener of another process can't be fetched, by errno: pidfd_getfd(2)."""

_LIMITED: Final = {
    errno.EFBIG: "; the limit of file sizes is too low for a supervisor, see ulimit -f",
    errno.EMFILE: "; the limit of descriptors is too low for a supervisor, see ulimit -n",
    errno.ENOMEM: "; the limit of memory is too low for a supervisor, see ulimit -v and -d",
}
"""What is to be said besides of an error that limits cause, by errno: setrlimit(2)."""

# What execvp(3) goes on from to the next directory of PATH.
_NEXT: Final = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ESTALE, errno.ENODEV}
_DEFAULT_PATH: Final = b"/bin:/usr/bin"
_TIOCSCTTY: Final = 0x540E  # asm-generic/ioctls.h; termios is not loaded for it
_STEP: Final = 0.0002  # seconds
_STEPS: Final = 300_000  # a minute or more: then whoever started us is dead, and so must we be


_LIMITS: Final = {
    which: resource.getrlimit(which) for which in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)
}
"""What we were given, and give on. A memfd has a size, too."""


class Program:
    """What to start and how.

    Args:
        argv: the program, looked for in its own PATH if it has no slash, and its arguments.
        env: "NAME=value" entries as execve(2) takes them.
        fds: numbers in the program and the descriptors of ours they are to be, and no others; None:
            those that are not close-on-exec, as they are.
        cwd: a descriptor of its directory; None: ours.
        sigmask, ignored: signals that are blocked, that are ignored; all others get their default.
        umask: None: ours.
        session: give it a session of its own, and its descriptor 0, if that is a terminal that is
            nobody's, as its controlling terminal; else it is in our process group.

    Attributes:
        namespaces: that it is to be in; None: ours.
    """

    def __init__(
        self,
        argv: Sequence[bytes],
        env: Sequence[bytes],
        *,
        fds: Mapping[int, int] | None = None,
        cwd: int | None = None,
        sigmask: set[int] | None = None,
        ignored: set[int] | None = None,
        umask: int | None = None,
        session: bool = False,
    ) -> None:
        self.argv = list(argv)
        self.env = list(env)
        self.fds = fds
        self.cwd = cwd
        self.sigmask = sigmask or set()
        self.ignored = ignored or set()
        self.umask = umask
        self.session = session
        self.namespaces: Namespaces | None = None

    def candidates(self) -> list[bytes]:
        """The paths that execvp(3) would try."""
        name = self.argv[0]
        if b"/" in name or not name:
            return [name]
        path = next((e[5:] for e in self.env if e.startswith(b"PATH=")), _DEFAULT_PATH)
        return [(d + b"/" if d else b"") + name for d in path.split(b":")]


class Child:
    """A program that was started; its exec need not have happened yet, for a service may hook it.

    Attributes:
        pid, pidfd: the process. Whoever started it has to wait for it.
        listener: of its filter, None without one.
        status: reads as ended once exec has succeeded, or won't; then ask `failure()`.
    """

    def __init__(
        self, program: Program, pid: int, pidfd: int, status: int, shared: mmap.mmap
    ) -> None:
        self.pid, self.pidfd, self.status = pid, pidfd, status
        self.listener: int | None = None
        self._program = program
        self._shared = shared

    def failure(self) -> tuple[int, str] | None:
        """Why exec failed: the exit status that a shell would give, and a line. None: it succeeded
        (or a signal killed the child before; then that is its wait status).

        Once, after `status` has ended; it closes `status`.
        """
        os.close(self.status)
        stage, code = (_INT.unpack_from(self._shared, at)[0] for at in (_STAGE, _ERRNO))
        self._shared.close()
        if not code:
            return None
        if stage != _EXEC:
            return 125, _why(stage, code)
        name = os.fsdecode(self._program.argv[0]) or "''"
        if code == errno.ENOENT and "/" not in name:
            return 127, f"{name}: not found"
        if code == errno.EACCES and os.path.isdir(name):
            code = errno.EISDIR
        return 127 if code == errno.ENOENT else 126, f"{name}: {os.strerror(code)}"


def start(
    program: Program,
    filter_program: bytes | None = None,
    keep: Callable[[int], None] = lambda listener: None,
) -> Child:
    """Start it, under a filter if there is one: an array of struct sock_filter.

    Returns before exec: whoever supervises must serve `listener` while it waits for `status`.

    Args:
        keep: called with the listener before the child goes on: if we die right after that, the
            listener must have been put where a successor finds it.

    Raises:
        OSError: no process could be made, or the filter could not be installed (EBUSY: a filter
            with a listener is in place already; EINVAL, ENOSYS: the kernel can't).
    """
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    status, ours = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(status)
        os.close(ours)
        raise
    if pid == 0:
        _child(program, filter_program, shared, ours)
    os.close(ours)
    try:
        child = Child(program, pid, os.pidfd_open(pid), status, shared)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(status)
        raise
    if filter_program is not None:
        try:
            child.listener = _fetch_listener(child, shared, keep)
        except OSError:
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(child.pidfd)
            os.close(status)
            raise
    return child


def no_start(error: OSError) -> str:
    """What is told where PROG was not even begun."""
    return f"can't start PROG: {error.strerror or error}{_LIMITED.get(error.errno or 0, '')}"


def _why(stage: int, code: int) -> str:
    reason = NO_FILTER.get(code) if stage == _FILTER else None
    return f"{_STAGES[stage]}: {reason or os.strerror(code)}"


def _fetch_listener(child: Child, shared: mmap.mmap, keep: Callable[[int], None]) -> int:
    from .unsafe import pidfd_getfd

    while not (number := _INT.unpack_from(shared, _LISTENER)[0]):
        if code := _INT.unpack_from(shared, _ERRNO)[0]:
            stage = _INT.unpack_from(shared, _STAGE)[0]
            raise OSError(code, _why(stage, code))
        if os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise OSError(errno.ESRCH, "it was killed before its filter was installed")
        time.sleep(_STEP)
    try:
        listener = pidfd_getfd(child.pidfd, number - 1)
    except OSError as error:
        raise OSError(error.errno, NO_FETCH.get(error.errno or 0, error.strerror)) from None
    keep(listener)
    _INT.pack_into(shared, _GO, 1)
    return listener


def _child(
    program: Program, filter_program: bytes | None, shared: mmap.mmap, status: int
) -> NoReturn:
    """The forked child. It never returns into the supervisor's code, whatever happens."""
    try:
        _put_right(program, status)
        paths = program.candidates()
        execve = Execve(program.argv, program.env)
        if filter_program is not None:
            _INT.pack_into(shared, _STAGE, _FILTER)
            listener = _install(filter_program)
            _INT.pack_into(shared, _STAGE, _READY)
            _INT.pack_into(shared, _LISTENER, listener + 1)
            _wait_for_go(shared)
        _INT.pack_into(shared, _STAGE, _EXEC)
        # Last: a signal that came meanwhile takes effect now, as it would have before an exec.
        signal.pthread_sigmask(signal.SIG_SETMASK, program.sigmask)
        _INT.pack_into(shared, _ERRNO, _exec(execve, paths, program))
    except OSError as error:
        _INT.pack_into(shared, _ERRNO, error.errno or errno.EIO)
    except Exception:
        _INT.pack_into(shared, _ERRNO, errno.EIO)
    finally:
        os._exit(127)


def _wait_for_go(shared: mmap.mmap) -> None:
    for _ in range(_STEPS):
        if _INT.unpack_from(shared, _GO)[0]:
            return
        time.sleep(_STEP)
    raise TimeoutError(errno.ETIMEDOUT, "nobody fetched the listener")


def raise_limits() -> None:
    """Let the supervisor have as many descriptors as it may: one for each listener, and more; and
    files of its own that are as large. What it starts gets the limits that we were given.
    """
    for which, (_, hard) in _LIMITS.items():
        with contextlib.suppress(ValueError, OSError):  # the limit of the system is below it
            resource.setrlimit(which, (hard, hard))


def _put_right(program: Program, status: int) -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        action = signal.SIG_IGN if number in program.ignored else signal.SIG_DFL
        signal.signal(number, action)
    if program.session:
        os.setsid()
    if program.umask is not None:
        os.umask(program.umask)
    if program.cwd is not None:
        os.fchdir(program.cwd)
    if program.namespaces is not None:
        from viewosd.agent.namespaces import enter

        enter(program.namespaces)
    if program.fds is not None:
        _arrange(program.fds, status)
    if program.session:
        # A terminal that controls no session becomes the new one's: TIOCSCTTY, ioctl_tty(2).
        with contextlib.suppress(OSError):
            fcntl.ioctl(0, _TIOCSCTTY, 0)
    for which, limits in _LIMITS.items():  # last: what is ours may lie above
        resource.setrlimit(which, limits)


def _arrange(fds: Mapping[int, int], status: int) -> None:
    """Give descriptors their numbers. First out of the way: a number may be another's source."""
    above = max((*fds, *fds.values(), status, 2)) + 1
    moved = {n: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for n, fd in fds.items()}
    if status in fds:
        # Its end is the news that exec has happened; it must go with exec and not before.
        fcntl.fcntl(status, fcntl.F_DUPFD_CLOEXEC, above)
    for number, fd in moved.items():
        os.dup2(fd, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in fds:
            with contextlib.suppress(OSError):  # the one that lists the directory
                os.set_inheritable(int(name), False)


def _install(filter_program: bytes) -> int:
    from viewosd.abi.seccomp import (
        SECCOMP_FILTER_FLAG_NEW_LISTENER,
        SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    )

    from .unsafe import seccomp_install

    def install(flags: int) -> int:
        try:
            return seccomp_install(filter_program, flags)
        except PermissionError:
            # The kernel's condition for everybody but root: seccomp(2), EACCES. Not set before it
            # is asked for: set-uid programs work in the views of root.
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            return seccomp_install(filter_program, flags)

    try:
        return install(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a kernel before 5.19 does not know the second flag
            raise
        return install(SECCOMP_FILTER_FLAG_NEW_LISTENER)


def _exec(execve: Execve, paths: Sequence[bytes], program: Program) -> int:
    """The errno to report, as execvp(3) chooses it; it returns only if every path failed."""
    worst = errno.ENOENT
    for path in paths:
        code = execve(path)
        if code == errno.ENOEXEC:
            # A script without "#!". execvp(3) gives it to the shell, and so do env(1) and nice(1).
            return Execve([b"/bin/sh", path, *program.argv[1:]], program.env)(b"/bin/sh")
        if b"/" in program.argv[0]:
            return code
        if code == errno.EACCES:
            worst = code
        elif code not in _NEXT:
            return code
    return worst
