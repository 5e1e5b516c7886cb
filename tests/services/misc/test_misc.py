"""misc with a tracee that needs no kernel."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from pathlib import Path

import pytest

from viewos_misc import Misc, as_2_6
from viewosd import BadAddress, Errno, Return, ServiceError
from viewosd.abi.arch import Arch
from viewosd.abi.utsname import PER_LINUX32, UNAME26, new_utsname, old_utsname, oldold_utsname
from viewosd.service import make_service
from viewosd.syscalls import Syscall, oldolduname, olduname, setdomainname, sethostname, uname
from viewosd.testing.tracee import FakeTracee

BUFFER = bytes(390)
DOMAIN = Path("/proc/sys/kernel/domainname").read_text()


@pytest.fixture
async def misc():
    service = Misc(nodename="box")
    await service.start()
    yield service
    await service.stop()


def call_of(kind: type[Syscall], *args: int) -> Syscall:
    return kind.decode((*args, *(0,) * (6 - len(args))))


def told(misc: Misc, tracee: FakeTracee) -> dict[str, str]:
    address = tracee.put(BUFFER)
    assert misc.tell(call_of(uname, address), tracee) == Return(0)
    names = new_utsname.unpack(bytes(tracee.memory[address]))
    return {n: getattr(names, n).rstrip(b"\0").decode() for n in new_utsname._fields}


async def test_what_is_given_is_told_and_the_rest_is_the_hosts(misc):
    host, domain = os.uname(), DOMAIN.rstrip("\n")
    assert told(misc, FakeTracee()) == {
        "sysname": host.sysname,
        "nodename": "box",
        "release": host.release,
        "version": host.version,
        "machine": host.machine,
        "domainname": domain,
    }


async def test_a_program_may_change_both_names_at_any_time(misc):
    tracee = FakeTracee()
    for kind, set_name, field in (
        (sethostname, misc.set_node, "nodename"),
        (setdomainname, misc.set_domain, "domainname"),
    ):
        for name in (b"x", b"a" * 64, b"", b"after"):
            assert set_name(call_of(kind, tracee.put(name), len(name)), tracee) == Return(0)
            assert told(misc, tracee)[field] == name.decode()


@pytest.mark.parametrize("length", [65, -1, 0x7FFFFFFF, -0x80000000])
async def test_a_length_that_no_name_has_is_invalid_whatever_it_points_at(misc, length):
    call = call_of(sethostname, 0xDEAD, length & 0xFFFFFFFFFFFFFFFF)
    assert misc.set_node(call, FakeTracee()) == Errno(errno.EINVAL)
    assert misc.names == {"nodename": b"box"}


async def test_the_high_half_of_the_length_is_no_part_of_it(misc):
    tracee = FakeTracee()
    call = call_of(sethostname, tracee.put(b"abc"), 0xFFFF_FFFF_0000_0003)
    assert misc.set_node(call, tracee) == Return(0)
    assert misc.names["nodename"] == b"abc"


async def test_a_bad_pointer_is_efault_and_changes_nothing(misc):
    with pytest.raises(BadAddress):
        misc.tell(call_of(uname, 0xDEAD), FakeTracee())
    with pytest.raises(BadAddress):
        misc.set_node(call_of(sethostname, 0xDEAD, 3), FakeTracee())
    tracee = FakeTracee()
    short = tracee.put(BUFFER[:-1])
    with pytest.raises(BadAddress):
        misc.tell(call_of(uname, short), tracee)
    assert misc.names == {"nodename": b"box"}


async def test_an_i386_program_may_ask_in_the_two_old_ways(misc):
    misc.names["version"] = b"0123456789"
    tracee = FakeTracee(Arch.I386)
    old, oldest = tracee.put(bytes(325)), tracee.put(bytes(45))
    assert misc.tell_old(call_of(olduname, old), tracee) == Return(0)
    assert misc.tell_oldest(call_of(oldolduname, oldest), tracee) == Return(0)
    assert old_utsname.unpack(tracee.memory[old]).nodename.rstrip(b"\0") == b"box"
    assert oldold_utsname.unpack(tracee.memory[oldest]).version == b"01234567\0"


async def test_a_personality_changes_what_is_not_given(misc):
    tracee = FakeTracee()
    tracee.personality = PER_LINUX32 | UNAME26
    seen = told(misc, tracee)
    assert seen["machine"] in ("i686", "armv8l")
    assert re.match(r"2\.6\.\d+", seen["release"])
    misc.names |= {"machine": b"vax", "release": b"1.0"}
    seen = told(misc, tracee)
    assert (seen["machine"], seen["release"]) == ("vax", "1.0")


@pytest.mark.parametrize(
    ("release", "as_told"),
    [
        ("6.18.44-x.y", "2.6.78-x.y"),
        ("6.1", "2.6.61"),
        ("5.10.0", "2.6.70"),
        ("6.2-rc1", "2.6.62-rc1"),
    ],
)
def test_a_release_for_programs_that_were_promised_2_6(release, as_told):
    assert as_2_6(release.encode()).decode() == as_told


def test_the_running_kernel_tells_2_6_in_the_same_way():
    done = subprocess.run(["setarch", "--uname-2.6", "uname", "-r"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("setarch can't change the personality here")
    assert as_2_6(os.uname().release.encode()).decode() == done.stdout.strip()


@pytest.mark.parametrize("value", ["x" * 65, "ä" * 33, "a\0b"])
def test_an_option_that_is_no_name_is_refused_in_one_line(value):
    with pytest.raises(ServiceError, match=r"^misc: nodename is longer than 64 bytes"):
        make_service(Misc, [("nodename", value)])


def test_a_successor_goes_on_with_the_same_names():
    before, after = Misc(nodename="a", machine="vax"), Misc()
    after.restore(before.describe())
    assert after.names == {"nodename": b"a", "machine": b"vax"}
    before.names["nodename"] = b"changed"
    assert after.names["nodename"] == b"a"
