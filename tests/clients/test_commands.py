"""Every command, as a user types it: exit status and output, to the letter."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from helpers.commands import Run, failed, ok
from helpers.fake_supervisor import FakeLoaded, FakeSupervisor, Late, Misc, running

ME = os.getpid()


# -- View-OS's own names


@pytest.mark.parametrize(
    "words",
    [
        ("um_add_service", "misc"), ("um_del_service", "misc"), ("um_ls_service",),
        ("um_mov_service", "misc", "1"), ("um_attach", "1"), ("umshutdown",), ("viewname",),
        ("viewname", "new"), ("viewname", "-p"), ("vuname",), ("vuname", "-a"), ("vuname", "-x"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_outside_a_view_each_says_so_in_one_line(
    run: Run, outside: FakeSupervisor, words: tuple[str, ...]
) -> None:
    line = f"{words[0]}: not inside a view; start one with viewos-run\n"
    assert failed(run(*words)) == (2, line)


@pytest.mark.parametrize("words", [("viewname", "-q"), ("viewname", "-qp"), ("vuname", "-q")])
def test_the_quiet_ones_say_nothing_outside(run: Run, words: tuple[str, ...]) -> None:
    assert failed(run(*words)) == (2, "")


def test_services_are_added_listed_moved_and_removed(run: Run, inside: FakeSupervisor) -> None:
    inside.release()
    assert ok(run("um_ls_service")) == ""
    assert ok(run("um_add_service", "misc,nodename=box,release=a\\,b")) == ""
    assert ok(run("um_add_service", "-p", "late")) == ""
    assert inside.said == [
        ("add", 0, "misc,nodename=box,release=a\\,b", False),
        ("add", 0, "late", True),
    ]
    listed = ["misc: Host name and other names of the system", "late: Answers late"]
    assert ok(run("um_ls_service")).splitlines() == listed
    assert ok(run("um_mov_service", "late", "1")) == ""
    assert ok(run("um_ls_service")).splitlines() == listed[::-1]
    assert ok(run("um_mov_service", "-p", "1", "2")) == ""
    assert ok(run("um_ls_service")).splitlines() == listed
    assert ok(run("um_del_service", "misc")) == ""
    assert ok(run("um_ls_service")).splitlines() == listed[1:]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("um_add_service", "nosuch"), "there is no service nosuch; 'viewos services' lists them"),
        (("um_del_service", "nosuch"), "nosuch is not loaded here (loaded: late)"),
        (("um_del_service", "late"), "late is permanent and can't be removed"),
        (("um_mov_service", "nosuch", "1"), "nosuch is not loaded here (loaded: late)"),
        (("um_mov_service", "-p", "2", "1"), "there is no service 2: 1 are loaded"),
        (("um_attach", "1"), "pid 1 is not yours"),
        (("viewname", "12:3"), "12:3 looks like a view's id and can't be a name"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(
    run: Run, inside: FakeSupervisor, words: tuple[str, ...], line: str
) -> None:
    inside.root.services.append(FakeLoaded(Late(), "late", True))
    assert failed(run(*words)) == (1, f"{words[0]}: {line}\n")


@pytest.mark.parametrize(
    "words",
    [
        ("um_add_service",), ("um_add_service", "-x", "misc"), ("um_add_service", "a", "b"),
        ("um_del_service",), ("um_ls_service", "x"), ("um_mov_service", "misc"),
        ("um_mov_service", "misc", "first"), ("um_mov_service", "-p", "1"),
        ("um_mov_service", "-p", "1", "misc", "2"), ("um_attach",), ("um_attach", "sh"),
        ("um_attach", "0"), ("umshutdown", "soon"), ("umshutdown", "-1"), ("umshutdown", "nan"),
        ("viewname", "a", "b"), ("vuname", "-z"), ("viewos",), ("viewos", "nosuch"),
        ("viewos", "stop", "1", "soon"), ("viewos", "exec"), ("viewos", "exec", "1"),
        ("viewos", "exec", "1", "--"), ("viewos", "add"), ("viewos", "ls", "x"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_use_is_status_2_and_touches_nothing(
    run: Run, inside: FakeSupervisor, words: tuple[str, ...]
) -> None:
    status, said = failed(run(*words))
    assert status == 2
    assert "usage" in said
    assert inside.said == []


def test_a_process_is_attached(run: Run, inside: FakeSupervisor) -> None:
    assert ok(run("um_attach", "77")) == ""
    assert inside.said == [("attach", 0, 77)]


@pytest.mark.parametrize(("words", "seconds"), [((), 30.0), (("2.5",), 2.5), (("0",), 0.0)])
def test_umshutdown_leaves_the_waiting_to_a_daemon(
    run: Run, inside: FakeSupervisor, words: tuple[str, ...], seconds: float
) -> None:
    assert ok(run("umshutdown", *words)) == ""
    # Its output ends with the daemon, which ends when it was answered.
    assert inside.said == [("stop", 0, seconds)]


def test_a_view_is_named(run: Run, inside: FakeSupervisor) -> None:
    assert ok(run("viewname")) == "main\n"
    assert ok(run("viewname", "-p")) == "main\n"
    assert ok(run("viewname", "box")) == ""
    assert ok(run("viewname", "-q")) == "box\n"
    assert ok(run("viewname", "")) == ""
    assert ok(run("viewname")) == "\n"
    assert ok(run("viewname", "-p")) == f"{os.uname().nodename}[{ME}:0]\n"


def test_vuname_is_uname_and_the_view(run: Run, inside: FakeSupervisor) -> None:
    host = os.uname()
    every = f"{host.sysname} {host.nodename} {host.release} {host.version} {host.machine}"
    assert ok(run("vuname")) == f"{host.sysname}\n"
    assert ok(run("vuname", "-a")) == f"{every} GNU/Linux/View-OS {ME} 0 main\n"
    for option, text in {
        "-s": host.sysname, "-n": host.nodename, "-r": host.release, "-v": host.version,
        "-m": host.machine, "-p": "unknown", "-i": "unknown", "-o": "GNU/Linux/View-OS",
        "-U": str(ME), "-V": "0", "-N": "main",
    }.items():  # fmt: skip
        assert ok(run("vuname", option, "-x")) == f"{text}\n"
    assert ok(run("vuname", "-VUs")) == f"{host.sysname} {ME} 0\n"
    assert ok(run("vuname", "--nodename", "--viewname")) == f"{host.nodename} main\n"
    assert ok(run("vuname", "--version")).startswith("vuname (viewosd) ")


# -- viewos


def test_help_names_every_subcommand(run: Run) -> None:
    from viewos_clients.viewos import SUBCOMMANDS

    text = ok(run("viewos", "help"))
    assert text.startswith("usage: viewos SUBCOMMAND [ARG]...\n")
    assert [x.split()[0] for x in text.splitlines() if x.startswith("  ")] == [*SUBCOMMANDS]
    for name in SUBCOMMANDS:
        assert ok(run("viewos", "help", name)).startswith("usage: viewos ")
    assert ok(run("viewos", "--version")).startswith("viewos (viewosd) ")


def test_an_unknown_subcommand_is_named(run: Run) -> None:
    status, said = failed(run("viewos", "nosuch"))
    assert (status, said.splitlines()[0]) == (2, "viewos: no such subcommand: nosuch")


def test_ls_lists_views_as_a_table_and_as_json(run: Run, outside: FakeSupervisor) -> None:
    outside.root.services.append(FakeLoaded(Misc(), "misc"))
    outside.branch(1).since += 60
    owner = ok(subprocess.run(["id", "-un"], capture_output=True, text=True)).strip()
    width, wide = len(f"{ME}:0"), max(len(owner), 5)
    assert ok(run("viewos", "ls")).splitlines() == [
        f"{'ID':<{width}}  NAME  {'OWNER':<{wide}}  PROCESSES  SERVICES  SINCE",
        f"{ME}:0  main  {owner:<{wide}}          1  misc      2023-11-14 22:13:20",
        f"{ME}:1  -     {owner:<{wide}}          0  misc      2023-11-14 22:14:20",
    ]
    first, second = json.loads(ok(run("viewos", "ls", "--json")))
    assert first["id"] == f"{ME}:0"
    assert (first["services"], second["parent"]) == (["misc"], f"{ME}:0")


def test_with_no_view_at_all_ls_is_empty_and_the_rest_says_so(run: Run) -> None:
    assert ok(run("viewos", "ls")) == ""
    assert json.loads(ok(run("viewos", "ls", "--json"))) == []
    assert failed(run("viewos", "ps")) == (1, "viewos ps: there is no view\n")
    line = "viewos ps: there is no view 9:0; 'viewos ls' lists them\n"
    assert failed(run("viewos", "ps", "9:0")) == (1, line)


def test_outside_the_only_view_is_meant_and_of_several_all_are_listed(
    run: Run, outside: FakeSupervisor
) -> None:
    assert ok(run("viewos", "name")) == "main\n"
    outside.branch(1, name="box")
    status, said = failed(run("viewos", "name"))
    assert status == 1
    lines = said.splitlines()
    assert lines[0] == "viewos name: there are 2 views here; say which one:"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["ID", "NAME"], [f"{ME}:0", "main"], [f"{ME}:1", "box"],
    ]  # fmt: skip
    for view, name in {f"{ME}:1": "box", "box": "box", f"{ME}": "main", "main": "main"}.items():
        assert ok(run("viewos", "name", "-V", view)) == f"{name}\n"
    line = "viewos name: there is no view named pub; 'viewos ls' lists them\n"
    assert failed(run("viewos", "name", "-V", "pub")) == (1, line)


def test_an_ended_branch_is_said_to_have_ended(run: Run, outside: FakeSupervisor) -> None:
    line = f"viewos ps: view {ME}:7 has ended, or never was\n"
    assert failed(run("viewos", "ps", f"{ME}:7")) == (1, line)


def test_inside_ones_own_view_is_meant(run: Run, outside: FakeSupervisor) -> None:
    branch = outside.branch(1, name="box")
    outside.inside = lambda pid: branch
    assert ok(run("viewos", "name")) == "box\n"
    assert ok(run("viewos", "name", "crate")) == ""
    assert (outside.root.name, branch.name) == ("main", "crate")
    line = f"viewos name: view {ME}:0 is not below yours; ask from outside\n"
    assert failed(run("viewos", "name", "-V", "main", "mine")) == (1, line)


def test_an_attached_process_finds_its_view_though_no_ancestor_serves_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIEWOS_RUNTIME_DIR", str(tmp_path / "run"))
    supervisor = FakeSupervisor(serverid=999_999_999)
    supervisor.inside = lambda pid: supervisor.root
    with running(supervisor):
        assert ok(run("vuname", "-UV")) == "999999999 0\n"


def test_services_are_changed_from_outside(run: Run, outside: FakeSupervisor) -> None:
    outside.release()
    assert ok(run("viewos", "add", "late", "-p")) == ""
    assert ok(run("viewos", "add", "-V", "main", "misc,nodename=x,release=1\\,2")) == ""
    assert ok(run("viewos", "mov", "misc", "1")) == ""
    assert ok(run("viewos", "services", "-l")).splitlines() == [
        "NAME  OPTIONS                  PERMANENT  DESCRIPTION",
        "misc  nodename=x,release=1\\,2  no         Host name and other names of the system",
        "late  -                        yes        Answers late",
    ]
    rows = json.loads(ok(run("viewos", "services", "--json", "main")))
    assert [(row["name"], row["options"], row["permanent"]) for row in rows] == [
        ("misc", "nodename=x,release=1\\,2", False),
        ("late", "", True),
    ]
    assert ok(run("viewos", "del", "misc")) == ""
    assert [loaded.name for loaded in outside.root.services] == ["late"]


def test_a_service_file_is_found_from_the_clients_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from viewos_clients.um import service_text

    assert service_text("misc,a=./b.py") == b"misc,a=./b.py"
    assert service_text("/x/t.py,a=1") == b"/x/t.py,a=1"
    monkeypatch.chdir(tmp_path)
    assert service_text("./t.py:T,a=1") == os.fsencode(tmp_path) + b"/t.py:T,a=1"


def test_installed_services_are_listed_without_a_view(run: Run, tmp_path: Path) -> None:
    info = tmp_path / "site" / "thirdparty-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(
        "[viewosd.services]\nzz_good = thirdparty:Good\nzz_broken = thirdparty_missing:Bad\n"
    )
    (tmp_path / "site" / "thirdparty.py").write_text(
        "from viewosd import Service\n"
        "class Good(Service):\n"
        '    """Does good."""\n'
        '    name = "zz_good"\n'
        '    def __init__(self, must: str, size: int = 3, path: bytes = b"/x", on: bool = False,\n'
        "                 maybe: str | None = None) -> None:\n"
        "        pass\n"
    )
    rows = {row["name"]: row for row in json.loads(ok(run("viewos", "services", "--json")))}
    good, broken = rows["zz_good"], rows["zz_broken"]
    assert (good["description"], good["distribution"]) == ("Does good", "thirdparty 2.0")
    assert good["options"] == ["must=", "size=3", "path=/x", "on", "maybe"]
    assert good["error"] is None
    assert "thirdparty_missing" in broken["error"]
    table = ok(run("viewos", "services")).splitlines()
    assert table[0].split() == ["NAME", "DESCRIPTION", "OPTIONS", "DISTRIBUTION"]
    assert any("does not load: ModuleNotFoundError" in line for line in table)


def test_ps_shows_processes(run: Run, outside: FakeSupervisor) -> None:
    head, row = ok(run("viewos", "ps")).splitlines()
    assert head.split() == ["PID", "PPID", "STATE", "USER", "COMMAND"]
    assert row.split()[:2] == [str(ME), str(os.getppid())]
    assert json.loads(ok(run("viewos", "ps", "--json")))[0]["pid"] == ME


def test_stats_and_top_show_calls(run: Run, outside: FakeSupervisor) -> None:
    head, first, second = ok(run("viewos", "stats")).splitlines()
    columns = "CALL COUNT CONTINUE RETURN ERRNO INJECT REWRITE FAULT P50_US P99_US MAX_US"
    assert head.split() == columns.split()
    assert first.split() == ["uname", *["12", "2", "10", "0", "0", "0", "0", "6.0", "9.5", "40.0"]]
    assert second.split()[-3:] == ["-", "-", "-"]
    assert json.loads(ok(run("viewos", "stats", "--json")))[0]["max_us"] == 40.0
    once = ok(run("viewos", "top", "-n", "0")).splitlines()
    assert once[1].split()[:3] == ["uname", "0.0", "12"]


def test_stop_and_attach_name_a_view(run: Run, outside: FakeSupervisor) -> None:
    assert ok(run("viewos", "stop")) == ""
    assert ok(run("viewos", "stop", "main", "2")) == ""
    assert ok(run("viewos", "attach", "77", f"{ME}:0")) == ""
    assert outside.said == [("stop", 0, 30.0), ("stop", 0, 2.0), ("attach", 0, 77)]
