"""Who may what on a stack: its owner everything, and nobody more than natively."""

from __future__ import annotations

import errno
import os
import shutil
import socket

import pytest

from helpers.commands import command
from helpers.puppets import staged

from .conftest import talker

needs_ip = pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip (package iproute2)")


@needs_ip
@pytest.mark.parametrize("later", [False, True])
def test_the_owner_configures_a_stack_as_root_does_the_hosts(stage, later):
    puppet = talker(stage.run("-p", "net") if later else stage.run("--net", "none"))
    if later:
        puppet.viewos("viewmount", "-t", "umnetns", "none", "/dev/net/default")
    assert puppet.ask("run('ip', 'addr', 'add', '10.77.0.1/24', 'dev', 'lo')") == (0, "", "")
    assert "10.77.0.1/24" in puppet.ask("run('ip', '-br', 'addr')")[1]
    assert puppet.ask("tcp(('10.77.0.1', 80))") == b"over tcp"
    link = "run('ip', 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1')"
    status, _, err = puppet.ask(link)
    if not status:
        assert puppet.ask("names()") == ["lo", "v0", "v1"]
    else:
        assert "not supported" in err or "Unknown device type" in err  # no such module here
    assert puppet.ask("code(socket.AF_INET, socket.SOCK_RAW, 1)") == 0
    assert puppet.ask("code(socket.AF_PACKET, socket.SOCK_RAW, 0)") == 0
    assert not [n for _, n in socket.if_nameindex() if n in ("v0", "v1")]


def test_the_hosts_network_is_no_more_the_owners_than_before(stage):
    puppet = talker(stage.run("--net", "none", "--net", "host,name=host"))
    words = command("mstack", "/dev/net/host", "/usr/bin/python3", "-c",
                    "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)")  # fmt: skip
    status, _, err = puppet.ask(f"run(*{words!r})")
    if stage.user.uid:
        assert status == 1
        assert "PermissionError" in err
    else:
        assert (status, err) == (0, "")


@pytest.mark.root
def test_another_user_in_roots_view_gets_what_it_would_get_natively(me, tmp_path):
    stages = staged(me, tmp_path)
    stage = next(stages)
    try:
        puppet = talker(stage.run("-p", "net"))
        puppet.viewos("viewmount", "-t", "umnetns", "none", "/dev/net/default")
        script = (
            "import os, socket\n"
            "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
            "for family, kind in ((2, 3), (17, 3)):\n"
            "    try: socket.socket(family, kind, 1); print(0)\n"
            "    except OSError as error: print(error.errno)\n"
            "s = socket.socket(); print(os.fstat(s.fileno()).st_uid, len(socket.if_nameindex()))\n"
        )
        status, out, err = puppet.ask(f"run('/usr/bin/python3', '-c', {script!r})")
        assert (status, err) == (0, "")
        assert out.split() == [str(errno.EPERM), str(errno.EPERM), "65534", "1"]
    finally:
        stages.close()


def test_a_program_of_a_stack_has_no_capability(stage):
    puppet = talker(stage.run("--net", "none"))
    status = puppet.ask("open('/proc/self/status').read()")
    if stage.user.uid:
        assert "CapEff:\t0000000000000000" in status
    assert puppet.ask("os.getuid()") == stage.user.uid
    assert os.getuid() == 0 or stage.user.uid
