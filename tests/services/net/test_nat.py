"""A way out: the host's loopback by the gateway's address, ports that lead in, and its end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from pathlib import Path

import pytest

from helpers.commands import command
from helpers.waiting import until
from viewosd.keeper.processes import descendants, state_of

from .conftest import talker

pytestmark = pytest.mark.skipif(shutil.which("pasta") is None, reason="needs pasta (package passt)")


@pytest.fixture
def served():
    """A server on the host's loopback that says one word to each caller: its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def body() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.sendall(b"outside")

        thread = threading.Thread(target=body)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def natted(stage, *options: str):
    """A puppet with a way out; skips where that can't be had."""
    if not _has_route():
        pytest.skip("needs a default route: pasta copies the host's")
    if stage.user.uid and not os.stat("/dev/net/tun").st_mode & 0o002:
        pytest.skip("needs a /dev/net/tun that every user may open")
    return talker(stage.run("--net", "nat", *options))


def _has_route() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return not probe.connect_ex(("192.0.2.1", 9))


GATEWAY = (
    "next(socket.inet_ntoa(bytes.fromhex(w[2])[::-1]) for w in "
    "(line.split() for line in open('/proc/net/route')) if w[1] == '00000000')"
)


def companions(stage) -> list[int]:
    """pasta's processes."""
    found = []
    for pid in descendants(stage.keepers[0].pid):
        with open(f"/proc/{pid}/comm") as comm:
            if comm.read().startswith(("pasta", "passt")):
                found.append(pid)
    return found


def test_the_host_is_reached_and_nothing_of_it_is_seen(stage, served):
    puppet = natted(stage)
    assert "eth0" in puppet.ask("names()")
    assert puppet.ask(f"socket.create_connection(({GATEWAY}, {served})).recv(9)") == b"outside"
    assert "ConnectionRefusedError" in puppet.ask(
        f"socket.create_connection(('127.0.0.1', {served}))"
    )


def test_a_published_port_leads_in_over_tcp_and_udp(stage):
    with socket.socket() as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        tcp, udp = one.getsockname()[1], other.getsockname()[1]
    ports = ["--publish", f"127.0.0.1:{tcp}:80", "--publish", f"127.0.0.1:{udp}:53/udp"]
    puppet = natted(stage, *ports)
    puppet.ask("globals().update(s=socket.create_server(('0.0.0.0', 80)))")
    with socket.create_connection(("127.0.0.1", tcp)) as client:
        client.sendall(b"inwards")
        assert puppet.ask("s.accept()[0].recv(9)") == b"inwards"
    puppet.ask("globals().update(u=socket.socket(socket.AF_INET, socket.SOCK_DGRAM))")
    puppet.ask("u.bind(('0.0.0.0', 53))")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"inwards", ("127.0.0.1", udp))
        assert puppet.ask("u.recv(9)") == b"inwards"
    assert f"127.0.0.1:{tcp}:80" in puppet.viewos("viewos", "net")


def test_a_port_that_is_taken_is_told_in_one_line(stage):
    with socket.create_server(("127.0.0.1", 0)) as server:
        if not _has_route():
            pytest.skip("needs a default route: pasta copies the host's")
        if stage.user.uid and not os.stat("/dev/net/tun").st_mode & 0o002:
            pytest.skip("needs a /dev/net/tun that every user may open")
        port = server.getsockname()[1]
        puppet = talker(stage.run("-p", "net"))
        words = ["--net", "nat", "--publish", f"127.0.0.1:{port}:80"]
        # Inside a view: its own runtime directory is the puppet's.
        run = [*stage.user.viewos_run, "--no-rc", *words, "--", "true"]
        status, out, err = puppet.ask(f"run(*{run!r})")
    assert (status, out, err.count("\n")) == (125, "", 1)
    assert "pasta" in err


def test_the_way_out_survives_the_supervisor_and_ends_with_the_view(stage, served):
    puppet = natted(stage)
    (pasta,) = companions(stage)
    stage.kill_supervisor()
    assert puppet.ask(f"socket.create_connection(({GATEWAY}, {served})).recv(9)") == b"outside"
    assert puppet.viewos("viewos", "net")  # a successor is there
    keeper = stage.keepers[0]
    puppet.close()
    stage.puppets.remove(puppet)
    keeper.wait(60)
    until(lambda: state_of(pasta) == "", "the end of pasta")


def test_the_way_out_ends_when_everybody_who_held_it_is_killed(stage):
    natted(stage)
    (pasta,) = companions(stage)
    supervisor = stage.supervisor()
    for pid in (stage.keepers[0].pid, supervisor):
        os.kill(pid, signal.SIGKILL)
    stage.keepers[0].wait(60)
    until(lambda: state_of(pasta) in ("", "Z"), "the end of pasta")
    for socket_of_the_dead in stage.user.runtime_dir.glob("[0-9]*.sock"):
        socket_of_the_dead.unlink()


def test_an_umounted_stack_has_no_way_out_any_more(stage):
    puppet = natted(stage, "--net", "none,name=x")
    (pasta,) = companions(stage)
    puppet.viewos("viewumount", "/dev/net/default")
    until(lambda: state_of(pasta) == "", "the end of pasta")


def test_name_servers_and_names_are_as_asked_for(stage):
    asked = "none,dns=192.0.2.53,host=db:10.1.2.3"
    puppet = talker(stage.run("--net", asked))
    assert "nameserver 192.0.2.53\n" in puppet.ask("open('/etc/resolv.conf').read()")
    assert puppet.ask("socket.gethostbyname('db')") == "10.1.2.3"
    assert "10.1.2.3" not in Path("/etc/hosts").read_text()
    assert not [name for name in os.listdir(stage.user.runtime_dir) if name.startswith(".net-")]
    status, _, err = puppet.ask(f"run(*{command('viewumount', '/dev/net/default')!r})")
    assert (status, err) == (0, "")
    assert "192.0.2.53" not in puppet.ask("open('/etc/resolv.conf').read()")
