"""Bugs that others had with notifications, signals, descriptors and memory, T1 to T26."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import struct
import subprocess
import termios
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from helpers.rig import rig, serve, syscall, until
from viewosd.abi.utsname import new_utsname
from viewosd.core.traps import FilterError, traps_of
from viewosd.service import HookSpec
from viewosd.syscalls import base
from viewosd.syscalls.host import uname
from viewosd.syscalls.ioctl import ioctl
from viewosd.syscalls.paths import Open, openat
from viewosd.syscalls.process import Exec, getpgid, getppid
from viewosd.syscalls.sockets import connect
from viewosd.verdict import CONTINUE, InjectFd, Return, Verdict


async def test_t02_what_is_injected_is_what_was_looked_at_whatever_the_path_says_by_then() -> None:
    """Perform, don't permit: another thread changes the path between look and use."""

    def answer(call: Any, tracee: Any) -> Verdict | None:
        path = tracee.read_str(call.path)
        if not path.startswith(b"/dev/"):
            return None
        if path != b"/dev/null":
            return Return(-errno.EACCES)
        return InjectFd(os.open(b"/dev/null", os.O_RDONLY))

    def closure() -> set[str]:
        path = ctypes.create_string_buffer(b"/dev/null")
        stop = threading.Event()

        def flip() -> None:
            while not stop.is_set():
                for name in (b"/dev/zero", b"/dev/null"):
                    ctypes.memmove(path, name, 9)

        thread = threading.Thread(target=flip)
        thread.start()
        ends = set()
        for _ in range(300):
            if (fd := syscall("openat", -100, path, 0)) >= 0:
                ends.add(os.readlink(f"/proc/self/fd/{fd}"))
                os.close(fd)
        stop.set()
        thread.join()
        return ends

    async with rig(serve(openat, answer)) as view:
        assert await view.ask(closure) <= {"/dev/null"}


async def test_t03_a_pinned_socket_stays_what_it_was_when_its_number_is_given_to_another(
    tmp_path: Path,
) -> None:
    pinned, go = trio.Event(), trio.Event()
    families = []

    async def answer(call: Any, tracee: Any) -> Verdict:
        with tracee.fd(call.fd) as fd:
            pinned.set()
            await go.wait()
            with socket.socket(fileno=os.dup(fd)) as ours:
                families.append(ours.family)
        return Return(0)

    def closure() -> None:
        one, other = socket.socket(socket.AF_INET), socket.socket(socket.AF_UNIX)
        number = one.fileno()

        def swap() -> None:
            while not os.path.exists(flag):
                os.sched_yield()
            os.dup2(other.fileno(), number)
            Path(flag + ".done").touch()

        thread = threading.Thread(target=swap)
        thread.start()
        syscall("connect", number, bytes(16), 16)
        thread.join()
        one.detach()

    flag = str(tmp_path / "flag")
    async with rig(serve(connect, answer)) as view:
        tracee = view.call(closure)
        await pinned.wait()
        (tmp_path / "flag").touch()
        await until((tmp_path / "flag.done").exists)
        go.set()
        await tracee.result()
    assert families == [socket.AF_INET]


async def test_t06_a_call_that_is_gone_before_it_is_received_does_not_end_the_loop() -> None:
    """crun 526, sysbox, sandlock: ENOENT from RECV retired the whole supervisor."""
    async with rig(serve(getppid, lambda c, t: Return(7))) as view:
        for _ in range(30):
            # The loop does not turn between these lines, so the call is never received.
            tracee = view.call(lambda: syscall("getppid"))
            listener = next(reversed(view.pump.listeners.values()))
            while not listener.readable():
                os.sched_yield()
            tracee.kill()
            while listener.readable():
                os.sched_yield()
            await tracee.wait()
        assert await view.ask(lambda: syscall("getppid")) == 7


async def test_t06_a_call_that_a_signal_took_before_it_was_received_does_not_end_the_loop() -> None:
    def closure() -> int:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        return syscall("getppid")

    async with rig(serve(getppid, lambda c, t: Return(7))) as view:
        tracee = view.call(closure)
        listener = next(iter(view.pump.listeners.values()))
        while not listener.readable():
            os.sched_yield()
        tracee.kill(signal.SIGUSR1)
        while tracee.output == b"":
            os.sched_yield()
        assert await tracee.result() == -errno.EINTR
        assert await view.ask(lambda: syscall("getppid")) == 7


async def test_t07_t08_calls_one_after_the_other_share_a_window() -> None:
    async with rig(serve(getpgid, lambda c, t: Return(int(c.pid) * 2))) as view:
        got = await view.ask(lambda: [syscall("getpgid", n) for n in range(1000)])
        assert got == [n * 2 for n in range(1000)]


@pytest.mark.parametrize(
    "name",
    [
        "close",
        "close_range",
        "dup",
        "dup2",
        "dup3",
        "fork",
        "vfork",
        "clone",
        "clone3",
        "exit",
        "exit_group",
        "futex",
        "rt_sigreturn",
        "rt_sigaction",
        "rt_sigprocmask",
        "restart_syscall",
        "nanosleep",
        "pipe",
        "pipe2",
        "brk",
    ],
)
def test_t13_calls_that_must_not_be_interrupted_can_not_be_trapped(name: str) -> None:
    with pytest.raises(FilterError, match=f"{name} can't be hooked"):
        traps_of([HookSpec(base.TABLE[name])])


@pytest.mark.skipif(not os.path.exists("/bin/dash"), reason="needs dash")
async def test_t13_pipelines_of_a_shell_do_not_hang() -> None:
    """sandlock 235: dash's SIGCHLD handler against trapped calls; every third pipeline hung."""
    script = "i=0; while [ $i -lt 100 ]; do echo $i | cat | cat; i=$((i+1)); done | wc -l"
    services = (
        serve(Open, lambda c, t: CONTINUE, name="a"),
        serve(Exec, lambda c, t: CONTINUE, name="b"),
    )
    async with rig(*services) as view:
        assert await view.run(["/bin/dash", "-c", script]).text() == "100\n"


async def test_t18_close_on_exec_is_as_the_call_asked() -> None:
    def answer(call: Any, tracee: Any) -> Verdict | None:
        if tracee.read_str(call.path) != b"/nowhere":
            return None
        return InjectFd(os.open("/dev/null", os.O_RDONLY), bool(call.flags & os.O_CLOEXEC))

    def closure() -> list[bool]:
        return [
            os.get_inheritable(syscall("openat", -100, b"/nowhere", flags))
            for flags in (os.O_CLOEXEC, 0)
        ]

    async with rig(serve(openat, answer)) as view:
        assert await view.ask(closure) == [False, True]


async def test_t19_t20_each_process_is_asked_for_its_own_descriptors() -> None:
    """sandlock f9eeda3: the first child's pidfd was used for its grandchildren."""
    found = []

    def answer(call: Any, tracee: Any) -> Verdict:
        with tracee.fd(int(call.pid)) as fd:
            found.append(os.pread(fd, 10, 0))
        return Return(0)

    def closure() -> None:
        def one(generation: int) -> None:
            fd = os.memfd_create("own")
            os.write(fd, b"%d" % generation)
            os.dup2(fd, 500)
            syscall("getpgid", 500)
            if generation < 4:
                if (pid := os.fork()) == 0:
                    one(generation + 1)
                    os._exit(0)
                os.waitpid(pid, 0)
            syscall("getpgid", 500)

        one(0)

    async with rig(serve(getpgid, answer)) as view:
        await view.ask(closure)
    assert found == [b"0", b"1", b"2", b"3", b"4", b"4", b"3", b"2", b"1", b"0"]


async def test_t22_a_number_that_is_used_again_means_the_new_file() -> None:
    found = []

    def answer(call: Any, tracee: Any) -> Verdict:
        with tracee.fd(int(call.pid)) as fd:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        return Return(0)

    def closure() -> None:
        for path in ("/dev/null", "/dev/zero", "/dev/null"):
            fd = os.open(path, os.O_RDONLY)
            os.dup2(fd, 400)
            syscall("getpgid", 400)
            os.close(400)

    async with rig(serve(getpgid, answer)) as view:
        await view.ask(closure)
    assert found == ["/dev/null", "/dev/zero", "/dev/null"]


async def test_t25_names_are_bytes(tmp_path: Path) -> None:
    """sandlock: a name that is no UTF-8 became "no path"."""
    name = bytes(tmp_path) + b"/\xff\xfe\x80\n"
    seen = []

    def answer(call: Any, tracee: Any) -> Verdict | None:
        seen.append(tracee.read_str(call.path))
        return None

    async with rig(serve(openat, answer)) as view:
        await view.ask(lambda: syscall("openat", -100, name, os.O_CREAT | os.O_RDWR, 0o600))
    assert seen == [name]
    assert os.path.exists(name)


@pytest.mark.parametrize("flags", [(), ("-m32",)])
async def test_t26_a_structure_has_the_layout_of_its_program(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    program = build(tmp_path, "uname(&u); puts(u.nodename);", flags)
    words = (b"L", b"inside", b"r", b"v", b"m", b"d")
    name = new_utsname(*(w.ljust(65, b"\0") for w in words))

    def answer(call: Any, tracee: Any) -> Verdict:
        tracee.write_struct(call.buf, name)
        return Return(0)

    async with rig(serve(uname, answer)) as view:
        assert await view.run([program]).text() == "inside\n"


def build(directory: Path, body: str, flags: tuple[str, ...]) -> str:
    """Compile a main function that has a struct utsname u."""
    path = directory / "program"
    source = f"int main(void){{struct utsname u; {body} return 0;}}"
    source = "#include <stdio.h>\n#include <sys/utsname.h>\n" + source
    words = ["gcc", *flags, "-x", "c", "-", "-o", path]
    if subprocess.run(words, input=source, text=True, capture_output=True).returncode:
        pytest.skip("needs gcc" + ("-multilib" if flags else ""))
    return str(path)


async def test_cve_2019_7303_the_upper_half_of_an_int_hides_nothing() -> None:
    """snapd compared an ioctl's request as 64 bits; the kernel looks at 32."""
    async with rig(
        serve(ioctl, lambda c, t: Return(-errno.EPERM), request=termios.TIOCSTI)
    ) as view:
        got = await view.ask(
            lambda: [
                syscall("ioctl", 0, termios.TIOCSTI | upper << 32, b"x") for upper in (0, 1, 0x7FFF)
            ]
        )
        assert got == [-errno.EPERM] * 3


async def test_sandlock_80_a_failed_injection_is_never_continued() -> None:
    """A full table made ADDFD fail, and the error path let the call through: an escape."""

    def answer(call: Any, tracee: Any) -> Verdict | None:
        if tracee.read_str(call.path) != b"/etc/hostname":
            return None
        return InjectFd(os.open("/dev/null", os.O_RDONLY))

    def closure() -> int:
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 4096))
        try:
            while True:
                os.dup(0)
        except OSError:
            return syscall("openat", -100, b"/etc/hostname", 0)

    async with rig(serve(openat, answer)) as view:
        assert await view.ask(closure) == -errno.EMFILE


async def test_incus_3637_a_call_of_a_thread_that_is_no_leader_is_served_in_full() -> None:
    outcomes = []

    def answer(call: Any, tracee: Any) -> Verdict:
        with tracee.fd(0):
            outcomes.append((tracee.pid != tracee.tid, bool(tracee.cwd), tracee.umask >= 0))
        tracee.write(int(call.pid), struct.pack("q", 5))
        return Return(0)

    def closure() -> int:
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        low = libc.mmap(ctypes.c_void_p(0x1000_0000), 4096, 3, 0x32, -1, 0)
        thread = threading.Thread(target=syscall, args=("getpgid", low))
        thread.start()
        thread.join()
        return ctypes.c_long.from_address(low).value

    async with rig(serve(getpgid, answer)) as view:
        assert await view.ask(closure) == 5
    assert outcomes == [(True, True, True)]
