"""The `Rewrite` verdict: another call runs in the tracee instead of the one that it made."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from helpers.rig import libc, rig, serve, syscall, until
from viewosd.core.stats import FAILED, REWRITTEN
from viewosd.runtime import rewrite as rewrite_module
from viewosd.runtime.unsafe import ptrace
from viewosd.syscalls.memory import mmap
from viewosd.syscalls.paths import Open, openat
from viewosd.syscalls.process import Exec, execve, getpgid, getpid, getppid
from viewosd.verdict import CONTINUE, Return, Rewrite, Verdict

OLD, NEW = b"/nowhere/old", b"/dev/null"


def redirect(call: Any, tracee: Any) -> Verdict | None:
    """Open NEW where OLD is asked for."""
    if tracee.read_str(call.path) == OLD:
        return Rewrite(call.replace(path=NEW))
    return None


def opened(path: bytes = OLD, flags: int = 0) -> str:
    """Where an open ends, or the errno's name."""
    fd = syscall("openat", -100, path, flags)
    if fd < 0:
        return errno.errorcode[-fd]
    name = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return name


async def test_a_call_runs_with_another_path() -> None:
    async with rig(serve(Open, redirect)) as view:
        assert await view.ask(opened) == "/dev/null"
        assert view.view.stats.calls["openat"].counts[REWRITTEN] == 1


async def test_an_async_hook_rewrites_as_well() -> None:
    async def later(call: Any, tracee: Any) -> Verdict | None:
        await trio.sleep(0.001)
        return redirect(call, tracee)

    async with rig(serve(Open, later)) as view:
        assert await view.ask(lambda: [opened() for _ in range(20)]) == ["/dev/null"] * 20


async def test_the_rewritten_call_is_not_asked_again() -> None:
    asked = []

    def again(call: Any, tracee: Any) -> Verdict:
        asked.append(tracee.read_str(call.path))
        return Rewrite(call.replace(path=NEW))

    async with rig(serve(Open, again)) as view:
        assert await view.ask(lambda: [opened(b"/a"), opened(b"/b")]) == ["/dev/null"] * 2
        assert asked == [b"/a", b"/b"]
        assert not view.pump.answers.rewriter.expected


async def test_numbers_are_replaced_too() -> None:
    def other(call: Any, tracee: Any) -> Verdict | None:
        return Rewrite(call.replace(pid=0)) if call.pid == 1234567 else None

    async with rig(serve(getpgid, other)) as view:
        assert await view.ask(lambda: syscall("getpgid", 1234567)) == os.getpgid(0)


async def test_another_call_may_run() -> None:
    async with rig(serve(getppid, lambda c, t: Rewrite(getpid.make(c.arch)))) as view:
        tracee = view.call(lambda: syscall("getppid"))
        assert await tracee.result() == tracee.pid


async def test_another_call_that_is_trapped_itself_is_not_asked() -> None:
    async with rig(
        serve(getppid, lambda c, t: Rewrite(getpid.make(c.arch))),
        serve(getpid, lambda c, t: Return(1), name="other"),
    ) as view:
        tracee = view.call(lambda: (syscall("getppid"), syscall("getpid")))
        assert await tracee.result() == (tracee.pid, 1)


async def test_long_strings_have_room() -> None:
    long = b"/" + b"/".join([b"."] * 2040) + b"/dev/null"

    def lengthen(call: Any, tracee: Any) -> Verdict | None:
        return Rewrite(call.replace(path=long)) if tracee.read_str(call.path) == OLD else None

    async with rig(serve(Open, lengthen)) as view:
        assert await view.ask(lambda: [opened() for _ in range(10)]) == ["/dev/null"] * 10


def echo(call: Any, tracee: Any) -> Verdict | None:
    """Execute /bin/echo with arguments and environment of ours, where /nowhere/old is asked for."""
    if tracee.read_str(call.path) != OLD:
        return None
    argv = tracee.read_strs(call.argv)
    env = tracee.read_strs(call.envp)
    new = [b"sh", b"-c", b'printf "%s " "$@"; echo "$ADDED"', *argv]
    return Rewrite(call.replace(path=b"/bin/sh", argv=new, envp=[*env, b"ADDED=yes"]))


async def test_an_execve_gets_another_program_arguments_and_environment() -> None:
    async with rig(serve(execve, echo)) as view:
        assert await view.run([OLD, b"one", b"two"], {"A": "b"}).text() == "one two yes\n"


async def test_an_execve_with_megabytes_of_arguments() -> None:
    async with rig(serve(execve, echo)) as view:
        words = ["x" * 1000] * 500
        assert len(await view.run([OLD, *words]).text()) == 500 * 1001 + len("yes\n")


async def test_vfork_children_are_rewritten_and_their_parents_memory_does_not_grow() -> None:
    """subprocess and posix_spawn exec in a child that shares its parent's memory."""

    def closure() -> tuple[set[str], int]:
        def regions() -> int:
            return len(Path("/proc/self/maps").read_text().splitlines())

        outputs, before = set(), 0
        for n in range(60):
            run = subprocess.run([OLD, "a"], capture_output=True, text=True, close_fds=False)
            outputs.add(run.stdout)
            if n == 5:
                before = regions()
        return outputs, regions() - before

    async with rig(serve(execve, echo)) as view:
        outputs, growth = await view.ask(closure)
        assert outputs == {"yes\n"} or outputs == {"a yes\n"} or len(outputs) == 1
        assert growth < 5


async def test_vfork_children_of_several_threads_do_not_get_each_others_strings() -> None:
    """They share one memory, and one parent."""

    def other(call: Any, tracee: Any) -> Verdict | None:
        path = tracee.read_str(call.path)
        if not path.startswith(b"/nowhere/"):
            return None
        return Rewrite(call.replace(path=b"/bin/echo", argv=[b"echo", path]))

    def closure() -> list[bool]:
        good: list[bool] = []

        def spawn(n: int) -> None:
            for i in range(15):
                name = f"/nowhere/{n}-{i}"
                run = subprocess.run([name], capture_output=True, text=True, close_fds=False)
                good.append(run.stdout == name + "\n")

        threads = [threading.Thread(target=spawn, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return good

    async with rig(serve(execve, other)) as view:
        good = await view.ask(closure)
        assert len(good) == 120
        assert all(good)


def in_threads(count: int, function: Callable[[int], Any], stack: int = 0) -> list[Any]:
    results: list[Any] = [None] * count
    if stack:
        threading.stack_size(stack)

    def one(n: int) -> None:
        results[n] = function(n)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


async def test_threads_rewrite_at_once_each_its_own_path(tmp_path: Path) -> None:
    for n in range(16):
        (tmp_path / str(n)).write_text(str(n))

    def other(call: Any, tracee: Any) -> Verdict | None:
        path = tracee.read_str(call.path)
        if path.startswith(OLD):
            return Rewrite(call.replace(path=bytes(tmp_path) + path[len(OLD) :]))
        return None

    def one(n: int) -> list[bytes]:
        out = []
        for _ in range(20):
            fd = syscall("openat", -100, OLD + b"/%d" % n, 0)
            out.append(os.read(fd, 10))
            os.close(fd)
        return out

    async with rig(serve(openat, other)) as view:
        results = await view.ask(lambda: in_threads(16, one))
        assert results == [[b"%d" % n] * 20 for n in range(16)]


async def test_threads_that_come_and_go_reuse_the_memory_of_the_dead() -> None:
    def closure() -> int:
        def regions() -> int:
            return len(Path("/proc/self/maps").read_text().splitlines())

        in_threads(4, lambda n: opened())
        before = regions()
        for _ in range(40):
            in_threads(4, lambda n: opened())
        return regions() - before

    async with rig(serve(openat, redirect)) as view:
        assert await view.ask(closure) < 16


SMALL_STACK = r"""
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static void *thread(void *arg) {
    volatile char edge[8] = "intact";
    int fd = syscall(SYS_openat, AT_FDCWD, "/nowhere/old", O_RDONLY);
    char c[8];
    int n = read(fd, c, sizeof c);
    printf("%d %d %s\n", fd > 2, n, edge);
    return 0;
}
int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN);
    for (int i = 0; i < 8; i++) {
        pthread_t t;
        if (pthread_create(&t, &attr, thread, 0)) return 1;
        pthread_join(t, 0);
    }
    return 0;
}
"""

OPEN_32 = r"""
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    for (int i = 0; i < 20; i++) {
        int fd = syscall(SYS_openat, AT_FDCWD, "/nowhere/old", O_RDONLY);
        char c[8];
        if (fd < 0) return errno;
        if (read(fd, c, sizeof c) != 0) return 100;
        close(fd);
    }
    puts("good");
    fflush(stdout);
    if (argc == 1) {
        char *args[] = {argv[0], "again", 0};
        char *env[] = {0};
        execve("/nowhere/myself", args, env);
        return errno;
    }
    return 0;
}
"""

INT_80 = r"""
#include <stdio.h>
#include <sys/mman.h>
#include <string.h>
int main(void) {
    char *low = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    strcpy(low, "/nowhere/old");
    long fd;
    for (int i = 0; i < 3; i++) {
        __asm__ volatile("int $0x80" : "=a"(fd)
            : "0"(295L), "b"(-100L), "c"(low), "d"(0L), "S"(0L) : "memory", "r8", "r9", "r10", "r11");
        printf("%d ", (int)fd > 2);
    }
    return 0;
}
"""


@pytest.fixture(scope="session")
def cc(scratch: Path) -> Callable[..., str]:
    """Compile a source; the executable's path."""

    def compiled(source: str, *flags: str) -> str:
        path = scratch / f"cc-{abs(hash((source, flags)))}"
        if not path.exists():
            words = ["gcc", "-O1", "-w", *flags, "-x", "c", "-", "-o", path, "-lpthread"]
            done = subprocess.run(words, input=source, capture_output=True, text=True)
            if done.returncode and "-m32" in flags:
                pytest.skip("needs a 32-bit C library (gcc-multilib)")
            assert done.returncode == 0, done.stderr
        return str(path)

    return compiled


async def test_a_thread_with_the_smallest_stack_is_not_harmed(cc: Callable[..., str]) -> None:
    program = cc(SMALL_STACK)
    async with rig(serve(openat, redirect)) as view:
        assert await view.run([program]).text() == "1 0 intact\n" * 8


@pytest.mark.parametrize("static", [(), ("-static",)])
async def test_a_32_bit_program_is_rewritten_also_its_execve(
    cc: Callable[..., str], static: tuple[str, ...]
) -> None:
    program = cc(OPEN_32, "-m32", *static)

    def other(call: Any, tracee: Any) -> Verdict | None:
        if tracee.read_str(call.path) == b"/nowhere/myself":
            argv = tracee.read_strs(call.argv)
            return Rewrite(call.replace(path=program.encode(), argv=[*argv, b"more"]))
        return None

    async with rig(serve(openat, redirect), serve(Exec, other, name="exec")) as view:
        assert await view.run([program]).text() == "good\ngood\n"


async def test_a_64_bit_program_that_calls_as_a_32_bit_one_is_rewritten(
    cc: Callable[..., str],
) -> None:
    program = cc(INT_80)
    async with rig(serve(openat, redirect)) as view:
        assert await view.run([program]).text() == "1 1 1 "


HANDLER = r"""
#include <signal.h>
#include <stdio.h>
static int n;
static void on(int s) { n++; }
int main(void) {
    signal(SIGTRAP, on);
    FILE *f = fopen("/nowhere/old", "r");
    raise(SIGTRAP);
    printf("%d %d\n", f != 0, n);
    return 0;
}
"""


async def test_a_handler_of_sigtrap_survives(cc: Callable[..., str]) -> None:
    program = cc(HANDLER)
    async with rig(serve(openat, redirect)) as view:
        assert await view.run([program]).text() == "1 1\n"


async def test_an_ignored_or_blocked_sigtrap_stays_so() -> None:
    def closure() -> tuple[str, Any, Any]:
        signal.signal(signal.SIGTRAP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTRAP, signal.SIGUSR1])
        where = opened()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        status = dict(
            line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines()
        )
        return where, sorted(mask), int(status["SigIgn"], 16) >> signal.SIGTRAP - 1 & 1

    async with rig(serve(openat, redirect)) as view:
        assert await view.ask(closure) == ("/dev/null", [signal.SIGTRAP, signal.SIGUSR1], 1)


@pytest.mark.parametrize("restart", [False, True])
async def test_signals_that_arrive_meanwhile_neither_fail_nor_change_a_call(restart: bool) -> None:
    def closure() -> tuple[set[str], bool]:
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
        signal.siginterrupt(signal.SIGUSR1, not restart)
        done = threading.Event()
        main = threading.main_thread().ident
        assert main

        def storm() -> None:
            while not done.is_set():
                signal.pthread_kill(main, signal.SIGUSR1)
                time.sleep(0.001)

        thread = threading.Thread(target=storm)
        thread.start()
        results = {opened() for _ in range(200)}
        done.set()
        thread.join()
        return results, len(seen) > 0

    async with rig(serve(openat, redirect)) as view:
        results, handled = await view.ask(closure)
        assert handled
        # Before the call is received a signal may end it, as it may end any trapped call (T13).
        assert results <= ({"/dev/null"} if restart else {"/dev/null", "EINTR"})
        assert "/dev/null" in results


async def test_a_handler_that_is_rewritten_itself_does_not_spoil_the_interrupted_call(
    tmp_path: Path,
) -> None:
    """The open of a FIFO waits; the handler's own open is rewritten in the same thread."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def other(call: Any, tracee: Any) -> Verdict | None:
        path = tracee.read_str(call.path)
        new = {b"/nowhere/fifo": bytes(fifo), OLD: NEW}.get(path)
        return Rewrite(call.replace(path=new)) if new else None

    def closure() -> tuple[str, list[str]]:
        inner: list[str] = []
        signal.signal(signal.SIGUSR1, lambda *_: inner.append(opened()))
        signal.siginterrupt(signal.SIGUSR1, False)
        while (where := opened(b"/nowhere/fifo")) == "EINTR":
            pass
        return where, inner

    async with rig(serve(openat, other)) as view:
        tracee = view.call(closure)
        stat = Path(f"/proc/{tracee.pid}/wchan")
        await until(
            lambda: "wait_for_partner" in stat.read_text(), "the tracee to wait in the FIFO"
        )
        tracee.kill(signal.SIGUSR1)
        await trio.sleep(0.1)
        writer = await trio.to_thread.run_sync(os.open, fifo, os.O_WRONLY)
        where, inner = await tracee.result()
        os.close(writer)
        assert where == str(fifo)
        assert set(inner) <= {"/dev/null"}


async def test_a_stop_by_job_control_outlasts_a_rewrite() -> None:
    waits, go = trio.Event(), trio.Event()

    async def later(call: Any, tracee: Any) -> Verdict | None:
        if tracee.read_str(call.path) != OLD:
            return None
        waits.set()
        await go.wait()
        return redirect(call, tracee)

    async with rig(serve(openat, later)) as view:
        tracee = view.call(opened)
        await waits.wait()
        tracee.kill(signal.SIGSTOP)
        go.set()
        await until(lambda: stopped(tracee.pid), "the stop")
        tracee.kill(signal.SIGCONT)
        assert await tracee.result() == "/dev/null"


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_a_call_of_a_traced_thread_fails_as_the_hook_chose(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(call: Any, tracee: Any) -> Verdict | None:
        if tracee.read_str(call.path) == OLD:
            return Rewrite(call.replace(path=NEW), otherwise=errno.ENOTSUP)
        return None

    def closure() -> str:
        """A child that we trace ourselves makes the call."""
        pid = os.fork()
        if pid == 0:
            ptrace(0, 0)  # PTRACE_TRACEME
            os._exit(0 if opened() == "ENOTSUP" else 1)
        return f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])} by {os.getpid()}"

    async with rig(serve(openat, refuse)) as view:
        tracee = view.call(closure)
        assert await tracee.result() == f"0 by {tracee.pid}"
        assert view.view.stats.calls["openat"].counts[FAILED] == 1
    assert f"process {tracee.pid} " in caplog.text
    assert "cannot rewrite" in caplog.text


@pytest.mark.parametrize("debugger", ["strace", "gdb"])
async def test_a_program_under_a_debugger_gets_the_errno_and_the_log_names_the_debugger(
    debugger: str, caplog: pytest.LogCaptureFixture
) -> None:
    words = {
        "strace": ["strace", "-f", "-qq", "-o", "/dev/null"],
        "gdb": ["gdb", "-q", "-batch", "-ex", "run", "-args"],
    }[debugger]
    if not any(os.access(f"{d}/{debugger}", os.X_OK) for d in os.get_exec_path()):
        pytest.skip(f"needs {debugger}")
    async with rig(serve(openat, redirect)) as view:
        tracee = view.run([*words, "/bin/cat", OLD.decode()])
        await tracee.wait()
        assert b"Operation not permitted" in tracee.output
    assert f"({debugger}) traces thread" in caplog.text


async def test_a_rewritten_call_of_a_killed_tracee_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def closure() -> None:
        while True:
            os.close(syscall("openat", -100, OLD, 0))

    async with rig(serve(openat, redirect)) as view:
        for n in range(60):
            tracee = view.call(closure)
            await trio.sleep(0.001 + n % 7 * 0.0007)
            tracee.kill()
            assert os.waitstatus_to_exitcode(await tracee.wait()) == -signal.SIGKILL
        await until(lambda: not view.pump.listeners)
        assert await view.ask(opened) == "/dev/null"
    assert not caplog.records


async def test_the_end_of_our_own_child_is_left_to_whoever_collects_it() -> None:
    """A tracee that dies while it is seized must not lose its status, nor stay a zombie."""
    statuses = []

    def closure() -> list[int]:
        codes = []
        for n in range(40):
            if (pid := os.fork()) == 0:
                while True:
                    os.close(syscall("openat", -100, OLD, 0))
            time.sleep(0.002 + n % 5 * 0.0005)
            os.kill(pid, signal.SIGKILL)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return codes

    async with rig(serve(openat, redirect)) as view:
        assert await view.ask(closure) == [-signal.SIGKILL] * 40
        for _ in range(20):
            tracee = view.call(lambda: [opened() for _ in range(10)] and os._exit(3))
            statuses.append(os.waitstatus_to_exitcode(await tracee.wait()))
    assert statuses == [3] * 20


async def test_a_hook_on_mmap_is_not_asked_for_the_memory_of_our_strings() -> None:
    asked = []
    async with rig(
        serve(openat, redirect), serve(mmap, lambda c, t: asked.append(c), name="m")
    ) as view:
        assert await view.ask(lambda: [opened() for _ in range(20)]) == ["/dev/null"] * 20
    assert rewrite_module.REGION not in [call.len for call in asked]


async def test_calls_of_others_that_come_up_meanwhile_are_served_in_their_turn() -> None:
    """Also those that are rewritten ones, coming back: their hooks are not asked again."""
    asked = []

    def once(call: Any, tracee: Any) -> Verdict:
        asked.append(tracee.read_str(call.path))
        return Rewrite(call.replace(path=NEW))

    def closure() -> list[list[str]]:
        return [r for _ in range(20) for r in in_threads(10, lambda n: [opened(), opened()])]

    services = (serve(openat, once), serve(mmap, lambda c, t: CONTINUE, name="m"))
    async with rig(*services) as view:
        assert await view.ask(closure) == [["/dev/null"] * 2] * 200
    assert [path for path in asked if path == NEW] == []


async def test_where_the_tracee_has_no_memory_left_the_call_fails_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def closure() -> tuple[str, str]:
        libc.mmap  # noqa: B018 - bound before memory is short
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (4096, hard))
        fd = syscall("openat", -100, OLD, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        return errno.errorcode.get(-fd, "opened"), opened()

    async with rig(serve(openat, redirect)) as view:
        assert await view.ask(closure) == ("EPERM", "/dev/null")
    assert "no memory" in caplog.text


@pytest.mark.parametrize("value", [3.5, None, "text", [b"a", 3], {}])
async def test_a_value_that_no_register_can_hold_is_a_fault_and_not_an_endless_loop(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def bad(call: Any, tracee: Any) -> Verdict:
        asked.append(1)
        return Rewrite(call.replace(path=value))

    async with rig(serve(openat, bad)) as view:
        assert await view.ask(lambda: syscall("openat", -100, OLD, 0)) == -errno.EIO
    assert asked == [1]
    assert "no verdict" in caplog.text


@pytest.mark.skipif(sys.maxsize < 2**32, reason="needs a 64-bit machine")
async def test_a_call_that_the_architecture_lacks_fails_as_chosen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from viewosd.syscalls.paths import stat64

    async with rig(serve(getppid, lambda c, t: Rewrite(stat64.make(c.arch), otherwise=5))) as view:
        assert await view.ask(lambda: syscall("getppid")) == -5
    assert "stat64 does not exist on X86_64" in caplog.text


async def test_what_never_comes_back_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrite_module, "EXPECTED_S", 0.0)

    def closure() -> None:
        while True:
            os.close(syscall("openat", -100, OLD, 0))

    async with rig(serve(openat, redirect)) as view:
        for _ in range(5):
            tracee = view.call(closure)
            await trio.sleep(0.01)
            tracee.kill()
            await tracee.wait()
        await until(lambda: not view.pump.listeners)
        await until(lambda: not view.pump.answers.rewriter.expected)
