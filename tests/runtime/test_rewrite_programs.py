"""Rewritten calls of programs of every kind: execve, vfork, threads, 32 bits, the smallest stacks."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.rewriting import OLD, opened, redirect
from helpers.rewriting import cc as cc
from helpers.rig import rig, serve, syscall
from helpers.threads import in_threads
from viewosd.syscalls.paths import openat
from viewosd.syscalls.process import Exec, execve
from viewosd.verdict import Rewrite, Verdict


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
