"""Pulling processes that were started outside into a view."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest

from helpers.commands import command, environment
from helpers.live import view
from helpers.programs import program as program
from helpers.waiting import until
from viewos_clients.session import Refused

BOXED = ("-p", "misc,nodename=boxed")


class Outside:
    """A program that runs outside of any view, until the test is over."""

    def __init__(self, words: list[str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
        self.pid = self.process.pid

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        self.process.communicate(timeout=100)
        return self.process.returncode


@pytest.fixture
def outside():
    """Starts programs outside."""
    started = []

    def start(*words: str) -> Outside:
        started.append(Outside(list(words)))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate(timeout=100)


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(") ")[2][0]


SHELLS = {
    "bash": ["bash"],
    "sh": ["sh"],
    "busybox": ["busybox", "sh"],
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_running_shell_s_later_commands_see_the_view(user, outside, shell):
    if shutil.which(SHELLS[shell][0]) is None:
        pytest.skip(f"needs {shell}")
    one = outside(*user.prefix, *SHELLS[shell])
    one.say("uname -n; sleep 1000 >/dev/null <&- & echo $!")
    assert one.hear() == os.uname().nodename
    earlier = int(one.hear())
    with view(user, *BOXED, "cat") as live:
        live.attach(one.pid)
        one.say("uname -n; (uname -n); uname -n | cat; sleep 1000 >/dev/null <&- & echo $!")
        assert [one.hear() for _ in range(3)] == ["boxed"] * 3
        later = int(one.hear())
        members = live.processes()
        assert one.pid in members
        assert later in members
        assert earlier not in members
        live.rearm(3)
        os.kill(earlier, signal.SIGKILL)
        os.kill(later, signal.SIGKILL)
        one.say("uname -n; exit 5")
        assert one.hear() == "boxed"
        assert one.end() == 5


PYTHON = """
import os, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
for line in sys.stdin:
    print(os.uname().nodename, flush=True)
"""


def test_stopped_sleeping_and_busy_processes_are_attached_as_they_are(me, outside):
    with view(me, *BOXED, "cat") as live:
        stopped, asleep = (outside(sys.executable, "-c", PYTHON) for _ in range(2))
        busy = outside(
            sys.executable, "-c", "import os\nwhile os.uname().nodename != 'boxed': pass"
        )
        os.kill(stopped.pid, signal.SIGSTOP)
        until(lambda: _state(stopped.pid) == "T", "the stop")
        for one in (stopped, asleep, busy):
            live.attach(one.pid)
        assert _state(stopped.pid) == "T"
        os.kill(stopped.pid, signal.SIGCONT)
        for one in (stopped, asleep):
            one.say("")
            assert one.hear() == "boxed"
        assert busy.end() == 0


def test_a_server_under_load_is_attached_and_no_request_fails(me, outside):
    server = outside(
        sys.executable,
        "-c",
        """
import os, http.server, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.uname().nodename.encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body)))
        self.end_headers(); self.wfile.write(body)
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 100
server = Server(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
""",
    )
    address = f"http://127.0.0.1:{server.hear()}/"
    answers: list[str] = []
    failures: list[Exception] = []
    over = threading.Event()

    def hammer() -> None:
        while not over.is_set():
            try:
                with urllib.request.urlopen(address, timeout=60) as response:
                    answers.append(response.read().decode())
            except Exception as error:
                failures.append(error)
                return

    clients = [threading.Thread(target=hammer) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        until(lambda: len(answers) > 20, "requests")
        with view(me, *BOXED, "cat") as live:
            live.attach(server.pid)
            live.rearm(10)
            seen = len(answers)
            until(lambda: len(answers) > seen + 20, "requests")
            assert answers[-1] == "boxed"
            over.set()
            for client in clients:  # while the view lasts: its end would be the server's
                client.join()
    finally:
        over.set()
        for client in clients:
            client.join()
    assert failures == []
    assert set(answers) == {os.uname().nodename, "boxed"}


@pytest.mark.parametrize("flags", [(), ("-static",), ("-m32",)], ids=["64", "static", "32"])
def test_sleeping_threads_of_any_program_sleep_on(me, outside, program, flags):
    one = outside(program("sleepers", *flags))
    assert one.hear() == "ready"
    with view(me, *BOXED, "cat") as live:
        live.attach(one.pid)
        assert one.hear() == "timeouts are over"
        live.rearm(2)
        one.say("")
        assert one.hear() == "ok"
        assert one.end() == 0


GO = """
package main
import ("bufio"; "fmt"; "os"; "syscall"; "sync")
func name() string {
    var u syscall.Utsname
    syscall.Uname(&u)
    text := ""
    for _, c := range u.Nodename { if c == 0 { break }; text += string(rune(c)) }
    return text
}
func main() {
    lines := bufio.NewScanner(os.Stdin)
    for lines.Scan() {
        var group sync.WaitGroup
        names := map[string]bool{}
        var lock sync.Mutex
        for i := 0; i < 50; i++ {
            group.Add(1)
            go func() { n := name(); lock.Lock(); names[n] = true; lock.Unlock(); group.Done() }()
        }
        group.Wait()
        fmt.Println(names)
    }
}
"""


def test_a_go_program_is_attached(me, outside, scratch):
    if shutil.which("go") is None:
        pytest.skip("needs go")
    source = scratch / "names.go"
    source.write_text(GO)
    caches = {"GOCACHE": str(scratch / "go-cache"), "GOFLAGS": "-mod=mod", "HOME": str(scratch)}
    done = subprocess.run(
        ["go", "build", "-o", scratch / "names-go", source],
        capture_output=True,
        text=True,
        env=os.environ | caches,
    )
    assert done.returncode == 0, done.stderr
    one = outside(str(scratch / "names-go"))
    one.say("")
    assert one.hear() == f"map[{os.uname().nodename}:true]"
    with view(me, *BOXED, "cat") as live:
        live.attach(one.pid)
        for _ in range(5):
            live.rearm()
            one.say("")
            assert one.hear() == "map[boxed:true]"
        one.say("")
        assert one.hear() == "map[boxed:true]"


def test_services_that_come_after_the_attachment_arm_it_too(user, outside):
    one = outside(*user.prefix, "sh")
    with view(user, "cat") as live:
        live.attach(one.pid)
        live.add("misc,nodename=boxed")
        one.say("uname -n")
        assert one.hear() == "boxed"
        live.session.call("del", None, "misc")
        one.say("uname -n; exit")
        assert one.hear() == os.uname().nodename


def test_the_view_lasts_as_long_as_who_was_attached(me, outside):
    one = outside("sh")
    with view(me, *BOXED, "cat") as live:
        live.attach(one.pid)
        assert live.run.stdin is not None
        live.run.stdin.close()
        until(lambda: one.pid in live.processes() and len(live.processes()) == 1, "cat to end")
        one.say("uname -n")
        assert one.hear() == "boxed"
        assert me.views() == [live.supervisor]
        one.say("exit")
        one.end()
        until(lambda: not me.views(), "the view to end")


def test_the_view_outlasts_who_was_attached_for_what_it_started(me, outside):
    one = outside("bash")
    with view(me, *BOXED, "cat") as live:
        live.attach(one.pid)
        one.say("exec 4<&0; (read x <&4; uname -n) & echo $!")
        left = int(one.hear())
        live.run.stdin.close()
        until(lambda: len(live.processes()) == 2, "cat to end")
        os.kill(one.pid, signal.SIGKILL)
        one.process.wait()
        until(lambda: live.processes() == [left], "the shell to end")
        live.rearm(2)
        one.say("")
        assert one.hear() == "boxed"
        until(lambda: not me.views(), "the view to end")


def test_what_can_t_be_attached_is_said_in_words(me, outside, program):
    with view(me, *BOXED, "cat") as live, subprocess.Popen(["true"]) as dead:
        threaded = outside(sys.executable, "-c", PYTHON)
        until(lambda: len(os.listdir(f"/proc/{threaded.pid}/task")) == 2, "its thread")
        thread = max(map(int, os.listdir(f"/proc/{threaded.pid}/task")))
        listener = outside(program("own_filter"), "below", "cat")
        (below,) = until(lambda: _cats_of(listener.pid), "the program")
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        keeper = live.run.pid
        cases = {
            1: "process 1 is the system's init",
            keeper: "the view's own supervisor or keeper",
            live.supervisor: "the view's own supervisor or keeper",
            thread: f"{thread} is a thread of process {threaded.pid}",
            2: r"process 2 \(kthreadd\) is a thread of the kernel",
            dead.pid: rf"process {dead.pid} \(true\) has ended",
            below: "a listener of somebody else",
            4194303: "there is no process 4194303",
            live.processes()[0]: "is in this view already",
        }
        if _comm(2) != "kthreadd":
            del cases[2]  # in a pid namespace
        for pid, reason in cases.items():
            with pytest.raises(Refused, match=reason):
                live.attach(pid)
        live.attach(threaded.pid)
        with pytest.raises(Refused, match="is in this view already"):
            live.attach(threaded.pid)
        listener.say("still here")
        assert listener.hear() == "still here"


def _comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return ""


def test_a_traced_process_is_refused_with_its_tracer(me, outside):
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    strace = outside("strace", "-qq", "-o", "/dev/null", "cat")
    (pid,) = until(lambda: _cats_of(strace.pid), "the traced program")
    with view(me, *BOXED, "cat") as live:
        with pytest.raises(Refused, match=rf"traced by process {strace.pid}"):
            live.attach(pid)
        strace.say("still here")
        assert strace.hear() == "still here"


def _cats_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [child for child in map(int, children.read().split()) if _comm(child) == "cat"]


@pytest.mark.root
def test_another_user_s_process_is_refused_to_nobody(nobody, outside):
    mine = outside("cat")
    told = pytest.raises(Refused, match=rf"process {mine.pid} \(cat\) belongs to uid 0")
    with view(nobody, *BOXED, "cat") as live, told:
        live.attach(mine.pid)


def test_both_commands_attach_and_ps_shows_it(tmp_path, me, outside):
    env = environment(tmp_path) | {"VIEWOS_RUNTIME_DIR": str(me.runtime_dir)}
    one, other = outside("cat"), outside("cat")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*words), env=env, capture_output=True, text=True, timeout=100)

    with view(me, "-V", "attaching", *BOXED, "cat") as live:
        assert run("viewos", "attach", str(one.pid)).returncode == 0
        assert re.search(rf"\b{one.pid}\b", run("viewos", "ps").stdout)
        again = run("viewos", "attach", str(one.pid))
        assert again.returncode != 0
        assert again.stderr.count("\n") == 1
        assert run("um_attach", str(other.pid)).returncode == 2  # not in a view
        inside = command("um_attach", str(other.pid))
        done = subprocess.run(
            [*command("viewos", "exec", "attaching", "--"), *inside], env=env, timeout=100
        )
        assert done.returncode == 0
        assert other.pid in live.processes()
