"""Supervisors that are the trouble themselves: they hang, crash again and again, or can't write."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from helpers.deaths import MANY, asked, replaced, text
from helpers.waiting import until
from viewosd.keeper.processes import descendants, state_of


def test_keeper_and_supervisor_killed_at_once_leave_programs_that_go_on_and_nothing_else(
    user_stage,
):
    mounts = f"{Path(__file__).parent}/file_services.py:Scratch"  # so that there is an agent
    puppet = user_stage.run("-p", "misc,nodename=box", "-p", mounts)
    keeper = user_stage.keepers[0].pid
    ours = [pid for pid in descendants(keeper) if pid != puppet.pid]
    supervisor = user_stage.supervisor()
    os.kill(supervisor, signal.SIGSTOP)  # it shall not see the keeper's end
    os.kill(keeper, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: puppet.ask("call('uname', bytes(390))") == -errno.ENOSYS, "the listener's end")
    puppet.tell("os._exit(0)")
    until(lambda: all(state_of(pid) in ("", "Z") for pid in ours), "the end of all helpers")
    until(lambda: state_of(puppet.pid) in ("", "Z"), "the end of the program")
    for path in user_stage.user.runtime_dir.glob("*.sock"):
        path.unlink()  # nobody was left to do it; the next view there would


def test_a_supervisor_that_hangs_is_replaced_and_the_call_that_did_it_fails(stage):
    slow = {"VIEWOS_WATCHDOG_S": "1"}
    puppet = stage.run("-p", text("Hangs"), "-p", "misc,nodename=box", env=slow)
    puppet.ask("globals().update(got=[])")
    puppet.ask("threading.Thread(target=lambda: got.append(many('node()', 2000))).start()")
    assert puppet.ask("call('getsid', 666)") == -errno.EFAULT
    until(lambda: puppet.ask("got") == [{"box": 2000}], "the other thread")
    assert "two supervisors hung or crashed with it" in stage.log()
    # 0 where the session began outside of our pid namespace
    assert puppet.ask("os.getsid(0)") == os.getsid(0)


def test_a_hook_that_waits_is_not_blamed_for_one_that_hangs(stage, tmp_path):
    marks = text("Marks", f"directory={tmp_path}")
    puppet = stage.run("-p", text("Hangs"), "-p", marks, env={"VIEWOS_WATCHDOG_S": "1"})
    puppet.ask("globals().update(got=[])")
    puppet.ask("threading.Thread(target=lambda: got.append(call('getsid', 5))).start()")
    until(lambda: asked(tmp_path, 5), "the hook to be asked")
    assert puppet.ask("call('getsid', 666)") == -errno.EFAULT
    (tmp_path / "go-5").touch()
    until(lambda: puppet.ask("got") == [6], "the answer of the one that waited")


def test_a_supervisor_that_somebody_stopped_is_left_alone(stage):
    puppet = stage.run("-p", "misc,nodename=box", env={"VIEWOS_WATCHDOG_S": "1.5"})
    puppet.viewos("viewname")  # it counts by now
    old = stage.supervisor()
    os.kill(old, signal.SIGSTOP)
    puppet.tell("node()")
    with pytest.raises(subprocess.TimeoutExpired):
        stage.keepers[0].wait(3.0)  # longer than the watchdog's patience: nothing may happen
    os.kill(old, signal.SIGCONT)
    assert puppet.hear() == "box"
    assert stage.supervisor() == old
    assert "takes over" not in stage.log()


@pytest.mark.parametrize("how", [2, 3])
def test_a_call_that_ends_two_supervisors_fails_and_others_go_on(stage, how):
    puppet = stage.run("-p", text("Dies"))
    assert puppet.ask(f"call('getsid', {how})") == -errno.EFAULT
    assert puppet.ask("call('getsid', 77)") == 77
    assert stage.log().count("takes over") == 2


def test_a_crash_loop_ends_in_errors_and_not_in_a_hang(stage):
    puppet = stage.run("-p", text("Dies"), "-p", "misc,nodename=box")
    assert puppet.ask("call('getsid', 1)") == -errno.ENOSYS
    assert puppet.ask("call('getsid', 5)") == -errno.ENOSYS
    assert puppet.ask("many('call(\"uname\", bytes(390))', 3)") == {-errno.ENOSYS: 3}
    assert "its supervisors keep dying" in stage.log()
    assert stage.log().count("takes over") == 6
    assert not stage.user.views()
    puppet.tell("os._exit(5)")
    assert stage.keepers[0].wait() == 5


def test_a_log_that_can_not_be_written_stops_no_succession(stage):
    puppet = stage.run("-p", "misc,nodename=box")
    blocked = stage.user.runtime_dir / f"{stage.serverid()}.log"
    blocked.mkdir()
    try:
        replaced(stage)
        assert puppet.ask("node()") == "box"
        assert puppet.viewos("vuname", "-n") == "box\n"
    finally:
        blocked.rmdir()


def test_a_full_disk_stops_no_succession(stage):
    puppet = stage.run("-o", "/dev/full", "-p", "misc,nodename=box")
    replaced(stage)
    assert puppet.ask("node()") == "box"
    assert puppet.viewos("um_add_service", text("Works")) == ""
    replaced(stage)
    assert puppet.ask("(node(), os.getsid(3))") == ("box", 4)


def test_the_keeper_keeps_nothing_of_dead_supervisors(stage):
    puppet = stage.run("-p", "misc,nodename=box", env=MANY)
    keeper = stage.keepers[0].pid

    def holds() -> list[str]:
        assert puppet.ask("node()") == "box"
        pids = keeper, stage.supervisor()
        names = [name for pid in pids for name in open_files(pid)]
        names = [name for name in names if not re.match(r"/proc/\d", name)]  # it looks around
        return sorted(re.sub(r"\d{3,}", "N", name) for name in names)

    replaced(stage)
    before, memory = holds(), resident(keeper)
    for _ in range(10):
        replaced(stage)
    until(lambda: holds() == before, "the same as after one succession")  # it looks at /proc, too
    assert resident(keeper) < memory + 1024


def open_files(pid: int) -> list[str]:
    """What its descriptors are open on, but for those that it closes meanwhile."""
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(link))
    return names


def resident(pid: int) -> int:
    """VmRSS in kB, proc_pid_status(5)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


def test_a_signal_that_the_dead_supervisor_was_told_to_send_is_sent(stage):
    """It lay unread in the link: a supervisor that is stopped reads nothing."""
    puppet = stage.run("-p", "misc,nodename=box", env=MANY)
    supervisor = stage.supervisor()
    os.kill(supervisor, signal.SIGSTOP)
    stage.keepers[0].send_signal(signal.SIGTERM)
    until(lambda: not pending(stage.keepers[0].pid), "the keeper has read it")
    os.kill(supervisor, signal.SIGKILL)
    assert stage.keepers[0].wait(timeout=60) == 128 + signal.SIGTERM
    del puppet


def pending(pid: int) -> int:
    """The signals that wait for a process."""
    with open(f"/proc/{pid}/status") as status:
        return sum(int(line.split()[1], 16) for line in status if line[:6] in ("SigPnd", "ShdPnd"))
