"""Real views with network stacks, of root and of an ordinary user."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.puppets import Puppet, Stage, staged

WORDS = """
import os, socket, sys, errno, array, threading
def names(s=None):
    "The interfaces that a socket sees: of the namespace that it was made in."
    return sorted(name for _, name in socket.if_nameindex())
def made(*words):
    try:
        return socket.socket(*words)
    except OSError as error:
        return -error.errno
def code(*words):
    s = made(*words)
    if isinstance(s, int):
        return s
    s.close()
    return 0
def at_once(threads, times):
    "How many sockets were made by so many threads, and with which results."
    found = []
    def body():
        for _ in range(times):
            found.append(code(2, 1))
    started = [threading.Thread(target=body) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return len(found), set(found)
def tcp(address, family=socket.AF_INET):
    "One connection from end to end; what was sent through it."
    with socket.create_server(address, family=family) as server:
        with socket.create_connection(server.getsockname()[:2]) as client:
            peer, _ = server.accept()
            with peer:
                client.sendall(b"over tcp")
                return peer.recv(100)
"""


@pytest.fixture(params=["me", "nobody"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """As root, and as an ordinary user."""
    user = request.getfixturevalue(request.param)
    place = tmp_path if request.param == "me" else user.runtime_dir
    if user.prefix and user.python != [sys.executable]:
        pytest.skip("another user can't execute the tests' interpreter where it lies")
    yield from staged(user, place)


def talker(puppet: Puppet) -> Puppet:
    """A puppet that knows `WORDS`."""
    puppet.ask(f"exec({WORDS!r}, globals())")
    return puppet
