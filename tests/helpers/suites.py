"""The suites of others that `scripts/outside` knows, and how their verdicts are read."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from .outside import Missing, Ran, Suite, Verdicts

PROGRAMS = Path(__file__).resolve().parent.parent / "programs"

PYTHON = (
    "test_os test_posix test_posixpath test_subprocess test_signal test_threading test_thread "
    "test_threadsignals test_socket test_socketserver test_select test_selectors test_poll "
    "test_epoll test_mmap test_fcntl test_ioctl test_shutil test_tempfile test_glob test_pathlib "
    "test_file test_fileio test_file_eintr test_io test_largefile test_openpty test_pty test_popen "
    "test_pwd test_resource test_sched test_stat test_fork1 test_wait3 test_wait4 test_eintr "
    "test_multiprocessing_fork test_multiprocessing_spawn test_multiprocessing_forkserver "
    "test_concurrent_futures test_asyncio test_faulthandler test_mailbox test_dbm test_tarfile "
    "test_zipfile test_gzip test_logging test_ftplib test_httpservers test_ssl test_smtplib "
    "test_urllib2_localnet test_time test_timeout test_platform test_cmd_line "
    "test_cmd_line_script test_runpy test_site test_sys test_gdb test_readline test_getpass "
    "test_filecmp test_fileinput test_uuid test_tracemalloc test_ctypes test_support"
)
"""Modules of CPython's own tests that ask much of the kernel."""

GO = (
    "os os/exec os/signal os/user syscall net net/http/httptest io/fs io/ioutil path/filepath "
    "runtime runtime/pprof internal/poll time sync archive/tar"
)
"""Packages of Go's own tests."""

_XML = "== verdicts =="

# Those that take the machine down, that need a second of it each, or that measure time.
_NO_STRESS = (
    "bad-altstack cpu-online cyclic hrtimers memhotplug oom-pipe reboot watchdog kvm klog "
    "race-sched bigheap brk stack swap sysinval sysbadaddr x86syscall usersyscall syscall "
    "netlink-proc binderfs ramfs smi rdrand randlist hdd iomix sync-file dirmany forkheavy enosys "
    "sockmany idle-page physpage fallocate full vforkmany vm revio"
)


def parts(name: str) -> list[str]:
    """The parts that a suite has here; a suite without any is one part, ""."""
    match name:
        case "python":
            return [m for m in PYTHON.split() if Path(f"/usr/lib/python3.11/test/{m}.py").exists()]
        case "go":
            return GO.split()
        case "stress":
            return [
                s
                for c in ("os", "filesystem")
                for s in _stressors(c)
                if s not in _NO_STRESS.split()
            ]
        case "shell":
            return sorted(path.stem for path in (PROGRAMS / "outside").glob("*.sh"))
    raise Missing(f"there is no suite {name}")


def suite(name: str, part: str, build: Path) -> Suite:
    """One part of a suite, ready to run; what must be compiled goes into ``build``.

    Raises:
        Missing: it is not installed.
    """
    match name:
        case "python":
            return _python(part)
        case "go":
            return _go(part, build)
        case "stress":
            return _stress(part)
        case "shell":
            return _shell(part)
    raise Missing(f"there is no suite {name}")


def _python(module: str) -> Suite:
    python = "/usr/bin/python3"
    if subprocess.run([python, "-c", "import test.regrtest"], capture_output=True).returncode:
        raise Missing("Python's own tests are not installed: libpython3.11-testsuite")
    # They are printed: below copy-on-write nobody outside sees the file.
    script = f'"$@" --junit-xml v.xml {module}; status=$?; echo "{_XML}"; cat v.xml; exit $status'
    argv = ["sh", "-c", script, "sh", python, "-m", "test", "-v"]
    return Suite(argv, _junit, needs=[python])


def _junit(ran: Ran) -> Verdicts:
    try:
        tree = ElementTree.fromstring(ran.output.rpartition(f"{_XML}\n")[2])
    except ElementTree.ParseError:
        return {"no verdicts": ran.output[-400:]}
    return {case.get("name", "?"): _told(case) for case in tree.iter("testcase")}


def _told(case: ElementTree.Element) -> str:
    kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    return kinds[0] if kinds else str(case.get("result", "completed"))


def _go(package: str, build: Path) -> Suite:
    if not shutil.which("go"):
        raise Missing("go is not installed")
    root = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True).stdout.strip()
    source, program = Path(root, "src", package), build / package.replace("/", "-")
    if not program.exists():
        built = subprocess.run(
            ["go", "test", "-c", "-o", program, package], capture_output=True, text=True
        )
        if built.returncode or not program.exists():
            raise Missing(f"go can't build the tests of {package}: {built.stderr[-200:]}")
        program.chmod(0o755)
    argv = [str(program), "-test.v", "-test.short", "-test.timeout=240s"]
    return Suite(argv, _go_told, cwd=str(source), env={"GOCACHE": "{work}"})


def _go_told(ran: Ran) -> Verdicts:
    return dict(_go_lines(ran.output))


def _go_lines(output: str) -> Iterator[tuple[str, str]]:
    for verdict, name in re.findall(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", output, re.M):
        yield name, verdict


def _stressors(kind: str) -> list[str]:
    told = subprocess.run(["stress-ng", "--class", f"{kind}?"], capture_output=True, text=True)
    _, _, names = (told.stdout + told.stderr).partition("stressors:")
    return names.split()


def _stress(stressor: str) -> Suite:
    argv = [
        "stress-ng",
        f"--{stressor}",
        "1",
        f"--{stressor}-ops",
        "3",
        "--timeout",
        "3",
        "--verify",
    ]
    return Suite([*argv, "--temp-path", "{work}"], _stress_told, needs=["stress-ng"], limit_s=60)


def _stress_told(ran: Ran) -> Verdicts:
    # What it complains of, without process ids, addresses and counts.
    failed = re.findall(r"^stress-ng: fail:\s+\[\d+\] (.*)", ran.output, re.M)
    return {re.sub(r"\d+|0x[0-9a-f]+", "N", line): "complained" for line in failed}


def _shell(script: str) -> Suite:
    path = PROGRAMS / "outside" / f"{script}.sh"
    head = path.read_text().partition("\n\n")[0]
    needs = re.findall(r"^# needs: (.*)", head, re.M)
    return Suite(
        ["sh", str(path)], _lines, needs=" ".join(needs).split(), user_only="# as a user" in head
    )


def _lines(ran: Ran) -> Verdicts:
    return {f"line {i}": line for i, line in enumerate(ran.output.splitlines(), 1)}
