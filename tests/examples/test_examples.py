"""Every file of examples/ is run, by its path as its docstring says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.waiting import until

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


def run(user, service: str, *words: str, **options):
    done = user.run("-p", f"{EXAMPLES}/{service}", "--", *words, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@contextmanager
def started(user, *words: str, **options) -> Iterator[subprocess.Popen[bytes]]:
    """viewos-run in the background, killed at the end if it still runs."""
    with user.start(*words, **options) as view:
        try:
            yield view
        finally:
            if view.poll() is None:
                view.kill()


def test_no_example_is_longer_than_40_lines_or_untested():
    here = Path(__file__).read_text()
    for path in EXAMPLES.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 40, path
        assert path.stem in here or path.parent.name.removeprefix("viewos_") in here, path


def test_count_reports_at_the_end_who_opened_how_much(me, tmp_path):
    report = tmp_path / "report"
    assert run(me, f"count.py,report={report}", "cat", "/etc/hostname")[0] == 0
    # The view outlives viewos-run by the moment that its services take to stop.
    lines = until(lambda: report.exists() and report.read_text())
    counts = dict(line.rsplit(" ", 1) for line in lines.splitlines())
    assert int(counts["cat"]) >= 2


def test_no_network_refuses_the_internet_and_leaves_local_sockets(me):
    script = """
import errno, socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
    try: socket.socket(family).close(); print("ok")
    except OSError as error: print(errno.errorcode[error.errno])
"""
    status, told, _ = run(me, "no_network.py", "/usr/bin/python3", "-c", script)
    assert (status, told.split()) == (0, ["ENETUNREACH", "ENETUNREACH", "ok"])


def test_same_random_repeats_itself_and_never_gives_too_little(me):
    words = [
        "/usr/bin/python3",
        "-c",
        "import os; print(len(os.urandom(1000)), os.urandom(8).hex())",
    ]
    first, second, other = (run(me, f"same_random.py,seed={seed}", *words)[1] for seed in (7, 7, 8))
    assert first == second != other
    assert first.startswith("1000 ")


def test_motd_is_another_file_and_only_that(user):
    script = "cat /etc/motd; cd /etc; cat motd ./motd ../etc//motd; wc -l < /etc/motd; cat hostname"
    status, told, errors = run(user, "motd.py,text=Hello!", "sh", "-c", script)
    assert (status, errors) == (0, "")
    assert told == "Hello!\n" * 4 + "1\n" + Path("/etc/hostname").read_text()


def test_dev_python_is_started_in_development_mode_by_whoever(user):
    ask = "python3 -c 'import sys; print(sys.flags.dev_mode, *sys.argv[1:])' a b"
    script = f"PATH=/usr/bin; {ask}; env {ask}; /bin/echo untouched"
    status, told, errors = run(user, "dev_python.py", "sh", "-c", script)
    assert (status, told, errors) == (0, "True a b\nTrue a b\nuntouched\n", "")


def test_read_only_protects_what_lies_below_and_nothing_else(me, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "kept").write_text("kept\n")
    script = """
cd home; cat kept; echo x > new; echo x >> kept; mkdir d; rm -f kept; true > ../home/./y
echo fine > ../beside; cat ../beside kept
"""
    status, told, errors = run(me, f"read_only.py,path={home}", "sh", "-c", script, cwd=tmp_path)
    assert (status, told) == (0, "kept\nfine\nkept\n")
    assert errors.count("Read-only file system") == 5
    assert [p.name for p in home.iterdir()] == ["kept"]


def test_ask_first_waits_for_the_answer(me, tmp_path):
    (tmp_path / "sh.answer").write_text("yes\n")
    script = "echo asked; /bin/true; echo $?; /bin/false; echo $?; uname; echo $?"
    words = ("-p", f"{EXAMPLES}/ask_first.py,directory={tmp_path}", "--", "sh", "-c", script)
    with started(me, *words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as view:
        for name, answer in (("true", "yes"), ("false", "no"), ("uname", "yes")):
            until((tmp_path / name).exists)
            (tmp_path / f"{name}.answer").write_text(answer)
        lines = view.communicate(timeout=100)[0].decode().split()
    assert lines == ["asked", "0", "126", "Linux", "0"]


def test_a_signal_ends_the_wait_of_an_interruptible_hook(me, tmp_path):
    (tmp_path / "python3.answer").write_text("yes")
    script = """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: None)
try: os.execv("/bin/true", ["true"])
except InterruptedError: print("interrupted")
"""
    service = f"{EXAMPLES}/ask_first.py,directory={tmp_path}"
    words = ("-p", service, "--", "/usr/bin/python3", "-c", script)
    with started(me, *words, stdout=subprocess.PIPE) as view:
        until((tmp_path / "true").exists)
        view.send_signal(signal.SIGUSR1)
        assert view.communicate(timeout=100)[0] == b"interrupted\n"


def test_the_packaged_one_is_installed_by_pip_and_found_by_its_entry_point(me, tmp_path):
    source = EXAMPLES / "packaged"
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation",
             "--no-index", "--disable-pip-version-check", "--target", tmp_path / "site", source]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        pytest.skip("needs pip")
    assert done.returncode == 0, done.stderr
    env = me.environment | {"PYTHONPATH": str(tmp_path / "site")}
    done = me.run("-p", "moonphase,phase=new", "--", "uname", "-s", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Linux/new moon\n", b"")
    assert me.run("-p", "moonphase", "--", "true").returncode == 125  # without it: unknown
    assert sorted(os.listdir(source)) == ["pyproject.toml", "src"]


def test_ledger_is_a_file_system_that_nobody_wrote(me, tmp_path):
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs a /dev/fuse that may be opened")
    (tmp_path / "year").mkdir()
    script = """
mount -t ledger 2026 "$1" && ls "$1"/months | wc -l && cat "$1/months/2026-03" "$1/total"
touch "$1/new" 2>/dev/null || echo unchanged; umount "$1"; ls "$1" | wc -l
"""
    status, told, _ = run(me, "ledger.py", "sh", "-c", script, "sh", str(tmp_path / "year"))
    assert (status, told.splitlines()) == (
        0, ["12", "2026-03: 300 coins", "7800", "unchanged", "0"],
    )  # fmt: skip


def test_json_files_are_directories(me, tmp_path):
    if os.geteuid() and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs /dev/fuse")
    (tmp_path / "a.json").write_text('{"name": "x", "list": [1, {"deep/er": null}], "": true}')
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "point").mkdir()
    script = """
set -e
viewmount -t json a.json point
ls point; cat point/name point/list/0 "point/list/1/deep|er" point/_
for file in bad.json none.json; do ! viewmount -t json $file point 2>/dev/null; done
"""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    status, told, errors = run(
        me, "json_files.py", "sh", "-c", script, cwd=tmp_path, env=environment
    )
    assert (status, told.split(), errors) == (
        0,
        ["_", "list", "name", "x", "1", "null", "true"],
        "",
    )


@pytest.mark.root
def test_json_files_conform(tmp_path):
    sys.path.insert(0, str(EXAMPLES))
    try:
        from json_files import Tree
    finally:
        sys.path.remove(str(EXAMPLES))
    from viewosd.testing import conformance
    from viewosd.testing.mounted import mounted

    (tmp_path / "a.json").write_text('{"name": "x", "list": [1, 2]}')
    fd = os.open(tmp_path / "a.json", os.O_RDONLY)
    with mounted(lambda: Tree([fd])) as mount:
        found = conformance.run(lambda: mount.root, conformance.READING)
    os.close(fd)
    assert set(found.values()) == {"ok"}
