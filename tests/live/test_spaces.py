"""Views with a file tree of their own: who is in it, who comes in later, and what is left."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from helpers.commands import command
from helpers.waiting import until
from viewosd.keeper.processes import descendants, state_of

SERVICE = f"{Path(__file__).parent}/file_services.py:Scratch"
HELD = "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()"


@pytest.fixture
def stage(user_stage):
    """As root, and as an ordinary user."""
    return user_stage


@pytest.fixture
def point(stage) -> Path:
    """The user's directory to mount on, with something in it."""
    point = Path(stage.address).with_name("point")
    point.mkdir()
    (point / "real").touch()
    os.chown(point, stage.user.uid, stage.user.uid)
    return point


def mount(puppet, point: Path) -> int:
    return puppet.ask(f"call('mount', b'none', {bytes(point)!r}, b'scratch', 0, None)")


def listing(puppet, point: Path) -> list[str]:
    return puppet.ask(f"sorted(os.listdir({str(point)!r}))")


def space(puppet, who: str = "self") -> str:
    return puppet.ask(f"os.readlink('/proc/{who}/ns/mnt')")


def test_without_a_file_service_nobody_has_a_namespace(stage):
    puppet = stage.run("-p", "misc,nodename=box")
    assert space(puppet) == os.readlink("/proc/self/ns/mnt")


def test_a_view_with_a_file_service_mounts_for_itself_alone(stage, point):
    puppet = stage.run("-p", SERVICE)
    assert mount(puppet, point) == 0
    assert listing(puppet, point) == []
    assert os.listdir(point) == ["real"]
    assert str(point) not in Path("/proc/self/mounts").read_text()
    assert str(point) in puppet.ask("open('/proc/self/mounts').read()")


def test_a_program_starts_in_its_directory_without_a_capability(stage, point):
    puppet = stage.run("-p", SERVICE, cwd=point)
    assert puppet.ask("os.getcwd()") == str(point)
    status = puppet.ask("open('/proc/self/status').read()")
    if stage.user.uid:
        assert "CapEff:\t0000000000000000" in status
    assert puppet.ask("os.getuid()") == stage.user.uid
    assert puppet.ask("os.getgid()") == stage.user.uid


def test_programs_that_run_are_brought_in_by_the_first_file_service(stage, point):
    puppet = stage.run(cwd=point)
    child = puppet.ask("spawn('sleep', '600')")
    puppet.viewos("um_add_service", SERVICE)
    assert space(puppet) != os.readlink("/proc/self/ns/mnt")
    assert space(puppet, str(child)) == space(puppet)
    assert puppet.ask("os.getcwd()") == str(point)
    assert mount(puppet, point) == 0
    assert listing(puppet, point) == []
    assert puppet.ask("os.listdir('.')") == ["real"]  # opened before
    puppet.ask(f"os.kill({child}, 9)")


def test_a_program_in_a_directory_without_a_name_keeps_it(stage, point):
    gone = point / "gone"
    gone.mkdir()
    puppet = stage.run(cwd=gone)
    gone.rmdir()
    puppet.viewos("um_add_service", SERVICE)
    assert puppet.ask("os.stat('.').st_nlink") == 0


def test_a_program_with_threads_comes_in_or_its_next_one_does(stage, point):
    puppet = stage.run()
    puppet.ask(HELD)
    status, _, err = puppet.ask(f"run(*{command('um_add_service', SERVICE)!r})")
    assert status == 0
    theirs = puppet.ask("run('readlink', '/proc/self/ns/mnt')[1]").strip()
    assert theirs != os.readlink("/proc/self/ns/mnt")
    if stage.user.uid:
        assert "sees no mounts: it has 2 threads" in err
        assert space(puppet) == os.readlink("/proc/self/ns/mnt")
    else:
        assert err == ""
        assert space(puppet, "thread-self") == theirs
    assert puppet.ask("run('pwd')[1]").strip() == os.getcwd()


def test_a_branch_begins_with_the_mounts_of_its_parent_and_goes_its_own_way(stage, point):
    outer = stage.run("-p", SERVICE)
    assert mount(outer, point) == 0
    outer.ask(f"open({str(point / 'outer')!r}, 'w').close()")
    inner = outer.branch()
    assert space(inner) != space(outer)
    assert listing(inner, point) == ["outer"]
    assert mount(inner, point) == 0
    assert (listing(inner, point), listing(outer, point)) == ([], ["outer"])
    assert inner.ask(f"call('umount2', {bytes(point)!r}, 0)") == 0
    assert listing(inner, point) == ["outer"]


def test_branches_with_mounts_nest(stage, point):
    puppet = stage.run("-p", SERVICE)
    seen = {space(puppet)}
    for depth in range(5):
        puppet = puppet.branch()
        assert mount(puppet, point) == 0
        puppet.ask(f"open({str(point / str(depth))!r}, 'w').close()")
        assert listing(puppet, point) == [str(depth)]
        seen.add(space(puppet))
    assert len(seen) == 6


def test_exec_and_attach_lead_into_the_file_tree(stage, point):
    puppet = stage.run("-p", SERVICE)
    assert mount(puppet, point) == 0
    view = str(stage.serverid())
    out = puppet.viewos("viewos", "exec", view, "--", "ls", str(point))
    assert out == ""
    inside = f"{point}/within"
    puppet.ask(f"os.mkdir({inside!r})")
    puppet.ask(f"os.chdir({inside!r})")
    assert puppet.viewos("viewos", "exec", view, "--", "pwd").strip() == inside


def test_a_successor_mounts_on_and_the_mounts_stay(stage, point):
    puppet = stage.run("-p", SERVICE)
    assert mount(puppet, point) == 0
    puppet.ask(f"open({str(point / 'made')!r}, 'w').close()")
    before = space(puppet)
    stage.kill_supervisor()
    assert listing(puppet, point) == ["made"]
    assert mount(puppet, point) == 0
    assert listing(puppet, point) == []
    assert puppet.ask(f"call('umount2', {bytes(point)!r}, 0)") == 0
    assert listing(puppet, point) == ["made"]
    out = puppet.viewos("viewos", "exec", "--", "readlink", "/proc/self/ns/mnt")
    assert out.strip() == before


def agents(keeper: int) -> list[int]:
    """The agents below a keeper."""
    names = {pid: Path(f"/proc/{pid}/comm") for pid in descendants(keeper)}
    return [pid for pid, path in names.items() if path.read_text() == "viewos-agent\n"]


def test_an_agent_that_is_killed_is_replaced(stage, point):
    puppet = stage.run("-p", SERVICE)
    assert mount(puppet, point) == 0
    (agent,) = agents(stage.keepers[-1].pid)
    os.kill(agent, signal.SIGKILL)
    until(lambda: state_of(agent) in ("", "Z"), "the end of the agent")
    assert mount(puppet, point) == 0
    assert puppet.ask(f"call('umount2', {bytes(point)!r}, 0)") == 0
    assert puppet.ask(f"call('umount2', {bytes(point)!r}, 0)") == 0
    assert listing(puppet, point) == ["real"]


def test_nothing_is_left_of_a_view_that_has_ended(stage, point):
    puppet = stage.run("-p", SERVICE)
    assert mount(puppet, point) == 0
    helpers = agents(stage.keepers[-1].pid)
    assert len(helpers) == 1
    puppet.close()
    stage.keepers[-1].wait()
    assert [state_of(pid) for pid in helpers] == [""]


def test_helpers_are_no_processes_of_the_view(stage, point):
    puppet = stage.run("-p", SERVICE)
    (row,) = json.loads(puppet.viewos("viewos", "ls", "--json"))
    assert row["processes"] == 2  # itself, and the command
    listed = puppet.viewos("viewos", "ps")
    (agent,) = agents(stage.keepers[-1].pid)
    assert str(agent) not in listed.split()


def test_a_service_in_use_is_not_taken_out(stage, point):
    puppet = stage.run("-p", SERVICE)
    assert mount(puppet, point) == 0
    status, _, err = puppet.ask(f"run(*{command('um_del_service', 'scratch')!r})")
    assert (status, "umount" in err) == (1, True)
    assert puppet.ask(f"call('umount2', {bytes(point)!r}, 0)") == 0
    puppet.viewos("um_del_service", "scratch")
    assert mount(puppet, point) == -errno.ENODEV


def test_a_program_with_a_namespace_of_its_own_keeps_it(stage, point):
    puppet = stage.run()
    if puppet.ask(f"call('unshare', {0x20000 | (0x10000000 if stage.user.uid else 0)})"):
        pytest.skip("no namespace may be made here")
    before = space(puppet)
    _, _, err = puppet.ask(f"run(*{command('um_add_service', SERVICE)!r})")
    assert "it has a mount namespace of its own" in err
    assert space(puppet) == before


@pytest.mark.parametrize("threads", [0, 3])
def test_a_mount_that_makes_its_service_hook_more_is_made_once(stage, point, threads):
    grows = SERVICE.replace("Scratch", "Grows")
    puppet = stage.run("-p", grows)
    for _ in range(threads):
        puppet.ask(HELD)
    parent = puppet.ask("os.getppid()")
    text = f"call('mount', b'none', {bytes(point)!r}, b'grows', 0, None)"
    assert puppet.ask(text) == 0
    assert puppet.ask("os.getppid()") == 7
    assert listing(puppet, point) == []
    assert puppet.ask(f"call('umount2', {bytes(point)!r}, 0)") == 0
    until(lambda: puppet.ask("os.getppid()") == parent, "the hook to be gone")
    assert listing(puppet, point) == ["real"]


@pytest.mark.parametrize("killed", [False, True])
def test_a_layer_that_nobody_named_is_gone_when_viewos_run_returns(user_stage, scratch, killed):
    place = scratch / f"layer-{os.urandom(4).hex()}"
    for path in (place, place / "below", place / "data"):
        path.mkdir()
        os.chown(path, user_stage.user.uid, user_stage.user.uid)
    puppet = user_stage.run(
        "--cow", str(place / "below"), env={"XDG_DATA_HOME": str(place / "data")}
    )
    for number in range(200):
        puppet.ask(f"open('{place}/below/{number}', 'w').close()")
    layers = place / "data" / "viewos" / "layers"
    assert len(list(layers.iterdir())) == 1
    if killed:
        user_stage.kill_supervisor()
    puppet.close()
    user_stage.keepers[-1].wait()
    assert (list(layers.iterdir()), list((place / "below").iterdir())) == ([], [])
