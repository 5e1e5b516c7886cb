"""The commands for a view's file tree, against a fake supervisor."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.commands import Run, failed, ok
from helpers.fake_supervisor import FakeChild, FakeLoaded, FakeMounts, FakeSupervisor
from helpers.layer import Tree, write
from viewos_clients.mountflags import split
from viewosd.abi import mount as abi
from viewosd.runtime import working
from viewosd.service import Service, Work
from viewosd.space import Mounted


@pytest.fixture
def mounts(outside: FakeSupervisor) -> FakeMounts:
    outside.spaces.of[0] = FakeMounts()
    return outside.spaces.of[0]


@pytest.mark.parametrize(
    "words",
    [("viewmount", "none", "/x"), ("viewumount", "/x"), ("um_fsalias", "a", "b")],
    ids=" ".join,
)
def test_outside_a_view_each_says_so_in_one_line(
    run: Run, outside: FakeSupervisor, words: tuple[str, ...]
) -> None:
    line = f"{words[0]}: not inside a view; start one with viewos-run\n"
    assert failed(run(*words)) == (2, line)


def test_mounts_are_asked_for_with_paths_from_here(
    run: Run, mounts: FakeMounts, tmp_path: Path
) -> None:
    (tmp_path / "image").touch()
    assert ok(run("viewos", "mount", "-t", "viewfs", "-o", "hide", "none", "x", cwd=tmp_path)) == ""
    words = ("mount", "image", "/mnt", "-r", "-o", "a,b=1", "-o", "c", "-t", "umfuseext2")
    assert ok(run("viewos", *words, cwd=tmp_path)) == ""
    assert ok(run("viewos", "mount", "-o", "bind", "/a", "/b", "main")) == ""
    here = os.fsencode(tmp_path)
    assert mounts.asked == [
        ("viewfs", b"hide", b"none", here + b"/x"),
        ("umfuseext2", b"a,b=1,c,ro", here + b"/image", b"/mnt"),
        ("", b"bind", b"/a", b"/b"),
    ]


def test_unmounts_are_asked_for(run: Run, mounts: FakeMounts) -> None:
    assert ok(run("viewos", "umount", "/a")) == ""
    assert ok(run("viewos", "umount", "-fl", "/b", "main")) == ""
    assert mounts.asked == [(b"/a", 0), (b"/b", 3)]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("mount", "-t", "nosuch", "none", "/x"), "can't mount nosuch on /x: no such type"),
        (("umount", "/busy"), f"can't unmount /busy: {os.strerror(errno.EBUSY)}"),
        (
            ("mount", "none", "/x", "nosuch"),
            "there is no view named nosuch; 'viewos ls' lists them",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(
    run: Run, mounts: FakeMounts, words: tuple[str, ...], line: str
) -> None:
    assert failed(run("viewos", *words)) == (1, f"viewos {words[0]}: {line}\n")


def test_a_mount_without_a_mountpoint_is_a_wrong_use(run: Run, mounts: FakeMounts) -> None:
    line = "viewos mount: SOURCE and DIRECTORY are needed, and nothing else but a VIEW\n"
    assert failed(run("viewos", "mount", "none")) == (2, line)


def test_mounts_are_listed(run: Run, mounts: FakeMounts) -> None:
    mounts.mounted = [
        (_mounted(1, "viewfs", b"none", b"/x", [("hide", "")], permanent=True), "viewfs"),
        (_mounted(2, "viewfs", b"/l", b"/caf\xc3\xa9", [("cow", ""), ("except", "/s")]), "viewfs"),
    ]
    table = [
        "TARGET  TYPE    SOURCE  OPTIONS",
        "/x      viewfs  none    hide,permanent",
        "/café   viewfs  /l      cow,except=/s",
    ]
    assert ok(run("viewos", "mounts")).splitlines() == table
    assert ok(run("viewos", "mount")).splitlines() == table
    rows = json.loads(ok(run("viewos", "mounts", "--json")))
    assert rows[1] == {
        "id": 2, "type": "viewfs", "source": "/l", "target": "/café",
        "options": [["cow", ""], ["except", "/s"]], "service": "viewfs", "permanent": False,
        "lost": "",
    }  # fmt: skip


def _mounted(
    id: int, type: str, source: bytes, target: bytes, options: Any, permanent: bool = False
) -> Mounted:
    request = SimpleNamespace(
        type=type, source=source, target=target, flags=0, options=options, keep=None
    )
    return Mounted(id, request, permanent)  # type: ignore[arg-type]


def test_an_alias_is_set_and_forgotten(
    run: Run, mounts: FakeMounts, inside: FakeSupervisor
) -> None:
    assert ok(run("um_fsalias", "ext4", "umfuseext2")) == ""
    assert ok(run("um_fsalias", "ext4")) == ""
    assert mounts.asked == [("alias", "ext4", "umfuseext2"), ("alias", "ext4", "")]
    line = "um_fsalias: no alias x: x stands for x\n"
    assert failed(run("um_fsalias", "x", "x")) == (1, line)


def test_viewmount_says_why_where_the_supervisor_knows_more(
    run: Run, mounts: FakeMounts, inside: FakeSupervisor
) -> None:
    told = failed(run("viewmount", "-t", "proc", "none", "/none/x"))
    assert told == (32, "viewmount: /none/x: fuse2fs: no superblock\n")


def test_viewmount_is_the_call_and_says_what_mount_says(run: Run, inside: FakeSupervisor) -> None:
    told = {
        ("-t", "nosuch", "none", "/"): "/: unknown filesystem type 'nosuch'",
        ("-t", "proc", "none", "/nonexistent"): "/nonexistent: mount point does not exist",
    }
    if os.geteuid():
        told = {("-t", "proc", "none", "/"): "/: permission denied"}
    for words, line in told.items():
        assert failed(run("viewmount", *words)) == (32, f"viewmount: {line}\n")


@pytest.mark.root
def test_viewmount_and_viewumount_mount_and_unmount(tmp_path: Path) -> None:
    """The calls themselves, in a mount namespace of this test's own."""
    code = (
        "import os, sys\n"
        "from viewos_clients import unsafe\n"
        "from viewos_clients.mountflags import split\n"
        "at = os.fsencode(sys.argv[1])\n"
        "flags, data = split('ro,size=64k', 'tmpfs')\n"
        "unsafe.mount(b'none', at, b'tmpfs', flags, data.encode())\n"
        "assert os.statvfs(at).f_flag & os.ST_RDONLY and os.statvfs(at).f_blocks == 16\n"
        "unsafe.umount(at, 0)\n"
        "assert not os.path.ismount(at)\n"
    )
    words = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(words, check=True)


def test_options_are_flags_or_the_file_systems_or_a_services() -> None:
    assert split("ro,nosuid,size=4M,,rw,x=a\\,b", "tmpfs") == (abi.MS_NOSUID, "size=4M,rw,x=a\\,b")
    assert split("ro,rw", "") == (0, "")
    assert split("bind", "") == (abi.MS_BIND, "")
    assert split("move,permanent", "viewfs") == (0, "move,permanent")
    assert split("rbind,rslave", "") == (abi.MS_BIND | abi.MS_REC | abi.MS_SLAVE, "")


# -- diff, commit, discard


class ViewFs(Service):
    """A service with a layer."""

    name = "viewfs"
    said: list[tuple[str, dict[str, Any]]]

    async def ask(self, what: str, arguments: Mapping[str, Any], pid: int) -> Any:
        self.said.append((what, dict(arguments)))
        return Work((sys.executable, "-c", "print('some lines'); raise SystemExit(1)"))


@pytest.fixture
def viewfs(outside: FakeSupervisor, monkeypatch: pytest.MonkeyPatch) -> ViewFs:
    def start(supervisor: Any, argv: list[bytes], fds: list[int]) -> FakeChild:
        stdin, stdout, stderr = fds
        return FakeChild(subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr))

    monkeypatch.setattr(working, "start", start)
    service = ViewFs()
    service.said = []
    outside.root.services.append(FakeLoaded(service, "viewfs"))
    return service


def test_a_view_is_asked_for_its_changes_with_our_streams(
    run: Run, viewfs: ViewFs, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real").mkdir()
    done = run("viewos", "diff", "link/x", "--json", "/y", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "some lines\n", "")
    run("viewos", "commit", "--force")
    run("viewos", "discard", "main")
    here = os.fsencode(tmp_path.resolve())
    assert viewfs.said == [
        ("diff", {"json": True, "paths": [here + b"/real/x", b"/y"]}),
        ("commit", {"force": True, "paths": []}),
        ("discard", {"paths": []}),
    ]


def test_trouble_has_status_2_for_1_says_that_there_are_changes(
    run: Run, outside: FakeSupervisor
) -> None:
    line = "viewos diff: viewfs is not loaded here (loaded: none)\n"
    assert failed(run("viewos", "diff")) == (2, line)


def test_without_a_view_a_layer_can_be_named(run: Run, tmp_path: Path) -> None:
    line = "viewos diff: there is no view; --layer LAYER names one of no view\n"
    assert failed(run("viewos", "diff")) == (2, line)
    tree = Tree(tmp_path)
    write(tree.upper / "new", "x")
    done = run("viewos", "diff", "--layer", str(tree.layer))
    assert (done.returncode, done.stdout) == (1, f"added    {tree.target}/new\n")
    assert ok(run("viewos", "commit", "--layer", str(tree.layer))) == "1 change committed\n"
    assert (tree.target / "new").read_text() == "x"
    assert ok(run("viewos", "discard", "--layer", str(tree.layer))) == ""
    assert not tree.layer.exists()
