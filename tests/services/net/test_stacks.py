"""Stacks as mounts: whose sockets go where, as root and as an ordinary user."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket

import pytest

from helpers.commands import command
from helpers.waiting import until
from viewosd.keeper.processes import descendants, state_of

from .conftest import talker

A, DEFAULT = "/dev/net/a", "/dev/net/default"
NATIVE = sorted(name for _, name in socket.if_nameindex())


@pytest.fixture
def puppet(stage):
    """A program in a view with the service and nothing mounted."""
    return talker(stage.run("-p", "net"))


def mount(puppet, target: str, type: str = "umnetns", options: str = "", source="none") -> None:
    words = ["-o", options] if options else []
    puppet.viewos("viewmount", "-t", type, *words, source, target)


def test_a_stack_is_a_network_namespace_at_its_mountpoint(stage):
    puppet = talker(stage.run("--mount", "umnetns", "none", A))
    assert puppet.ask(f"os.stat({A!r}).st_ino != os.stat('/proc/self/ns/net').st_ino")
    assert puppet.ask("names()") == NATIVE
    assert not os.path.exists(A)


def test_everybody_starts_on_a_default_stack_that_is_there_before_them(stage):
    puppet = talker(stage.run("--net", "none"))
    assert puppet.ask("names()") == ["lo"]
    assert puppet.ask(f"os.stat({DEFAULT!r}).st_ino == os.stat('/proc/self/ns/net').st_ino")
    assert puppet.ask("[l.split(':')[0].strip() for l in open('/proc/net/dev')][2:]") == ["lo"]
    assert puppet.ask("tcp(('127.0.0.1', 0))") == b"over tcp"
    asked = json.loads(puppet.viewos("viewos", "stats", "--json"))
    assert "socket" not in [row["call"] for row in asked]  # nothing of it goes through us


def test_sysfs_shows_the_interfaces_of_the_stack_that_is_lived_in(stage):
    puppet = talker(stage.run("--net", "none"))
    shown = puppet.ask("os.listdir('/sys/class/net')")
    if shown != ["lo"]:
        assert "/sys/class/net goes on showing" in stage.log()
        pytest.skip("this machine hides parts of /sys, so an ordinary user can't mount another")
    assert puppet.ask("os.listdir('/sys/kernel')")


def test_a_default_stack_that_comes_later_takes_running_programs_too(puppet):
    before = puppet.ask("globals().update(old=socket.socket()) or names()")
    mount(puppet, DEFAULT)
    assert (before, puppet.ask("names()")) == (NATIVE, ["lo"])
    assert puppet.ask("tcp(('127.0.0.1', 0))") == b"over tcp"
    assert puppet.ask("tcp(('::1', 0), socket.AF_INET6)") == b"over tcp"
    puppet.viewos("viewumount", DEFAULT)
    assert puppet.ask("names()") == NATIVE


def test_two_servers_have_one_port_on_two_stacks(puppet, stage):
    mount(puppet, A)
    mount(puppet, "/dev/net/b")
    puppet.ask("globals().update(ready=socket.socket(socket.AF_UNIX))")
    path = f"{os.path.dirname(stage.address)}/ready"
    puppet.ask(f"(ready.bind({path!r}), ready.listen())")
    serve = (
        "import socket; s = socket.create_server(('127.0.0.1', 4711));"
        f"r = socket.socket(socket.AF_UNIX); r.connect({path!r}); r.sendall(b'4711'); r.recv(1)"
    )
    for stack in (A, "/dev/net/b"):
        words = command("mstack", stack, "/usr/bin/python3", "-c", serve)
        puppet.ask(f"spawn(*{words!r})")
    assert [puppet.ask("ready.accept()[0].recv(9)") for _ in range(2)] == [b"4711"] * 2


def test_a_null_stack_has_no_sockets(puppet):
    mount(puppet, DEFAULT, "umnetnull")
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
        assert puppet.ask(f"code({int(family)}, socket.SOCK_DGRAM)") == -errno.EAFNOSUPPORT
    assert puppet.ask("len(socket.socketpair())") == 2


def test_a_link_gives_some_protocols_of_another_stack(puppet):
    mount(puppet, A)
    mount(puppet, DEFAULT, "umnetlink", "+ipv4,+netlink", A)
    assert puppet.ask("names()") == ["lo"]
    assert puppet.ask("code(socket.AF_INET6, socket.SOCK_DGRAM)") == 0
    puppet.viewos("viewumount", DEFAULT)
    mount(puppet, DEFAULT, "umnetlink", "+ipv4,override", A)
    assert puppet.ask("code(socket.AF_INET, socket.SOCK_DGRAM)") == 0
    assert puppet.ask("code(socket.AF_INET6, socket.SOCK_DGRAM)") == -errno.EAFNOSUPPORT


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("-t", "umnetlink", "/dev/net/nix", A), "/dev/net/nix is no stack of this view"),
        (("-t", "umnetlink", "-o", "ipv5", "/dev/net/z", A), "'ipv5' is no protocol"),
        (("-t", "umnetns", "-o", "size=4", "none", A), "umnetns has no option size"),
        (("-t", "umnetns", "none", "/dev/net/z"), "/dev/net/z has a stack already"),
    ],
)
def test_a_mount_that_makes_no_sense_is_refused(puppet, stage, words, line):
    mount(puppet, "/dev/net/z")
    from helpers.commands import command

    status, out, err = puppet.ask(f"run(*{command('viewmount', *words)!r})")
    assert (status, out) == (32, "")
    assert err.count("\n") == 1
    assert line in stage.log()
    assert puppet.ask("sorted(os.listdir('/dev/net'))").count("a") == 0


def test_errors_and_flags_of_a_socket_are_the_kernels(puppet):
    wrong = [
        (0, 1, 0), (socket.AF_INET, 77, 0), (socket.AF_INET, 1, 17), (44, 1, 0), (63, 2, 0),
        (socket.AF_UNIX, 3, 9), (-1, 1, 0), (1 << 20, 1, 0), (socket.AF_INET, 1 | 1 << 20, 0),
    ]  # fmt: skip
    asked = f"[code(*words) for words in {wrong!r}]"
    natively = puppet.ask(asked)
    mount(puppet, DEFAULT)
    assert puppet.ask(asked) == natively
    flags = "(s.get_inheritable(), s.gettimeout(), s.type == socket.SOCK_DGRAM, s.proto)"
    for extra in ("0", "socket.SOCK_CLOEXEC", "socket.SOCK_NONBLOCK"):
        asked = (
            f"(lambda f: (os.get_inheritable(f), os.get_blocking(f), os.close(f)))"
            f"(call('socket', 2, 2 | {extra}, 0))"
        )
        inherits, blocks = extra != "socket.SOCK_CLOEXEC", extra != "socket.SOCK_NONBLOCK"
        assert puppet.ask(asked) == (inherits, blocks, None), flags


def test_the_lowest_descriptor_is_given_and_a_full_table_is_emfile(puppet):
    mount(puppet, DEFAULT)
    assert puppet.ask("(lambda s: s.fileno() == os.dup(0) - 1)(socket.socket())")
    puppet.ask("exec('import resource', globals())")
    puppet.ask("globals().update(was=resource.getrlimit(resource.RLIMIT_NOFILE))")
    puppet.ask("resource.setrlimit(resource.RLIMIT_NOFILE, (3, was[1]))")
    assert puppet.ask("code(2, 1)") == -errno.EMFILE
    puppet.ask("resource.setrlimit(resource.RLIMIT_NOFILE, was)")
    assert puppet.ask("code(2, 1)") == 0


def test_unix_sockets_meet_by_path_and_abstract_names_are_of_the_stack(puppet, stage, tmp_path):
    name = b"\0viewos-test-%d" % os.getpid()
    with socket.socket(socket.AF_UNIX) as outside:
        outside.bind(name)
        outside.listen()
        asked = f"made(socket.AF_UNIX, socket.SOCK_STREAM).connect_ex({name!r})"
        assert puppet.ask(asked) == 0
        mount(puppet, DEFAULT)
        assert puppet.ask(asked) == errno.ECONNREFUSED
    # The one that the puppet itself talks through.
    stage_path = stage.address
    assert puppet.ask(f"made(1, 1).connect_ex({stage_path!r})") == 0


def test_who_has_made_a_network_namespace_stays_there(puppet):
    mount(puppet, DEFAULT)
    inside = (
        "run('unshare', '-rn', '/usr/bin/python3', '-c', "
        "'import socket, os; s = socket.socket(); "
        'print(os.stat("/proc/self/ns/net").st_ino, socket.if_nameindex())\')'
    )
    status, out, err = puppet.ask(inside)
    if status:
        pytest.skip(f"no namespace in a namespace here: {err}")
    inode, interfaces = out.split(" ", 1)
    assert int(inode) != puppet.ask(f"os.stat({DEFAULT!r}).st_ino")
    assert interfaces == "[(1, 'lo')]\n"


def test_a_32_bit_program_gets_its_sockets_too(puppet, program, stage):
    wanted = program("makesocket", "-m32")
    os.chmod(os.path.dirname(wanted), 0o755)
    natively = puppet.ask(f"run({wanted!r}, '2', '1', '0')")
    mount(puppet, DEFAULT)
    assert natively[0] == 0
    # Its loopback interface has an address, and there is no other.
    assert puppet.ask(f"run({wanted!r}, '2', '1', '0')") == (0, "1\n", "")
    assert puppet.ask(f"run({wanted!r}, '63', '1', '0')")[1] == f"errno {errno.EAFNOSUPPORT}\n"


def test_sockets_of_a_stack_that_is_umounted_go_on(puppet):
    mount(puppet, DEFAULT)
    puppet.ask("globals().update(server=socket.create_server(('127.0.0.1', 0)))")
    puppet.ask("globals().update(client=socket.create_connection(server.getsockname()))")
    puppet.ask("globals().update(other=server.accept()[0])")
    puppet.viewos("viewumount", DEFAULT)
    assert puppet.ask("(client.sendall(b'still'), other.recv(9))[1]") == b"still"
    assert puppet.ask("names()") == NATIVE


def test_a_successor_has_the_same_stacks(puppet, stage):
    mount(puppet, DEFAULT)
    puppet.ask("globals().update(server=socket.create_server(('127.0.0.1', 4711)))")
    stage.kill_supervisor()
    assert puppet.ask("names()") == ["lo"]
    assert puppet.ask("socket.create_connection(('127.0.0.1', 4711)).getpeername()[1]") == 4711
    stage.kill_supervisor()
    assert puppet.ask("socket.create_connection(('127.0.0.1', 4711)).getpeername()[1]") == 4711


def test_a_helper_that_is_killed_is_replaced(puppet, stage):
    mount(puppet, DEFAULT)
    assert puppet.ask("names()") == ["lo"]
    maker = next(p for p in descendants(stage.keepers[0].pid) if _comm(p) == "viewos-net")
    os.kill(maker, signal.SIGKILL)
    until(lambda: state_of(maker) in ("", "Z"), "the end of a helper")
    assert puppet.ask("names()") == ["lo"]


def _comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return ""


def test_a_branch_has_the_stacks_and_changes_only_its_own(puppet, stage):
    mount(puppet, DEFAULT)
    branch = talker(puppet.branch())
    assert branch.ask("names()") == ["lo"]
    if not stage.user.uid:  # what an ordinary user's branch inherits, the kernel locks
        branch.viewos("viewumount", DEFAULT)
        assert branch.ask("names()") == NATIVE
    mount(branch, A)
    look = f"os.path.exists({A!r}) and os.stat({A!r}).st_dev == os.stat('/proc/self/ns/net').st_dev"
    assert (puppet.ask(look), branch.ask(look)) == (False, True)
    assert puppet.ask("names()") == ["lo"]


def test_many_sockets_at_once_are_all_on_the_stack(puppet):
    mount(puppet, DEFAULT)
    assert puppet.ask("at_once(16, 50)") == (800, {0})


def test_views_of_one_user_do_not_share_their_mountpoints(stage):
    one, other = (talker(stage.run("--net", "none,name=a")) for _ in range(2))
    look = f"os.stat({A!r}).st_ino"
    assert one.ask(look) != other.ask(look)
    inode = other.ask(look)
    one.viewos("viewumount", A)
    assert not one.ask(f"os.path.exists({A!r})")
    assert other.ask(look) == inode


def test_nothing_is_left_of_stacks(puppet, stage):
    mount(puppet, DEFAULT)
    assert puppet.ask("names()") == ["lo"]
    inode = puppet.ask(f"os.stat({DEFAULT!r}).st_ino")
    keeper = stage.keepers[0]
    below = descendants(keeper.pid)
    puppet.close()
    stage.puppets.remove(puppet)
    keeper.wait(60)
    until(lambda: all(state_of(pid) == "" for pid in below), "the end of all processes")
    assert not os.path.exists(DEFAULT)
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            assert os.stat(f"/proc/{pid}/ns/net").st_ino != inode
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass
