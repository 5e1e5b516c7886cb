"""viewos doctor: it tries, says in words what that means, and its status is the verdict."""

from __future__ import annotations

import errno
import json
import os

import pytest

from helpers.commands import Run
from helpers.fake_supervisor import FakeSupervisor
from viewos_clients import doctor, probes, unsafe
from viewos_clients.doctor import CHECKS, HAZARDS, applies, kernel_version
from viewos_clients.probes import Broken


def test_every_probe_runs_and_leaves_no_process_and_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    for check in CHECKS:
        row = doctor._result(check)
        assert row["works"] or row["reason"], check.name
        assert "\n" not in doctor.line(row)
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_status_says_whether_views_work(run: Run) -> None:
    plain, machine = run("viewos", "doctor"), run("viewos", "doctor", "--json")
    told = json.loads(machine.stdout)
    assert plain.returncode == machine.returncode == (0 if told["views_work"] else 1)
    names = [row["name"] for row in told["checks"]]
    assert names[: len(CHECKS)] == [check.name for check in CHECKS]
    lines = plain.stdout.splitlines()
    assert len(lines) == len(names) + 1
    assert lines[-1] == "views work here" or lines[-1].startswith("views do not work here: ")


def test_running_views_are_asked_too(run: Run, outside: FakeSupervisor) -> None:
    *_, view, _ = run("viewos", "doctor").stdout.splitlines()
    assert view.startswith(f"view {os.getpid()}:0")
    assert "its supervisor answers" in view


def test_inside_a_view_the_busy_listener_is_the_views_own(run: Run, inside: FakeSupervisor) -> None:
    lines = run("viewos", "doctor").stdout.splitlines()
    assert any(
        line.split("  ")[0] == "seccomp listener" and "answers the view that you are in" in line
        for line in lines
    )


def test_a_missing_need_is_status_1_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], runtime_dir: object
) -> None:
    def refuse(flags: int = 0) -> int:
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(unsafe, "listen_to_getppid", refuse)
    assert doctor.doctor(json=False) == 1
    said = capsys.readouterr().out
    assert (
        "seccomp listener     does not: another seccomp listener is in the chain already (EBUSY); "
        "no view works; leave the container or view that has it, or start it without its seccomp "
        "profile\n"
    ) in said
    assert said.endswith("views do not work here: seccomp listener, ADDFD with SEND\n")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSYS, "seccomp(2) is refused (Function not implemented)"),
        (errno.EPERM, "seccomp(2) is refused (Operation not permitted)"),
        (errno.EINVAL, "Invalid argument"),
    ],
)
def test_why_there_is_no_listener_is_told_by_the_errno(code: int, reason: str) -> None:
    assert probes._why_no_listener(OSError(code, os.strerror(code))).reason == reason


def test_a_child_that_is_killed_by_its_attempt_is_a_failure_not_a_hang() -> None:
    def die(theirs: object) -> None:
        os._exit(1)

    with probes.child(die) as (_, ours), pytest.raises(Broken, match="was killed"):
        probes.hear(ours)


@pytest.mark.parametrize(
    ("release", "version", "signature", "expected"),
    [
        ("6.18.44", "#1 SMP", "", (6, 18, 44)),
        ("6.18.44-fc-v669", "", "", (6, 18, 44)),
        ("6.19-rc3", "", "", (6, 19, 0)),
        ("6.1.0-18-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)", "", (6, 1, 76)),
        ("6.8.0-31-generic", "#31-Ubuntu SMP", "Ubuntu 6.8.0-31.31-generic 6.8.1", (6, 8, 1)),
        ("odd", "", "", ()),
    ],
)
def test_the_upstream_version_is_found(
    release: str, version: str, signature: str, expected: tuple[int, ...]
) -> None:
    assert kernel_version(release, version, signature) == expected


@pytest.mark.parametrize(
    ("name", "version", "affected"),
    [
        ("WAIT_KILLABLE race", (5, 15, 9), False),
        ("WAIT_KILLABLE race", (6, 1, 76), True),
        ("WAIT_KILLABLE race", (6, 12, 51), True),
        ("WAIT_KILLABLE race", (6, 12, 52), False),
        ("WAIT_KILLABLE race", (6, 17, 9), True),
        ("WAIT_KILLABLE race", (6, 18, 0), False),
        ("ADDFD interrupted", (6, 12, 117), False),
        ("ADDFD interrupted", (6, 18, 44), True),
        ("ADDFD interrupted", (6, 19, 0), True),
        ("ADDFD interrupted", (7, 3, 0), False),
        ("CVE-2026-89603", (6, 12, 117), True),
        ("CVE-2026-89603", (6, 18, 51), False),
        ("CVE-2026-89603", (7, 2, 3), True),
        ("CVE-2026-89603", (8, 0, 0), False),
        ("CVE-2026-89603", (), False),
    ],
)
def test_kernel_bugs_are_told_by_the_version(
    name: str, version: tuple[int, ...], affected: bool
) -> None:
    hazard = next(each for each in HAZARDS if each.name == name)
    assert applies(hazard, version) is affected
