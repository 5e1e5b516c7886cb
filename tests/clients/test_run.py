"""viewos-run as scripts use it: statuses, messages, bad input, rc files, detached views."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from helpers.pty import Terminal, kill
from helpers.waiting import until
from viewosd.keeper.processes import descendants, parent_of, state_of


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -USR1 $$", 128 + signal.SIGUSR1),
    ],
)
def test_the_status_is_the_programs(user, program, status):
    done = user.run("sh", "-c", program)
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")


def test_all_three_names_are_one_command_and_call_themselves_so(me, tmp_path):
    for name in ("kmview", "umview"):
        (tmp_path / name).symlink_to(me.viewos_run[0])
        done = subprocess.run(
            [tmp_path / name], env=me.environment, capture_output=True, timeout=100
        )
        assert done.returncode == 125
        assert done.stderr.startswith(f"{name}: no program".encode())


def test_help_and_version_are_printed_and_nothing_is_run(user):
    done = user.run("-h", "false")
    assert done.returncode == 0
    assert done.stdout.startswith(b"usage: viewos-run")
    assert b"viewosd" in user.run("-v").stdout


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["no-such-program"], 127, "no-such-program: not found"),
        (["/nonexistent/program"], 127, "/nonexistent/program: No such file or directory"),
        (["/etc/passwd"], 126, "/etc/passwd: Permission denied"),
        (["/"], 126, "/: Is a directory"),
        ([""], 127, "'': not found"),
        (["--frob", "true"], 125, "unknown option --frob; viewos-run -h lists them"),
        (["-f", "/nonexistent", "true"], 125, "/nonexistent: no such file"),
        (["-f", "/etc/passwd", "true"], 125, "/etc/passwd is not executable; an rc file is a program: chmod +x"),
        (["-o", "/nonexistent/log", "true"], 125, "/nonexistent/log: No such file or directory"),
        (["--foreign", "true"], 125, "--foreign needs the service umbinfmt, which is not installed"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_said_in_one_line_and_leaves_nothing(user, words, status, line):
    done = user.run(*words)
    assert done.stderr.decode() == f"viewos-run: {line}\n"
    assert (done.returncode, done.stdout) == (status, b"")
    assert list(user.runtime_dir.iterdir()) == []


def test_a_script_without_interpreter_is_run_by_the_shell_as_env_and_nice_do(user, scratch):
    script = scratch / "bare"
    script.write_text("echo bare $1 $0\n")
    script.chmod(0o755)
    assert user.run(str(script), "word").stdout == f"bare word {script}\n".encode()


def test_the_program_is_found_as_execvp_finds_it(user, scratch):
    first, second = scratch / "first", scratch / "second"
    for place, mode in ((first, 0o644), (second, 0o755)):
        place.mkdir(exist_ok=True)
        (place / "tool").write_text("#!/bin/sh\necho $0\n")
        (place / "tool").chmod(mode)
    env = user.environment | {"PATH": f"/nonexistent:{first}:{second}:{os.environ['PATH']}"}
    assert user.run("tool", env=env).stdout == f"{second}/tool\n".encode()


def test_a_runtime_directory_of_somebody_else_is_refused_in_words(nobody, scratch):
    place = scratch / "roots"
    place.mkdir(mode=0o755, exist_ok=True)
    done = nobody.run("true", env=nobody.environment | {"VIEWOS_RUNTIME_DIR": str(place)})
    assert done.returncode == 125
    assert b"belongs to uid 0, not to you" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_runtime_directory_that_is_a_link_or_a_file_is_refused(user):
    elsewhere = user.runtime_dir / "elsewhere"
    for make in (lambda: elsewhere.symlink_to("/tmp"), lambda: elsewhere.write_text("")):
        elsewhere.unlink(missing_ok=True)
        make()
        done = user.run("true", env=user.environment | {"VIEWOS_RUNTIME_DIR": str(elsewhere)})
        assert done.returncode == 125
        assert b"is not a directory; remove it" in done.stderr


def test_a_runtime_directory_with_a_name_too_long_for_a_socket_is_used(user):
    place = user.runtime_dir / ("d" * 200)
    done = user.run("ls", str(place), env=user.environment | {"VIEWOS_RUNTIME_DIR": str(place)})
    assert done.returncode == 0
    assert done.stdout.strip().endswith(b".sock")


@pytest.mark.root
def test_without_proc_it_is_refused_in_words(me):
    hide = 'mount -t tmpfs none /proc && exec "$@"'
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", hide, "sh"]
    done = subprocess.run(
        [*words, *me.viewos_run, "true"], env=me.environment, capture_output=True, timeout=100
    )
    assert done.returncode == 125
    assert done.stderr.startswith(b"viewos-run: /proc is not mounted here")
    assert done.stderr.count(b"\n") == 1


def test_no_more_processes_is_said_in_one_line(nobody):
    done = subprocess.run(
        [*nobody.prefix, "prlimit", "--nproc=0", *nobody.viewos_run, "true"],
        env=nobody.environment, capture_output=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 125
    assert done.stderr.startswith(b"viewos-run: can't start a view:")
    assert done.stderr.count(b"\n") == 1


def test_a_view_in_a_view_runs_like_any_program(user):
    done = user.run(*user.viewos_run, *user.viewos_run, "sh", "-c", "exit 3")
    assert (done.returncode, done.stderr) == (3, b"")
    until(lambda: not user.views(), "the views to end")


def test_a_detached_view_prints_its_id_and_runs_on(me):
    gate_reader, gate = os.pipe()
    done = me.run("-d", "sh", "-c", "read x; exit 0", stdin=gate_reader)
    os.close(gate_reader)
    assert (done.returncode, done.stderr) == (0, b"")
    assert me.views() == [int(done.stdout)]
    os.close(gate)
    until(lambda: not me.views(), "the view to end")


def test_a_detached_program_has_no_terminal_and_a_session_of_its_own(me, tmp_path):
    news = tmp_path / "news"
    program = f"readlink /proc/self/fd/0 > {news}.new; ps -o tty= -p $$ >> {news}.new; mv {news}.new {news}"
    with Terminal([*me.viewos_run, "-d", "sh", "-c", program]) as terminal:
        terminal.expect(r"\d+\r\n")
        assert os.waitstatus_to_exitcode(terminal.wait()) == 0
    until(news.exists, "news of the program")
    assert news.read_text().split() == ["/dev/null", "?"]
    until(lambda: not me.views(), "the view to end")


def test_a_detached_view_outlives_its_keeper(me):
    gate_reader, gate = os.pipe()
    serverid = int(me.run("-d", "sh", "-c", "read x", stdin=gate_reader).stdout)
    os.close(gate_reader)
    (prog,) = until(lambda: descendants(serverid), "the program")
    kill(parent_of(serverid), signal.SIGKILL)
    until(lambda: parent_of(serverid) == 1 or not state_of(serverid), "the keeper to end")
    assert state_of(prog)
    assert me.views() == [serverid]
    os.close(gate)
    until(lambda: not me.views(), "the view to end")


def test_a_detached_view_that_can_not_start_says_why(me):
    done = me.run("-d", "no-such-program")
    assert (done.returncode, done.stdout) == (127, b"")
    assert done.stderr == b"viewos-run: no-such-program: not found\n"


@pytest.fixture
def rc(scratch):
    """Write an executable."""

    def write(name: str, text: str, mode: int = 0o755) -> str:
        path = scratch / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(mode)
        return str(path)

    return write


def test_an_rc_file_runs_before_the_program_with_no_arguments(user, rc):
    done = user.run("-f", rc("rc-one", 'echo "rc:$#"'), "echo", "program")
    assert (done.stdout, done.stderr, done.returncode) == (b"rc:0\nprogram\n", b"", 0)


def test_the_users_own_rc_file_runs_unless_told_not_to(user, scratch, rc):
    home = scratch / "home"
    home.mkdir(exist_ok=True)
    rc("home/.viewosrc", "echo own")
    env = user.environment | {"HOME": str(home)}
    assert user.run("echo", "program", env=env).stdout == b"own\nprogram\n"
    assert user.run("--no-rc", "echo", "program", env=env).stdout == b"program\n"


@pytest.mark.root
def test_the_systems_rc_file_comes_first_and_its_profiles_last(user, scratch, rc):
    """With an /etc of the test's own."""
    home = scratch / "home"
    (home / ".config/viewos/profiles").mkdir(parents=True, exist_ok=True)
    rc("home/.viewosrc", "echo own")
    (home / ".config/viewos/profiles/mine.toml").write_text('name = "mine"\n')
    own_etc = (
        "set -e; own=$(mktemp -d); mount -t tmpfs none $own; mkdir $own/upper $own/work; "
        "mount -t overlay -o lowerdir=/etc,upperdir=$own/upper,workdir=$own/work none /etc; "
        "printf '#!/bin/sh\\necho system $*\\n' >/etc/viewosrc; chmod 755 /etc/viewosrc; "
        "mkdir -p /etc/viewos/profiles; cd /etc/viewos/profiles; "
        "echo 'services = [\"misc,nodename=box\"]' >theirs.toml; echo 'name = \"no\"' >mine.toml; "
        'umask 022; exec "$@"'
    )

    def run(*words: str) -> list[str]:
        done = subprocess.run(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", own_etc, "sh",
             *user.prefix, *user.viewos_run, *words],
            env=user.environment | {"HOME": str(home), "TMPDIR": str(scratch)},
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    assert run("echo", "program") == ["system", "own", "program"]
    assert run("-f", rc("rc-one", "echo given"), "echo", "program") == [
        "system",
        "given",
        "program",
    ]
    assert run("--no-rc", "echo", "program") == ["program"]
    assert run("--no-rc", "-P", "theirs", "uname", "-n") == ["box"]
    viewname = [str(Path(user.viewos_run[0]).with_name("viewname"))]
    if Path(viewname[0]).exists():
        assert run("--no-rc", "-P", "mine", *viewname) == ["mine"]
    inner = [*user.viewos_run, "echo", "program"]
    assert run("--no-rc", *inner) == ["system nested", "own", "program"]


def test_an_rc_file_that_fails_is_told_and_the_program_runs(user, rc):
    failing = rc("rc-bad", "exit 3")
    done = user.run("-f", failing, "echo", "program")
    assert (done.stdout, done.returncode) == (b"program\n", 0)
    assert done.stderr == f"viewos-run: rc file {failing}: exit status 3\n".encode()
    assert user.run("-q", "-f", failing, "true").stderr == b""


def test_an_unknown_service_is_refused_before_the_program_starts(user):
    done = user.run("-p", "no-such-service", "echo", "program")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"no-such-service" in done.stderr
    assert done.stderr.count(b"\n") == 1
    until(lambda: not user.views(), "the view to end")


def test_a_program_of_a_view_with_services_inherits_and_ends_alike(user):
    done = user.run("--hostname", "zebra", "sh", "-c", "uname -n; exit 5")
    assert (done.stdout, done.stderr, done.returncode) == (b"zebra\n", b"", 5)
    assert user.run("--hostname", "zebra", "no-such-program").returncode == 127
    until(lambda: not user.views(), "the views to end")


def test_job_control_is_the_same_with_services(me):
    from helpers.pty import Shell

    with Shell() as shell:
        shell.send("stty -echo\n")
        shell.send(f"{shlex.join(me.viewos_run)} --hostname zebra cat\n")
        cat = shell.find("cat")
        shell.send("one\n")
        shell.expect("one")
        shell.send("\x1a")
        shell.expect("Stopped")
        assert state_of(cat) == "T"
        shell.send("fg\n")
        until(lambda: state_of(cat) == "S", "cat to go on")
        shell.send("two\n")
        shell.expect("two")
        shell.send("\x03")
        shell.expect(r"outer\$ ")
        assert shell.status() == 130
