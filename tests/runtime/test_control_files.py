"""The verbs of a view's file tree: who mounts is asked, and what it says is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_supervisor import FakeMounts, FakeSupervisor, running
from viewos_clients.session import Refused, Session
from viewosd.space import Mounted, MountRequest


@pytest.fixture
def supervisor(runtime_dir: Path) -> Iterator[FakeSupervisor]:
    with running(FakeSupervisor()) as served:
        yield served


@pytest.fixture
def mounts(supervisor: FakeSupervisor) -> FakeMounts:
    supervisor.spaces.of[0] = FakeMounts()
    return supervisor.spaces.of[0]


def refusal(session: Session, verb: str, *params: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        session.call(verb, *params)
    return refused.value.code, str(refused.value)


def test_a_mount_and_an_umount_reach_who_mounts(supervisor: FakeSupervisor, mounts: FakeMounts):
    with Session(supervisor.serverid) as session:
        assert session.call("mount", 0, "tmpfs", b"ro", b"x", b"/mnt") is None
        assert session.call("umount", 0, b"/mnt", 2) is None
    assert mounts.asked == [("tmpfs", b"ro", b"x", b"/mnt"), (b"/mnt", 2)]


def test_an_error_is_one_line_that_says_what_failed(supervisor: FakeSupervisor, mounts: FakeMounts):
    with Session(supervisor.serverid) as session:
        said = refusal(session, "mount", 0, "nosuch", b"", b"", b"/mnt")
        assert said == ("refused", "can't mount nosuch on /mnt: no such type")
        said = refusal(session, "umount", 0, b"/busy", 0)
        assert said == ("refused", f"can't unmount /busy: {os.strerror(16)}")


def test_why_a_mount_failed_is_told_where_more_is_known_than_the_errno(supervisor, mounts):
    with Session(supervisor.serverid) as session:
        assert session.call("why", 0, b"/none/x") == "fuse2fs: no superblock"
        assert session.call("why", 0, b"relative") == ""


def test_a_view_without_a_file_service_mounts_nothing(supervisor: FakeSupervisor):
    with Session(supervisor.serverid) as session:
        assert session.call("why", 0, b"/x") == ""
        assert session.call("mounts", 0) == []
        for verb, *params in (("mount", 0, "tmpfs", b"", b"", b"/m"), ("umount", 0, b"/m", 0)):
            assert "no file service" in refusal(session, verb, *params)[1]


@pytest.mark.parametrize("target", [b"relative", b"/with\0nul"])
def test_a_target_must_be_an_absolute_path(supervisor, mounts: FakeMounts, target: bytes):
    with Session(supervisor.serverid) as session:
        assert refusal(session, "mount", 0, "tmpfs", b"", b"", target)[0] == "refused"
        assert refusal(session, "umount", 0, target, 0)[0] == "refused"
    assert mounts.asked == []


def test_the_mounts_of_services_are_listed(supervisor: FakeSupervisor, mounts: FakeMounts):
    request = MountRequest(
        "viewfs", b"/s", b"/t", -1, 0, [("except", "/\udcff")], None, lambda path, flags: -1
    )  # type: ignore[arg-type]
    mounts.listing = lambda: [(Mounted(3, request, True), "viewfs")]  # type: ignore[method-assign]
    with Session(supervisor.serverid) as session:
        assert session.call("mounts", 0) == [
            {
                "id": 3, "type": "viewfs", "source": b"/s", "target": b"/t", "permanent": True,
                "options": [[b"except", b"/\xff"]], "service": "viewfs", "lost": "killed",
            }
        ]  # fmt: skip
