"""What is asked for in vain: one clear line, the right exit status, and nothing left behind."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.pty import name_of
from helpers.waiting import until
from viewosd.abi.arch import NATIVE
from viewosd.abi.sysno import SYSNO
from viewosd.keeper.processes import descendants

SERVICE = """
from viewosd import Errno, Return, Service, hook
from viewosd.syscalls import close, execve, openat

class Bad(Service):
    name = "bad"
"""


@pytest.fixture
def spotless(user) -> Iterator[None]:
    """After the test: no process of ours, no socket, no log, no temporary file, no mount."""
    mounts = Path("/proc/self/mountinfo").read_text()
    temporary = user.runtime_dir / "tmp"
    temporary.mkdir()
    os.chown(temporary, user.uid, -1)
    user.environment["TMPDIR"] = str(temporary)
    before = set(descendants(os.getpid()))
    yield
    until(lambda: not set(descendants(os.getpid())) - before, "the end of every process")
    assert [p.name for p in user.runtime_dir.glob(".*")] == []
    assert [p.name for p in user.runtime_dir.glob("*.sock")] == []
    assert [p.read_text() for p in user.runtime_dir.glob("*.log")] == []
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert not list(temporary.iterdir())


def refused(ended: subprocess.CompletedProcess[bytes], status: int = 125) -> str:
    """The one line that says why."""
    assert ended.returncode == status, ended
    assert ended.stdout == b""
    lines = ended.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("viewos-run: ")
    assert "Traceback" not in lines[0]
    assert "Errno" not in lines[0]
    return lines[0].removeprefix("viewos-run: ")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["-p", "nosuch", "true"], 125, r"unknown service nosuch \(installed: .*misc"),
        (["-p", "misc,colour=red", "true"], 125, "misc has no option colour .*nodename"),
        (["-p", "misc,nodename=" + "x" * 65, "true"], 125, "nodename is longer than 64 bytes"),
        (["-p", "misc", "-p", "misc", "true"], 125, "misc is already loaded"),
        (["nosuch-program"], 127, "nosuch-program: not found"),
        (["/no/such/program"], 127, "/no/such/program: No such file"),
        (["--hostname", "x", "nosuch-program"], 127, "nosuch-program: not found"),
        (["--hostname", "x", "/etc/passwd"], 126, "/etc/passwd: Permission denied"),
        (["/etc"], 126, "/etc: Is a directory"),
        (["-f", "/no/such/rc", "true"], 125, "/no/such/rc: no such file"),
        (["-f", "/etc/passwd", "true"], 125, r"not executable.*chmod \+x"),
        (["-P", "nosuch", "true"], 125, "no profile nosuch: there is no .*nosuch.toml"),
        (["-P", "/etc/passwd", "true"], 125, "/etc/passwd: .*line 1"),
        (["-P", "/etc", "true"], 125, "Is a directory|no profile"),
        (["-p", "/no/such/service.py", "true"], 125, "no service file /no/such/service.py"),
        (["-o", "/no/such/log", "true"], 125, "/no/such/log: No such file"),
        (["--no-such-option", "true"], 125, "unknown option --no-such-option"),
        (["--uname", "colour=red", "true"], 125, "sysname, nodename"),
        ([], 125, "no program to run"),
        (["-p"], 125, "-p needs a value"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("spotless")
def test_what_can_not_be_done_is_refused_in_one_line(
    user, words: list[str], status: int, said: str
) -> None:
    assert re.search(said, refused(user.run(*words), status))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    def (", "service.py can't be loaded: SyntaxError"),
        ("import nosuchmodule", "can't be loaded: ModuleNotFoundError"),
        ("raise SystemExit('bye')", "can't be loaded: SystemExit: bye"),
        ("del Bad", "must have one service"),
        ("    def __init__(self): raise KeyError('x')", "bad: KeyError: 'x'"),
        ("    def __init__(self): raise SystemExit(3)", "bad: SystemExit: 3"),
        ("    def __init__(self, needed: int): pass", "bad needs option needed"),
        ("    async def start(self): raise RuntimeError('two\\nlines')", "bad: RuntimeError: two"),
        ("    async def start(self): raise SystemExit(3)", "bad: SystemExit: 3"),
        ("    @hook(close)\n    def h(self, call, tracee): return None", "close can't be hooked: "),
        ("    @hook(openat, nosuch=1)\n    def h(self, call, tracee): return None", "no register"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("spotless")
def test_a_broken_service_file_is_told(user, body: str, said: str) -> None:
    path = user.runtime_dir / "service.py"
    path.write_text(SERVICE + body + "\n")
    assert said in refused(user.run("-p", str(path), "true"))


def test_a_broken_service_does_not_disturb_a_running_view(user) -> None:
    path = user.runtime_dir / "service.py"
    path.write_text(SERVICE + "    async def start(self): raise SystemExit(3)\n")
    script = f"um_add_service {path}; echo $?; um_ls_service; uname -n"
    place = Path(user.viewos_run[0]).parent / "um_add_service"
    if not place.exists():
        pytest.skip("the commands are not installed where this user can reach them")
    environment = user.environment | {"PATH": f"{place.parent}:{os.environ['PATH']}"}
    ours = user.run("-p", "misc,nodename=box", "--", "sh", "-c", script, env=environment)
    assert ours.stderr == b"um_add_service: service bad: SystemExit: 3\n"
    assert re.fullmatch(rb"1\nmisc: .*\nbox\n", ours.stdout)


@pytest.mark.parametrize(
    ("exec_answer", "status", "said"),
    [("Errno(13)", 126, "true: Permission denied"), ("1 / 0", 126, "true: Input/output error")],
)
def test_a_service_that_breaks_exec(user, exec_answer: str, status: int, said: str) -> None:
    path = user.runtime_dir / "service.py"
    body = f"    @hook(execve)\n    def h(self, call, tracee): return {exec_answer}\n"
    path.write_text(SERVICE + body)
    assert refused(user.run("-p", str(path), "true"), status) == said


@pytest.mark.usefixtures("spotless")
def test_an_unreadable_profile_or_rc_file(nobody, user) -> None:
    secret = nobody.runtime_dir / "secret.toml"
    secret.write_text("")
    secret.chmod(0)
    if user.uid:
        assert "secret.toml: Permission denied" in refused(user.run("-P", str(secret), "true"))
    assert "secret.toml is not executable" in refused(user.run("-f", str(secret), "true"))


# -- the machine


@pytest.mark.usefixtures("spotless")
def test_a_listener_that_is_in_the_chain_already(user, program: Callable[..., str]) -> None:
    below = [*user.prefix, program("own_filter"), "below", *user.viewos_run]

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*below, *words], capture_output=True, env=user.environment, timeout=100
        )

    assert "allows one listener only; start it outside" in refused(run("--hostname", "x", "true"))
    # An empty view has no listener, so it needs none.
    assert run("echo", "hello").stdout == b"hello\n"


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        ("seccomp", 22, "no seccomp listeners"),
        ("seccomp", 38, r"no seccomp\(2\)"),
        ("seccomp", 1, "forbidden here"),
        ("pidfd_getfd", 1, "forbidden here, as by Yama.*'viewos doctor'"),
        ("pidfd_getfd", 38, r"no pidfd_getfd\(2\)"),
        ("pidfd_open", 1, "can't start PROG: Operation not permitted"),
    ],
)
@pytest.mark.usefixtures("spotless")
def test_a_kernel_without_what_a_filter_needs(
    user, program: Callable[..., str], call: str, code: int, said: str
) -> None:
    number = SYSNO[NATIVE][call]
    below = [*user.prefix, program("without"), str(code), str(number), *user.viewos_run]

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*below, *words], capture_output=True, env=user.environment, timeout=100
        )

    assert re.search(said, refused(run("--hostname", "x", "true")))
    if call == "pidfd_open":  # what started is ended again
        assert re.search(said, refused(run("echo", "hello")))
    else:
        assert run("echo", "hello").stdout == b"hello\n"


@pytest.mark.usefixtures("spotless")
def test_no_user_namespaces(nobody) -> None:
    """The limit of a namespace of theirs is theirs to set, and counts for all below it."""
    script = (
        "echo 0 >/proc/sys/user/max_user_namespaces || exit 77\n"
        'exec setpriv --ambient-caps=-all --inh-caps=-all "$@"'
    )
    own = ["unshare", "-U", f"--map-user={nobody.uid}", "--keep-caps", "sh", "-c", script, "sh"]

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*nobody.prefix, *own, *nobody.viewos_run, *words],
            capture_output=True, env=nobody.environment, timeout=100,
        )  # fmt: skip

    ended = run("--tmpfs", "/mnt", "true")
    if ended.returncode == 77 or b"unshare" in ended.stderr:
        pytest.skip("needs user namespaces, and an unshare(1) that keeps capabilities")
    assert "no user namespace: too many" in refused(ended)
    assert run("--hostname", "box", "uname", "-n").stdout == b"box\n"


@pytest.mark.root
@pytest.mark.parametrize("hidepid", [1, 2, 4])
@pytest.mark.parametrize("options", [[], ["--hostname", "box"]], ids=["empty", "filter"])
@pytest.mark.usefixtures("spotless")
def test_others_processes_are_hidden(nobody, options: list[str], hidepid: int) -> None:
    """hidepid of proc(5): the keeper's own parent is out of sight, and that is no matter."""
    place = Path(nobody.viewos_run[0]).parent
    if not (place / "viewos").exists():
        pytest.skip("the commands are not installed where this user can reach them")
    hide = ["unshare", "-m", "--propagation", "private", "sh", "-c",
            f'mount -t proc -o hidepid={hidepid} proc /proc && "$@"', "sh"]  # fmt: skip
    script = (
        "viewname; um_add_service misc,nodename=other 2>/dev/null; uname -n\n"
        "viewos-run -V branch -- viewname; viewos exec -- uname -n; viewos ps | wc -l"
    )
    ended = subprocess.run(
        [*hide, *nobody.prefix, *nobody.viewos_run, "-V", "lab", *options, "sh", "-c", script],
        capture_output=True, timeout=100,
        env=nobody.environment | {"PATH": f"{place}:{os.environ['PATH']}"},
    )  # fmt: skip
    name = "box" if options else "other"
    assert ended.stdout.decode().split() == ["lab", name, "branch", name, "4"]
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.root
@pytest.mark.parametrize("options", [[], ["--hostname", "x"]], ids=["empty", "filter"])
@pytest.mark.usefixtures("spotless")
def test_proc_is_hidden(user, options: list[str]) -> None:
    hide = ["unshare", "-m", "--propagation", "private", "sh", "-c",
            'mount -t tmpfs none /proc && exec "$@"', "sh"]  # fmt: skip
    ended = subprocess.run(
        [*hide, *user.prefix, *user.viewos_run, *options, "true"],
        capture_output=True, env=user.environment, timeout=100,
    )  # fmt: skip
    assert "/proc is not mounted" in refused(ended)


@pytest.mark.parametrize("options", [[], ["--hostname", "box"]], ids=["empty", "filter"])
def test_too_few_descriptors_for_us(user, options: list[str]) -> None:
    for number in range(5, 64):
        limited = [*user.prefix, "sh", "-c", f'ulimit -n {number}; exec "$@"', "sh"]
        ended = subprocess.run(
            [*limited, *user.viewos_run, *options, "uname", "-s"],
            capture_output=True, env=user.environment, timeout=100,
        )  # fmt: skip
        if ended.returncode == 0:
            assert ended.stdout == b"Linux\n"
            return
        # With very few Python itself may not start, and says so in its own words.
        if b"viewos-run: " in ended.stderr:
            refused(ended)
    raise AssertionError("it needs more than 64 descriptors")


@pytest.mark.parametrize(
    ("limit", "said"),
    [("--as=25000000", "limit of memory.*ulimit -v"), ("--data=8000000", "ulimit -v and -d"),
     ("--fsize=0", "limit of file sizes.*ulimit -f")],
)  # fmt: skip
@pytest.mark.usefixtures("spotless")
def test_limits_that_leave_no_room_for_a_supervisor(user, limit: str, said: str) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*user.prefix, "prlimit", limit, *user.viewos_run, *words],
            capture_output=True, env=user.environment, timeout=100,
        )  # fmt: skip

    assert re.search(said, refused(run("--hostname", "box", "true")))
    assert run("echo", "hello").stdout == b"hello\n"  # an empty view needs no more than PROG


def test_a_soft_limit_of_file_sizes_is_the_programs_alone(user) -> None:
    limited = [*user.prefix, "prlimit", "--fsize=512:unlimited", *user.viewos_run]
    ended = subprocess.run(
        [*limited, "--hostname", "box", "sh", "-c", "uname -n; ulimit -S -f; ulimit -H -f"],
        capture_output=True, env=user.environment, timeout=100,
    )  # fmt: skip
    assert ended.stdout.split() == [b"box", b"1", b"unlimited"], ended


@pytest.mark.root
@pytest.mark.parametrize("options", [[], ["--hostname", "x"]], ids=["empty", "filter"])
@pytest.mark.usefixtures("spotless")
def test_no_room_for_the_socket(user, options: list[str]) -> None:
    place = user.runtime_dir / "full"
    place.mkdir()
    fill = (
        f"mount -t tmpfs -o nr_inodes=1,mode=700,uid={user.uid} none {place} && "
        f'export VIEWOS_RUNTIME_DIR={place} && exec "$@"'
    )
    ended = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", fill, "sh", *user.prefix,
         *user.viewos_run, *options, "true"],
        capture_output=True, env=user.environment, timeout=100,
    )  # fmt: skip
    assert "No space left on device; make room, or set VIEWOS_RUNTIME_DIR" in refused(ended)


def test_a_full_descriptor_table_in_the_tracee(user) -> None:
    script = (
        "import os, resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))\n"
        "try:\n    while True: os.dup(0)\n"
        "except OSError as error: print(error.errno)\n"
        "print(os.uname().nodename)\n"
    )
    ours = user.run("--hostname", "box", "--", "/usr/bin/python3", "-c", script)
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, b"24\nbox\n", b"")


@pytest.mark.parametrize("kind", [[], ["--hostname", "box"]], ids=["empty", "filter"])
@pytest.mark.usefixtures("spotless")
def test_whoever_is_killed_at_any_step_leaves_nothing(user, kind: list[str]) -> None:
    script = "while :; do uname -n >/dev/null; cat /etc/passwd | wc -l >/dev/null; done"
    chance = random.Random(7)
    for round in range(12):
        keeper = user.start(*kind, "--", "sh", "-c", script, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, process_group=0)  # fmt: skip
        # Not synchronisation: a moment of chance, in which anything may be going on.
        time.sleep(chance.uniform(0, 0.5))
        family = descendants(keeper.pid)
        victim = chance.choice([keeper.pid, *family])
        named = f"{victim} {name_of(victim)}"
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if victim == keeper.pid:
            # The tree hears a hang-up, like the tree of a terminal.
            keeper.wait(timeout=100)
        else:
            time.sleep(chance.uniform(0, 0.05))
            keeper.send_signal(signal.SIGTERM)
            try:
                keeper.wait(timeout=20)
            except subprocess.TimeoutExpired:
                raise AssertionError(
                    f"round {round}: {victim} of {family} was killed and it hangs"
                ) from None
        until(lambda: not user.views(), f"the end of the view; {named} of {family} was killed")
    # Whoever is killed before its socket has the view's name leaves it to the next view to remove.
    assert user.run("--", "true").returncode == 0
    # That a supervisor was killed is in a log, as it should be; nothing else is.
    for log in user.runtime_dir.glob("*.log"):
        assert re.fullmatch(r"(.* supervisor \d+ of its view takes over\n)+", log.read_text())
        log.unlink()


# -- where views are found


def own_place(user, path: Path | str) -> dict[str, object]:
    return {"env": user.environment | {"VIEWOS_RUNTIME_DIR": str(path)}}


def test_a_runtime_directory_of_somebody_else(nobody, tmp_path: Path) -> None:
    foreign = nobody.runtime_dir.parent / f"foreign-{tmp_path.name}"
    foreign.mkdir(mode=0o777)
    assert "belongs to uid 0, not to you" in refused(
        nobody.run("true", **own_place(nobody, foreign))
    )


def test_a_runtime_directory_that_can_not_be_made(nobody) -> None:
    said = refused(nobody.run("true", **own_place(nobody, "/proc/nowhere")))
    assert "/proc/nowhere: " in said
    assert "set VIEWOS_RUNTIME_DIR to a directory that you can write" in said


def test_a_runtime_directory_that_is_a_link_or_a_file(user) -> None:
    link, file = user.runtime_dir / "link", user.runtime_dir / "file"
    link.symlink_to("/tmp")
    file.write_text("")
    for path in (link, file):
        assert "is not a directory" in refused(user.run("true", **own_place(user, path)))


def test_a_runtime_directory_that_others_could_enter_is_closed_to_them(user) -> None:
    user.runtime_dir.chmod(0o755)
    assert user.run("true").returncode == 0
    assert user.runtime_dir.stat().st_mode & 0o777 == 0o700
