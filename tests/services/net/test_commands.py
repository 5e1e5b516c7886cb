"""``mstack``, ``msocket``, ``viewos net`` and ``--net``."""

from __future__ import annotations

import json
import socket
import sys

import pytest

from helpers.commands import command
from viewos_clients.options import OptionError, Options

from .conftest import talker

NATIVE = sorted(name for _, name in socket.if_nameindex())
NAMES = "import socket; print(sorted(name for _, name in socket.if_nameindex()))"
A = "/dev/net/a"


@pytest.fixture
def puppet(stage):
    """A program in a view with one stack that nobody uses."""
    return talker(stage.run("--net", "none,name=a"))


def run(puppet, *words: str) -> tuple[int, str, str]:
    return puppet.ask(f"run(*{list(words)!r})")


def names(puppet, *options: str, program: str = NAMES) -> list[str]:
    words = command("mstack", *options, A, "/usr/bin/python3", "-c", program)
    status, out, err = run(puppet, *words)
    assert (status, err) == (0, "")
    return json.loads(out.replace("'", '"'))


def test_mstack_runs_a_program_on_a_stack_and_nobody_else(puppet):
    assert names(puppet) == ["lo"]
    assert puppet.ask("names()") == NATIVE


def test_what_it_starts_is_on_the_stack_too(puppet):
    program = (
        f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {NAMES!r}]))"
    )
    assert names(puppet, program=program) == ["lo"]


def test_what_it_leaves_behind_is_on_the_stack_too(puppet):
    # A daemon: nobody above it but who keeps the stack has lived when it makes its first socket.
    program = (
        "import os, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "while open(f'/proc/{os.getppid()}/comm').read() == 'python3\\n':\n"
        "    time.sleep(0.01)\n"
        f"{NAMES}\n"
    )
    assert names(puppet, program=program) == ["lo"]


def test_mstack_may_choose_protocols(puppet):
    assert names(puppet, "-o", "+netlink") == ["lo"]
    assert names(puppet, "-o", "-netlink") == NATIVE


def test_an_mstack_in_another_counts(puppet):
    puppet.viewos("viewmount", "-t", "umnetnative", "none", "/dev/net/host")
    inner = command("mstack", "/dev/net/host", "/usr/bin/python3", "-c", NAMES)
    program = f"import subprocess, sys; sys.exit(subprocess.call({inner!r}))"
    assert names(puppet, program=program) == NATIVE


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        ((), 2, "STACK and PROG are needed"),
        (("-z", A, "true"), 2, "-z: not an option"),
        (("/dev/net/nix", "true"), 125, "/dev/net/nix is no stack of this view"),
        (("-o", "ipv5", A, "true"), 125, "'ipv5' is no protocol"),
        ((A, "/nix"), 127, "/nix: No such file or directory"),
        ((A, "/dev/null"), 126, "/dev/null: Permission denied"),
    ],
)
def test_mstack_says_in_a_line_what_is_wrong(puppet, words, status, line):
    code, out, err = run(puppet, *command("mstack", *words))
    assert (code, out, err.count("\n")) == (status, "", 1)
    assert line in err


def test_the_exit_status_is_the_programs(puppet):
    assert run(puppet, *command("mstack", A, "sh", "-c", "exit 7"))[0] == 7


def test_msocket_is_for_programs_with_several_stacks_at_once(puppet):
    program = f"""
import errno, os, socket
from viewos_clients.networking import msocket
s = msocket({A!r}, socket.AF_INET, socket.SOCK_STREAM)
s.bind(("127.0.0.1", 4711))
s.listen()
print(socket.socket().connect_ex(("127.0.0.1", 4711)) == errno.ECONNREFUSED)
print(msocket({A!r}, socket.AF_INET).connect_ex(("127.0.0.1", 4711)) == 0)
try:
    msocket({A!r}, 63)
except OSError as error:
    print(error.errno == errno.EAFNOSUPPORT)
before = socket.if_nameindex()
print(msocket({A!r}, 0, 0) is None, before != socket.if_nameindex())
"""
    status, out, err = run(puppet, sys.executable, "-c", program)
    assert (status, out.split(), err) == (0, ["True"] * 5, "")


def test_viewos_net_lists_stacks_with_their_interfaces(puppet):
    pytest.importorskip("pyroute2")
    assert A in puppet.viewos("viewos", "net")
    (row,) = json.loads(puppet.viewos("viewos", "net", "--json"))
    assert (row["path"], row["type"], row["lived_in"]) == (A, "umnetns", False)
    (lo,) = row["interfaces"]
    assert (lo["name"], lo["addresses"][0]) == ("lo", "127.0.0.1/8")


@pytest.mark.parametrize("spec", ["none", "host", "none,name=x"])
def test_net_is_a_shorthand_for_a_service_and_a_mount(spec):
    steps = Options.parse(["--net", spec, "--", "true"]).steps
    kind = "umnetnative" if spec == "host" else "umnetns"
    target = b"/dev/net/x" if "name" in spec else b"/dev/net/default"
    assert steps == [("service", "net"), ("mount", kind, "", b"none", target)]


@pytest.mark.parametrize("spec", ["bla", "none,name=", "none,name=a/b", "none,name=.."])
def test_a_spec_that_is_none_is_refused(spec):
    with pytest.raises(OptionError, match=f"--net {spec}"):
        Options.parse(["--net", spec, "--", "true"])
