"""Processes in unusual states while the view is re-armed: armed as well, or refused in words."""

from __future__ import annotations

import copy
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from helpers.live import PROGRAMS, view
from helpers.programs import program as program
from helpers.waiting import until
from viewos_clients.session import Refused
from viewosd.abi.arch import NATIVE
from viewosd.abi.sysno import SYSNO

ASK = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
def persona(n):
    return libc.personality(ctypes.c_ulong(1000 + n))
"""

LOOK = 0xFFFF_FFFF - 1000
"""Given to these programs: personality(0xffffffff), which changes nothing."""


def _state(tid: int) -> str:
    with open(f"/proc/{tid}/stat") as stat:
        return stat.read().rpartition(") ")[2][0]


def _asks(first: str = "") -> list[str]:
    """A Python that says on each line it gets what personality(1000 + that number) returns."""
    loop = "for line in sys.stdin: print(persona(int(line)), flush=True)"
    return [sys.executable, "-c", ASK + first + "\n" + loop]


def test_a_stopped_process_stays_stopped_and_is_armed(user):
    with view(user, *user.python, "-c", _asks()[2]) as live:
        live.say(f"{LOOK}\n")
        assert live.hear() == "0"  # it runs
        pid = live.processes()[0]
        for _ in range(3):
            os.kill(pid, signal.SIGSTOP)
            until(lambda: _state(pid) == "T", "the stop")
            live.rearm()
            # A detach wakes it, to stop again at once: no step of its own in between.
            until(lambda: _state(pid) == "T", "it to stand still again")
            os.kill(pid, signal.SIGCONT)
            live.say(f"{live.armed - 1}\n")
            assert live.hear() == str(live.armed - 1)
        live.say("")
        assert live.end()[0] == 0


def test_a_call_whose_hook_waits_is_asked_again_after_a_re_arm(user, tmp_path):
    gate = user.runtime_dir / "gate"
    user.environment["GATE"] = str(gate)
    threads = "import threading\nprint('ready', flush=True)\n" + (
        "t = threading.Thread(target=lambda: print('group', os.getpgid(0), flush=True))\nt.start()"
    )
    with view(user, "-p", f"{_layers(user)}:Never", *user.python, "-c", _asks(threads)[2]) as live:
        assert live.hear() == "ready"
        live.rearm(5)
        gate.touch()
        assert live.hear() == "group 7"
        live.say("4\n")
        assert live.hear() == "4"
        assert live.end()[0] == 0


def _layers(user) -> str:
    return shutil.copy(PROGRAMS / "layers.py", user.runtime_dir)


def test_every_thread_s_calls_are_trapped_after_each_re_arm(user):
    # CVE-2026-89603: a thread that TSYNC reaches while it is stopped at a call's beginning makes
    # this call under the old filter. Each of many threads asks for what was loaded last.
    crowd = """
import threading
def ask(n, out): out.append(persona(n))
class Worker(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True); self.go = threading.Semaphore(0); self.start()
    def run(self):
        while True:
            self.go.acquire(); ask(number, results); done.release()
done, workers = threading.Semaphore(0), [Worker() for _ in range(40)]
for line in sys.stdin:
    number, results = int(line), []
    for w in workers: w.go.release()
    for w in workers: done.acquire()
    print(sorted(set(results)), len(results), flush=True)
"""
    with view(user, *user.python, "-c", ASK + crowd) as live:
        for _ in range(10):
            live.rearm()
            live.say(f"{live.armed - 1}\n")
            assert live.hear() == f"[{live.armed - 1}] 40"
        assert live.end()[0] == 0


@pytest.mark.parametrize("tracer", ["strace", "gdb"])
def test_a_process_traced_from_outside_is_in_the_way_and_nothing_has_changed(me, tracer):
    if shutil.which(tracer) is None:
        pytest.skip(f"needs {tracer}")
    words = {"strace": ["strace", "-qq", "-o", "/dev/null", "-p"],
             "gdb": ["gdb", "-q", "-nx", "-p"]}[tracer]  # fmt: skip
    asks = _asks("print(os.uname().nodename, flush=True)")
    with view(me, "-p", "misc,nodename=boxed", *asks) as live:
        assert live.hear() == "boxed"
        live.rearm()
        pid = live.processes()[0]
        debugger = subprocess.Popen(
            [*words, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: _tracer(pid), "the tracer")
            with pytest.raises(Refused) as refused:
                live.rearm()
            told = rf"process \d+ \({tracer}\) traces thread {pid} \(python"
            assert re.search(told, str(refused.value))
            if tracer == "strace":  # gdb holds it
                live.say("0\n")
                assert live.hear() == "0"
        finally:
            if tracer == "gdb":
                debugger.communicate(b"detach\nquit\n", timeout=60)
            else:
                debugger.send_signal(signal.SIGINT)
                debugger.communicate(timeout=60)
        until(lambda: not _tracer(pid), "the tracer to leave")
        live.say("0\n")
        assert live.hear() == "0"
        live.load("L1")
        live.say("1\n")
        assert live.hear() == "1"
        assert live.end()[0] == 0


def test_a_process_traced_from_inside_the_view_is_in_the_way_and_nothing_has_changed(user):
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    asks = _asks("print(os.uname().nodename, flush=True)")[2]
    traced = ["strace", "-f", "-qq", "-o", "/dev/null", *user.python, "-c", asks]
    with view(user, "-p", "misc,nodename=boxed", *traced) as live:
        assert live.hear() == "boxed"
        for _ in range(2):
            with pytest.raises(Refused, match=r"process \d+ \(strace\) traces thread \d+ \(python"):
                live.load("L0")
            live.say(f"{LOOK}\n")
            assert live.hear() == "0"
        assert live.end()[0] == 0


def _tracer(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("TracerPid"))


def test_a_process_that_is_not_dumpable_is_refused_to_nobody_in_words(nobody):
    hidden = "import ctypes\nctypes.CDLL(None).prctl(4, 0)\nprint('ready', flush=True)"
    with view(nobody, *nobody.python, "-c", _asks(hidden)[2]) as live:
        assert live.hear() == "ready"
        with pytest.raises(Refused, match="not dumpable"):
            live.rearm()
        assert live.end()[0] == 0


@pytest.mark.root
def test_root_arms_a_process_that_is_not_dumpable(me):
    hidden = "import ctypes\nctypes.CDLL(None).prctl(4, 0)\nprint('ready', flush=True)"
    with view(me, *_asks(hidden)) as live:
        assert live.hear() == "ready"
        live.rearm(2)
        live.say("1\n")
        assert live.hear() == "1"
        assert live.end()[0] == 0


@pytest.mark.root
def test_another_user_s_process_in_a_view_of_root_s_is_armed_and_only_it_renounces(me):
    script = (
        "exec 3<&0; setpriv --reuid=65534 --clear-groups sh -c 'echo other $$; read x <&3; uname -n'"
        " & echo mine $$; wait"
    )
    with view(me, "sh", "-c", script) as live:
        pids = dict(live.hear().split() for _ in range(2))
        live.add("misc,nodename=boxed")
        assert _no_new_privs(pids["other"])
        assert not _no_new_privs(pids["mine"])
        live.say()
        assert live.hear() == "boxed"


def _no_new_privs(pid: str) -> bool:
    with open(f"/proc/{pid}/status") as status:
        return "NoNewPrivs:\t1\n" in status.readlines()


@pytest.mark.parametrize("flags", [(), ("-m32",)], ids=["64", "32"])
def test_a_program_with_a_filter_of_its_own_is_armed_too(user, program, flags):
    with view(user, program("own_filter", *flags), "plain", *user.python, "-c", _asks()[2]) as live:
        assert live.hear() == "getpriority: -1, Invalid request descriptor"
        live.rearm(2)
        live.say("1\n")
        assert live.hear() == "1"
        assert live.end()[0] == 0


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        ("seccomp", 22, r"process \d+ \(cat\): .*no seccomp listeners"),
        ("seccomp", 38, r"process \d+ \(cat\): .*no seccomp\(2\)"),
        ("seccomp", 1, r"process \d+ \(cat\): .*forbidden here"),
        ("pidfd_getfd", 1, r"process \d+ \(cat\): .*forbidden here, as by Yama"),
        ("ptrace", 1, r"thread \d+ \(cat\) .*forbidden here, as by Yama"),
        ("ptrace", 38, r"thread \d+ \(cat\) .*forbidden here"),
    ],
)
def test_where_what_it_needs_is_missing_a_re_arm_says_so(user, program, call, code, said):
    there = copy.copy(user)
    number = SYSNO[NATIVE][call]
    there.prefix = [*user.prefix, program("without"), str(code), str(number)]
    with view(there, "cat") as live:
        with pytest.raises(Refused, match=said):
            live.rearm()
        live.say("goes on\n")
        assert live.hear() == "goes on"
        assert live.end()[0] == 0


def test_a_listener_of_its_own_is_in_the_way_and_goes_on(user, program):
    with view(user, program("own_filter"), "below", *user.python, "-c", _asks()[2]) as live:
        live.say(f"{LOOK}\n")
        before = live.hear()
        with pytest.raises(Refused, match="listener of somebody else"):
            live.rearm()
        live.say(f"{LOOK}\n")
        assert live.hear() == before
        assert live.end()[0] == 0


def test_a_full_descriptor_table_does_not_keep_a_process_from_being_armed(user):
    full = (
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (40, 200))\n"
        "try:\n  while True: os.dup(0)\nexcept OSError: print('full', flush=True)"
    )
    with view(user, *user.python, "-c", _asks(full)[2]) as live:
        assert live.hear() == "full"
        live.rearm(2)
        with open(f"/proc/{live.processes()[0]}/limits") as limits:
            assert re.search(r"Max open files +40 +200", limits.read())
        live.say("1\n")
        assert live.hear() == "1"
        assert live.end()[0] == 0


def test_programs_in_a_pid_namespace_of_their_own_are_armed(user):
    unshare = ["unshare", "-Urpf", "--kill-child"]
    if subprocess.run([*user.prefix, *unshare, "true"], capture_output=True).returncode:
        pytest.skip("needs user namespaces")
    with view(
        user, *unshare, *user.python, "-c", _asks("print(os.getpid(), flush=True)")[2]
    ) as live:
        assert live.hear() == "1"
        live.rearm(3)
        live.say("2\n")
        assert live.hear() == "2"
        assert live.end()[0] == 0


def test_a_service_removed_before_a_re_arm_costs_its_calls_nothing(user):
    with view(user, "-p", f"{_layers(user)}:Parent", *user.python, "-c",
              _asks("print(os.getppid(), flush=True)\nsys.stdin.readline()\n"
                    "print(os.getppid() > 0 and os.getppid() != 4242, flush=True)")[2]) as live:  # fmt: skip
        assert live.hear() == "4242"
        live.session.call("del", None, "parent")
        live.rearm()
        live.say()
        assert live.hear() == "True"
        assert live.end()[0] == 0


def test_a_chain_of_filters_that_is_full_is_refused_before_anything_is_changed(user):
    asks = _asks("print(os.getppid(), flush=True)\nsys.stdin.readline()")[2]
    with view(user, "-p", f"{_layers(user)}:Parent", *user.python, "-c", asks) as live:
        assert live.hear() == "4242"
        live.load("W0")
        with pytest.raises(Refused, match=r"process \d+ \(python.*\): it is under \d+ filters"):
            _load_wide(live)
        live.say(f"\n{LOOK}\n")
        assert live.hear() == "0"
        assert live.end()[0] == 0


def _load_wide(live) -> None:
    for number in range(1, 8):
        live.load(f"W{number}")
