"""Paths that lead to what a program of the view serves: who follows one waits, and nobody else.

The server is tests/programs/slowfuse.py, of which every answer is asked for anew.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.grounds import FUSE
from helpers.puppets import Stage
from helpers.waiting import until
from viewosd.abi.arch import NATIVE
from viewosd.abi.sysno import SYSNO
from viewosd.keeper.processes import state_of

READS = [str(SYSNO[NATIVE][name]) for name in ("read", "recvfrom")]
PROGRAMS = Path(__file__).resolve().parent.parent / "programs"


class Scene:
    """A view with a server in it.

    Attributes:
        puppet, other: programs of the view.
        point: where the server's directory is mounted, with ``file``, ``other``, ``directory``.
        real: a directory on disk, with ``seen`` and ``hidden``.
    """

    def __init__(self, stage: Stage, place: Path) -> None:
        self.stage, self.place = stage, place
        self.point, self.real = place / "point", place / "real"
        self.real.mkdir()
        for name in ("seen", "hidden"):
            (self.real / name).touch()
        for path in (place, self.real, *self.real.iterdir()):
            os.chown(path, stage.user.uid, stage.user.uid)
        if os.geteuid() == 0:
            (place / "device").mkdir()
            own = ["unshare", "-m", "--propagation", "private", "sh", "-c", FUSE, "sh"]
            stage.user.prefix = [*own, str(place / "device"), *stage.user.prefix]
        self.environment = {"VIEWOS_WATCHDOG_S": "3", "XDG_DATA_HOME": str(place)}
        self.server = 0

    def begin(self, *options: str, asks: tuple[str, ...] = ()) -> None:
        self.puppet = self.stage.run(*options, env=self.environment)
        self.puppet.ask(f"spawn(*{self.stage.player!r})")
        self.other = self.stage.enter()
        words = ["python3", str(self.place / "slowfuse.py"), str(self.point), str(self.place)]
        self.server = self.other.ask(f"spawn(*{[*words, *asks]!r})")
        served = "any('fuse.slow' in line for line in open('/proc/self/mounts'))"
        until(lambda: self.puppet.ask(served), "the server")
        self.puppet.ask(
            f"os.stat({str(self.point)!r}).st_uid"
        )  # whose it is, the kernel must have heard

    def sleep(self) -> None:
        (self.place / "asleep").touch()

    def wake(self) -> None:
        (self.place / "asleep").unlink()

    def others_go_on(self) -> None:
        """Calls that the supervisor looks at are answered: a listing, a new name."""
        for number in range(3):
            assert self.other.ask(f"os.listdir({str(self.real)!r})") == ["seen"]
            name = str(self.real / f"new-{number}")
            assert self.other.ask(f"(os.mkdir({name!r}), os.rmdir({name!r}))") == (None, None)

    def waits(self, pid: int) -> None:
        """It waits, in another call than the one that waits for us."""

        def call() -> str:
            with open(f"/proc/{pid}/syscall") as file:
                return file.read().split()[0]

        until(
            lambda: state_of(pid) == "S" and call() not in ("running", *READS), "a waiting program"
        )

    def supervisors(self) -> int:
        """How many took over: none should have had to."""
        return self.stage.log().count("takes over")


@pytest.fixture
def scene(user_stage: Stage, scratch: Path) -> Iterator[Scene]:
    place = scratch / f"served-{os.urandom(4).hex()}"
    place.mkdir()
    place.chmod(0o755)
    shutil.copy(PROGRAMS / "slowfuse.py", place)
    made = Scene(user_stage, place)
    yield made
    (place / "asleep").unlink(missing_ok=True)
    if made.server:
        made.other.ask(f"os.kill({made.server}, 9)")
    assert made.supervisors() == 0, user_stage.log()


def hiding(scene: Scene) -> tuple[str, str]:
    return "--hide", str(scene.real / "hidden")


def test_who_follows_a_path_to_a_server_that_sleeps_waits_alone(scene):
    scene.begin(*hiding(scene))
    name = str(
        scene.point / "directory" / "hidden"
    )  # one that is hidden elsewhere: it is looked at
    scene.sleep()
    scene.puppet.tell(f"call('mkdir', {name.encode()!r}, 0o777)")
    scene.waits(scene.puppet.pid)
    scene.others_go_on()
    scene.wake()
    assert scene.puppet.hear() == -38  # ENOSYS, the server's own


def test_what_a_server_serves_is_hidden_and_listed_without_it(scene):
    scene.begin(*hiding(scene))
    viewmount = f"mount -t viewfs -o hide none {scene.point}/file"
    assert scene.puppet.ask(f"run('sh', '-c', {viewmount!r})") == (0, "", "")
    assert scene.puppet.ask(f"sorted(os.listdir({str(scene.point)!r}))") == ["directory", "other"]
    assert scene.puppet.ask(f"os.path.exists('{scene.point}/file')") is False
    scene.sleep()
    scene.puppet.tell(f"sorted(os.listdir({str(scene.point)!r}))")
    scene.waits(scene.puppet.pid)
    scene.others_go_on()
    scene.wake()
    assert scene.puppet.hear() == ["directory", "other"]


def test_a_mount_below_what_a_sleeping_server_serves_waits_alone(scene):
    scene.begin(*hiding(scene))
    scene.sleep()
    mount = f"mount -t tmpfs none {scene.point}/directory"
    scene.puppet.tell(f"run('sh', '-c', {mount!r})")
    scene.waits(scene.puppet.pid)
    scene.others_go_on()
    scene.wake()
    assert scene.puppet.hear() == (0, "", "")
    assert scene.puppet.ask(f"os.listdir('{scene.point}/directory')") == []


def test_a_server_that_asks_the_view_before_each_answer_is_answered(scene):
    # Each answer needs the supervisor, which must not be waiting for the answer.
    scene.begin(*hiding(scene), asks=(f"list {scene.real}",))
    hide = f"mount -t viewfs -o hide none {scene.point}/file"
    assert scene.puppet.ask(f"run('sh', '-c', {hide!r})") == (0, "", "")
    assert scene.puppet.ask(f"sorted(os.listdir({str(scene.point)!r}))") == ["directory", "other"]
    made = f"call('mkdir', {str(scene.point / 'hidden').encode()!r}, 0o777)"
    assert scene.puppet.ask(made) == -38
    scene.puppet.viewos("viewumount", f"{scene.point}/file")
    assert scene.puppet.ask(f"open('{scene.point}/file').read()") == "hello"


def test_who_waits_for_a_server_that_dies_gets_its_errno(scene):
    scene.begin(*hiding(scene))
    scene.sleep()
    scene.puppet.tell(f"call('mkdir', {str(scene.point / 'hidden').encode()!r}, 0o777)")
    scene.waits(scene.puppet.pid)
    scene.other.ask(f"os.kill({scene.server}, 9)")
    assert scene.puppet.hear() in (-103, -107)  # ECONNABORTED, ENOTCONN
    scene.wake()
    scene.others_go_on()
    hide = f"mount -t viewfs -o hide none {scene.point}/file"
    status, _, said = scene.puppet.ask(f"run('sh', '-c', {hide!r})")
    assert status == 32
    assert "not connected" in said.lower()
    assert scene.puppet.ask(f"run('umount', '{scene.point}')") == (0, "", "")


def test_who_is_killed_while_it_waits_is_gone(scene):
    scene.begin(*hiding(scene))
    scene.sleep()
    name = str(scene.point / "directory" / "hidden")
    victim = scene.puppet.ask(f"spawn('mkdir', {name!r})")
    scene.waits(victim)
    scene.others_go_on()
    scene.puppet.ask(f"os.kill({victim}, {int(signal.SIGKILL)})")
    assert scene.puppet.ask("wait()") == -9
    scene.wake()


def test_a_view_with_vstat_is_not_held_up_by_a_server(scene):
    """There every stat(2) is looked at, the server's own too."""
    tree = scene.place / "tree"
    tree.mkdir()
    os.chown(tree, scene.stage.user.uid, scene.stage.user.uid)
    scene.begin(
        "--mount", "viewfs,cow,vstat", "none", str(tree), *hiding(scene),
        asks=(f"stat {scene.real}/seen",),
    )  # fmt: skip
    assert scene.puppet.ask(f"os.stat('{scene.point}/file').st_size") == 5
    scene.sleep()
    scene.puppet.tell(f"os.stat('{scene.point}/file').st_size")
    scene.waits(scene.puppet.pid)
    assert scene.other.ask(f"os.stat({str(tree)!r}).st_uid") == scene.stage.user.uid
    scene.others_go_on()
    scene.wake()
    assert scene.puppet.hear() == 5
