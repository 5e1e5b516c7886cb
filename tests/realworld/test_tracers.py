"""Programs that work on other programs, or on their own rights: tracers, filters, namespaces."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.alike import Alike, needs


def test_strace_of_a_pipeline(alike: Alike, program: Callable[..., str]) -> None:
    needs("strace")
    script = f"strace -f -o log -e trace=openat,execve,uname {program('hello')}; echo $?; grep -c . log; grep -o 'uname({{sysname=\"Linux\"' log; grep -o 'exited with .*' log"
    alike.check("sh", "-c", script, ignore=["log"])


def test_gdb_stops_looks_and_changes(alike: Alike, program: Callable[..., str]) -> None:
    needs("gdb")
    target = program("hello", "-g")
    words = ["-ex", "break main", "-ex", "run", "-ex", "print sizeof(void *)", "-ex", "next", "-ex", "next",
             "-ex", "info line", "-ex", "set var status=5", "-ex", "print status", "-ex", "continue"]  # fmt: skip
    alike.check(
        "gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", *words, target,
        edit=lambda text: re.sub(rb"0x[0-9a-f]+|process \d+", b"X", text),
    )  # fmt: skip


def test_a_traced_program_and_its_children_end_as_untraced_ones(alike: Alike) -> None:
    needs("strace")
    alike.check(
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "bash",
        "-c",
        "for i in 1 2 3; do echo $i | cat; done; kill -9 $$",
        status=137,
    )


def test_a_program_with_a_filter_of_its_own(
    alike_for_all: Alike, program: Callable[..., str]
) -> None:
    ours = alike_for_all.check(program("own_filter"), "plain", program("own_filter"), "plain")
    assert ours.stdout.count(b"Invalid request descriptor") == 2


def test_a_program_with_a_listener_of_its_own(
    me, kind: list[str], program: Callable[..., str]
) -> None:
    """One listener in a chain of filters: kernel/seccomp.c, has_duplicate_listener(). An empty view
    has none, so there is room; in a view that traps calls such a program gets EBUSY.
    """
    ours = me.run(*kind, "--", program("own_filter"), "listener")
    if kind:
        assert (ours.returncode, ours.stdout) == (1, b"no listener: Device or resource busy\n")
    else:
        assert (ours.returncode, ours.stdout) == (0, b"getpriority: 7\nanswered: 0\n")


@pytest.mark.parametrize(
    "words",
    [
        ["unshare", "-Ur", "sh", "-c", "id -u; id -un; cat /proc/self/uid_map | tr -s ' '"],
        ["unshare", "-Urpf", "--mount-proc", "sh", "-c", "echo $$; cat /proc/1/comm; ls -d /proc/[0-9]*"],
        ["unshare", "-Urn", "sh", "-c", "ip -br addr 2>/dev/null; cat /proc/net/dev | wc -l"],
        ["unshare", "-Uru", "sh", "-c", "uname -s"],
        ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs none /mnt && touch /mnt/x && ls /mnt"],
        ["unshare", "-UrmpfC", "--kill-child", "sh", "-c", "sleep 1000 & exit 3"],
    ],
    ids=lambda words: words[1],
)  # fmt: skip
def test_namespaces_of_its_own(alike_for_all: Alike, words: list[str]) -> None:
    if subprocess.run(["unshare", "-Ur", "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    alike_for_all.check(*words, status=3 if "--kill-child" in words else 0)


@pytest.mark.root
@pytest.mark.parametrize("words", [["passwd", "-S", "root"], ["su", "nobody", "-s", "/bin/sh", "-c", "id"],
                                   ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "passwd", "-S"]])  # fmt: skip
def test_set_uid_programs_work_in_the_views_of_root(alike: Alike, words: list[str]) -> None:
    needs(words[0])
    status = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL).returncode
    alike.check(*words, status=status)


@pytest.mark.root
def test_no_new_privs_is_set_where_the_kernel_asks_for_it_and_nowhere_else(
    user, kind: list[str]
) -> None:
    if user.uid and kind:
        kind = ["-p", "misc,nodename=box"]
    ours = user.run(*kind, "--", "grep", "NoNewPrivs", "/proc/self/status")
    # A filter of somebody without CAP_SYS_ADMIN needs it: seccomp(2).
    wanted = 1 if user.uid and kind else 0
    assert ours.stdout.split() == [b"NoNewPrivs:", str(wanted).encode()]


def test_a_profiler_that_reads_and_writes_another_process(alike: Alike) -> None:
    script = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(b"before", 16)
pid = os.fork()
if pid == 0:
    signal.pause()
class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
got = ctypes.create_string_buffer(16)
local, remote = iovec(ctypes.addressof(got), 16), iovec(ctypes.addressof(buffer), 16)
print(libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0), got.value)
with open(f"/proc/{pid}/mem", "r+b", 0) as memory:
    memory.seek(ctypes.addressof(buffer)); memory.write(b"after!")
    memory.seek(ctypes.addressof(buffer)); print(memory.read(6))
print(os.readlink(f"/proc/{pid}/exe") == os.readlink("/proc/self/exe"))
fd = os.pidfd_open(pid)
print(libc.syscall(438, fd, 1, 0) > 0)
signal.pidfd_send_signal(fd, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    alike.check("/usr/bin/python3", "-c", script)


def test_core_dumps_and_fatal_signals(alike: Alike) -> None:
    alike.check("sh", "-c", "ulimit -c 0; kill -SEGV $$", status=139)


def test_storms_of_threads_forks_and_signals(alike: Alike, program: Callable[..., str]) -> None:
    assert alike.check(program("storm"), "6", "300").stdout == b"done\n"


CLASSES = ("cpu", "fork", "vfork", "sigfd", "signal", "pipe", "futex", "open", "dentry", "exec", "sock", "mmap",
           "procfs", "timer", "poll", "clone", "pthread", "wait", "switch", "nanosleep", "rename", "kill", "sigq")  # fmt: skip
# What ends these is a count: the alarm that ends the others has a handler without SA_RESTART, and
# the unlink(2) that it takes back leaves a file in the directory that is removed next (T13).
COUNTED = {"dentry": 2000, "rename": 2000}


@pytest.mark.parametrize("stressor", CLASSES)
def test_stress(me, kind: list[str], scratch: Path, tmp_path: Path, stressor: str) -> None:
    needs("stress-ng")
    words = [
        "stress-ng",
        f"--{stressor}",
        "2",
        *(["--timeout", "1s"] if stressor not in COUNTED else ["--timeout", "60s"]),
        *([f"--{stressor}-ops", str(COUNTED[stressor])] if stressor in COUNTED else []),
        "--verify",
        "-q",
        "--temp-path",
        str(tmp_path),
    ]
    native = subprocess.run(words, capture_output=True, cwd=tmp_path, timeout=100)
    if native.returncode:
        pytest.skip(f"natively already: {native.stderr.decode()[-200:]}")
    ours = me.run(*kind, "--", *words, cwd=tmp_path)
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, native.stdout, native.stderr)
    Alike(me, kind, scratch).nothing_left()
