"""Starting programs: what they get, how failures are told, how a listener comes out of the child."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.waiting import until
from viewosd.abi.seccomp import SECCOMP_RET_ALLOW
from viewosd.keeper.processes import state_of
from viewosd.runtime.spawn import Child, Program, start

ENV = [name + b"=" + value for name, value in os.environb.items()]
ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, SECCOMP_RET_ALLOW)  # BPF_RET | BPF_K
NONSENSE = struct.pack("=HBBI", 0xFFFF, 0, 0, 0)


def finish(child: Child) -> tuple[tuple[int, str] | None, int]:
    """Why exec failed, if it did, and the exit status."""
    os.read(child.status, 1)
    failure = child.failure()
    status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    os.close(child.pidfd)
    if child.listener is not None:
        os.close(child.listener)
    return failure, status


def python(code: str, *words: str) -> list[bytes]:
    return [os.fsencode(w) for w in (sys.executable, "-S", "-c", code, *words)]


def output(program: Program, writer: int, reader: int) -> bytes:
    child = start(program)
    os.close(writer)
    assert finish(child) == (None, 0)
    with open(reader, "rb") as file:
        return file.read()


def test_a_program_runs_and_its_status_is_waited_for():
    assert finish(start(Program([b"sh", b"-c", b"exit 7"], ENV))) == (None, 7)


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        ([b"no-such-program"], 127, "no-such-program: not found"),
        ([b"/no/such"], 127, "/no/such: No such file or directory"),
        ([b"/etc/passwd"], 126, "/etc/passwd: Permission denied"),
        ([b"/etc"], 126, "/etc: Is a directory"),
        ([b"/etc/passwd/x"], 126, "/etc/passwd/x: Not a directory"),
        ([b""], 127, "'': not found"),
    ],
)
@pytest.mark.parametrize("bpf", [None, ALLOW_ALL], ids=["plain", "filtered"])
def test_a_failed_exec_is_told_as_a_shell_would(argv, code, text, bpf):
    env = [b"PATH=/usr/bin:/bin"]
    failure, _ = finish(start(Program(argv, env), bpf))
    assert failure == (code, text)


def test_the_path_of_the_program_counts_and_not_ours():
    failure, _ = finish(start(Program([b"true"], [b"PATH=/nonexistent"])))
    assert failure == (127, "true: not found")
    assert finish(start(Program([b"true"], []))) == (None, 0)  # the default path


def test_an_empty_entry_of_path_is_the_directory_of_the_program(tmp_path):
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    cwd = os.open(tmp_path, os.O_PATH)
    assert finish(start(Program([b"tool"], [b"PATH=/nonexistent:"], cwd=cwd))) == (None, 9)
    os.close(cwd)


def test_a_signal_before_exec_is_no_failed_exec():
    # Pending in the child, delivered when its mask is restored, as it would be before a plain exec.
    program = Program([b"sleep", b"1000"], ENV, sigmask=set())
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = start(program)
    signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_SETMASK, old)
    assert finish(child) == (None, -signal.SIGTERM)


def test_signals_are_as_asked_for_and_all_others_default():
    reader, writer = os.pipe()
    program = Program(
        [b"grep", b"-E", b"SigBlk|SigIgn", b"/proc/self/status"],
        ENV,
        fds={1: writer},
        sigmask={signal.SIGUSR1, signal.SIGCHLD},
        ignored={signal.SIGHUP, signal.SIGPIPE},
    )
    lines = output(program, writer, reader).decode().split()
    assert int(lines[1], 16) == 1 << signal.SIGUSR1 - 1 | 1 << signal.SIGCHLD - 1
    assert int(lines[3], 16) == 1 << signal.SIGHUP - 1 | 1 << signal.SIGPIPE - 1


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.integers(0, 12), st.integers(0, 3), min_size=1, max_size=6))
def test_descriptors_get_their_numbers_whatever_they_were(wanted):
    """Each number in the program shows the file it was to be, and no other number is open."""
    files = [os.memfd_create(f"file{n}") for n in range(4)]
    reader, writer = os.pipe()
    fds = {number: files[index] for number, index in wanted.items()} | {20: writer}
    code = (
        "import os\n"
        "found = {}\n"
        "for n in range(64):\n"
        "    try: found[n] = os.readlink(f'/proc/self/fd/{n}').split(' ')[0]\n"
        "    except OSError: pass\n"
        "os.write(20, repr(found).encode())\n"
    )
    found = eval(output(Program(python(code), ENV, fds=fds), writer, reader))
    for file in files:
        os.close(file)
    assert found.pop(20).startswith("pipe:")
    assert found == {number: f"/memfd:file{index}" for number, index in wanted.items()}


def test_nothing_of_ours_reaches_the_program():
    reader, writer = os.pipe()
    listing = output(
        Program([b"sh", b"-c", b"ls /proc/$$/fd"], ENV, fds={0: reader, 1: writer, 2: 2}),
        writer,
        reader,
    )
    assert listing.split() == [b"0", b"1", b"2"]


def test_a_session_of_its_own_is_given_where_asked_for():
    reader, writer = os.pipe()
    code = "import os; os.write(1, repr(os.getsid(0) == os.getpid()).encode())"
    assert (
        output(Program(python(code), ENV, fds={1: writer}, session=True), writer, reader) == b"True"
    )


def test_a_filter_is_installed_and_its_listener_is_ours():
    child = start(Program([b"grep", b"-q", b"Seccomp:.2", b"/proc/self/status"], ENV), ALLOW_ALL)
    assert child.listener is not None
    assert not os.get_inheritable(child.listener)
    assert os.readlink(f"/proc/self/fd/{child.listener}") == "anon_inode:seccomp notify"
    assert finish(child) == (None, 0)


def test_the_program_does_not_hold_its_own_listener():
    reader, writer = os.pipe()
    child = start(
        Program([b"sh", b"-c", b"ls -l /proc/$$/fd"], ENV, fds={1: writer, 2: 2}), ALLOW_ALL
    )
    os.close(writer)
    assert finish(child) == (None, 0)
    with open(reader, "rb") as file:
        assert b"seccomp" not in file.read()


def test_a_filter_that_the_kernel_refuses_is_an_error_and_leaves_no_process():
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="installing the filter") as caught:
        start(Program([b"true"], ENV), NONSENSE)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_second_listener_in_the_chain_is_told_as_busy():
    code = (
        "import os, errno, sys\n"
        "from viewosd.runtime.spawn import Program, start\n"
        "import struct\n"
        "try: start(Program([b'true'], [b'PATH=/bin']), struct.pack('=HBBI', 6, 0, 0, 0x7fff0000))\n"
        "except OSError as error: os._exit(error.errno)\n"
        "os._exit(0)\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    env = [*ENV, b"PYTHONPATH=" + os.fsencode(root)]
    assert finish(
        start(Program([os.fsencode(sys.executable), b"-c", code.encode()], env), ALLOW_ALL)
    ) == (
        None,
        errno.EBUSY,
    )


def test_no_new_privs_is_set_only_where_the_kernel_demands_it():
    words = [b"grep", b"-q", b"NoNewPrivs:.%d" % (os.geteuid() != 0), b"/proc/self/status"]
    assert finish(start(Program(words, ENV), ALLOW_ALL)) == (None, 0)


def test_a_child_that_is_killed_while_it_waits_is_gone():
    child = start(Program([b"sleep", b"1000"], ENV), ALLOW_ALL)
    signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
    assert finish(child) == (None, -signal.SIGKILL)
    until(lambda: not state_of(child.pid), "the child to be gone")


def test_a_program_gets_the_descriptor_limit_that_we_were_given():
    # In a process of its own: a hard limit that was lowered can't be raised again.
    code = (
        "import os, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))\n"
        "from viewosd.runtime import spawn\n"
        "spawn.raise_limits()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)\n"
        "child = spawn.start(spawn.Program([b'sh', b'-c', b'ulimit -Sn; ulimit -Hn'], [b'PATH=/bin']))\n"
        "os.waitpid(child.pid, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["(200, 200)", "100", "200"]
