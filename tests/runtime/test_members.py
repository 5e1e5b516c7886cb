"""Who is of a view, and of which branch: real processes, real /proc."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from helpers.waiting import until
from viewosd.keeper.processes import descends, lineage, own_children, parent_of, state_of
from viewosd.runtime import members as module
from viewosd.runtime.members import Members, leader_of

CHAIN = """
import os, sys, threading
depth = int(sys.argv[1])
while depth:
    if os.fork():
        os.wait()
        os._exit(0)
    depth -= 1
threading.Thread(target=lambda: sys.stdin.read(), daemon=True).start()
print(os.getpid(), flush=True)
sys.stdin.read()
"""


class Chain:
    """A process, its child, and so on; `pids` from the top."""

    def __init__(self, depth: int) -> None:
        words = [sys.executable, "-S", "-c", CHAIN, str(depth)]
        self.top = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.top.stdout is not None
        self.last = int(self.top.stdout.readline())
        line = lineage(self.last)
        self.pids = line[: line.index(self.top.pid) + 1][::-1]

    def close(self) -> None:
        for pid in self.pids:
            if state_of(pid) not in ("", "Z"):
                os.kill(pid, signal.SIGKILL)
        self.top.communicate()
        self.top.wait()


@pytest.fixture
def chain() -> Iterator[Chain]:
    made = Chain(4)
    yield made
    made.close()


def test_all_below_the_ancestor_are_members_and_it_is_not(chain):
    members = Members(chain.pids[0])
    assert members.processes() == chain.pids[1:]
    assert not members.has(chain.pids[0])
    assert all(members.has(pid) for pid in chain.pids[1:])
    assert not members.has(os.getpid())
    assert not members.nobody_left() or not members.besides


def test_with_no_children_but_helpers_nobody_else_is_looked_at(chain, monkeypatch):
    members = Members(os.getpid())
    members.helpers = set(own_children())
    assert chain.top.pid in members.helpers
    with monkeypatch.context() as patched:
        patched.setattr(module, "descendants", lambda pid: pytest.fail("it looked"))
        assert members.processes() == []
        assert not members.any_below(os.getpid())
    members.helpers.remove(chain.top.pid)
    assert members.processes() == chain.pids
    assert members.any_below(os.getpid())
    members.helpers.add(chain.pids[1])
    assert members.processes() == chain.pids[:1]


def test_children_of_all_threads_are_ours_and_so_are_ended_ones():
    before = set(own_children())
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(subprocess.Popen(["/bin/true"]))
        ended.wait()

    ended = threading.Event()
    thread = threading.Thread(target=start)
    thread.start()
    try:
        until(lambda: started and state_of(started[0].pid) == "Z", "its end")
        assert set(own_children()) == before | {started[0].pid}
    finally:
        ended.set()
        thread.join()
    started[0].wait()
    assert set(own_children()) == before


def test_a_thread_is_where_its_process_is(chain):
    members = Members(chain.pids[0])
    threads = until(lambda: threads_of(chain.last), "its thread")
    assert members.has(threads[0])
    assert leader_of(threads[0]) == chain.last
    root = chain.pids[2]
    assert members.branch_root(threads[0], {root: root}) == root
    assert leader_of(2**22 + 1) == 0


def threads_of(pid: int) -> list[int]:
    return [tid for tid in map(int, os.listdir(f"/proc/{pid}/task")) if tid != pid]


def test_the_nearest_root_counts(chain):
    members = Members(chain.pids[0])
    _, one, two, three, four = chain.pids
    roots = {one: one, three: three}
    found = [members.branch_root(pid, roots) for pid in (one, two, three, four)]
    assert found == [one, one, three, three]


def test_a_keeper_is_not_of_its_branch_but_all_below_it_are(chain):
    members = Members(chain.pids[0])
    _, keeper, root, three, _ = chain.pids
    roots = {keeper: root, root: root}
    assert members.branch_root(keeper, roots) == 0
    assert members.branch_root(three, roots) == root
    members.forget_branches()
    os.kill(root, signal.SIGSTOP)
    assert members.branch_root(root, {keeper: root}) == root


def test_an_adopted_process_counts_with_all_below_it(chain):
    members = Members(chain.pids[0])
    members.adopted[chain.pids[2]] = 77
    found = [members.branch_root(pid, {77: 77}) for pid in chain.pids[1:]]
    assert found == [0, 77, 77, 77]
    assert members.adopted_by(77) == chain.pids[2:]  # their parents may end before them


def test_who_is_heard_through_the_listener_of_an_adopted_process_counts_with_it(chain):
    members = Members(chain.pids[0])
    root, adopted, *below = chain.pids[1:]
    members.adopt(adopted, 77)
    assert members.branch_root(below[0], {77: 77}, 5) == 77
    members.adopted.clear()
    members.forget_branches()
    assert members.branch_root(below[1], {77: 77}, 6) == 0
    assert members.branch_root(root, {root: root}, 5) == root
    members.forget_branches()
    assert members.branch_root(below[1], {77: 77}, 5) == 77
    assert members.adopted == {below[1]: 77}


def test_a_branch_is_remembered_for_a_moment_and_forgotten_on_demand(chain):
    members = Members(chain.pids[0])
    root = chain.pids[1]
    assert members.branch_root(chain.last, {}) == 0
    members.forget_branches()
    assert members.branch_root(chain.last, {root: root}) == root


def test_when_the_keeper_is_gone_those_who_were_there_are_still_members():
    """As a successor sees it: it is the ancestor's child itself, and no member."""
    chain = Chain(4)
    try:
        keeper, successor, *rest = chain.pids
        members = Members(keeper, besides=successor)
        members.remember()
        assert members.everybody() == rest
        os.kill(keeper, signal.SIGKILL)
        until(lambda: parent_of(successor) != keeper, "another parent")
        members.remember()  # it must not forget them now that nobody is below the keeper
        members.keeper_is_gone()
        assert members.has(rest[0])
        assert set(members.processes()) >= set(rest)
        assert not members.nobody_left()
    finally:
        chain.close()


def test_the_way_up_ends_where_nobody_is_seen():
    line = lineage(os.getpid())
    assert line[0] == os.getpid()
    assert line[1] == os.getppid()
    assert descends(os.getpid(), line[-1])
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert lineage(gone.pid) == []
    assert not descends(gone.pid, os.getpid())


def test_the_way_up_starts_again_when_a_parent_ends_under_it(chain, monkeypatch):
    """Its children belong to somebody further up by then."""
    from viewosd.keeper import processes

    real, gone = processes._stat, []

    def stat(pid: int) -> list[bytes]:
        fields = real(pid)
        if pid == chain.pids[2]:
            gone.append(pid)
            return []  # as if it had ended between two looks
        if pid == chain.pids[3] and gone:
            fields[1] = b"%d" % chain.pids[1]
        return fields

    monkeypatch.setattr(processes, "_stat", stat)
    top, second, _, *rest = chain.pids
    assert lineage(chain.last)[: len(rest) + 2] == [*rest[::-1], second, top]
    assert gone


def test_the_way_up_ends_at_a_parent_that_is_hidden(chain, monkeypatch):
    """As with hidepid, proc(5): it has not ended, and nobody can look at it."""
    from viewosd.keeper import processes

    real = processes._stat
    monkeypatch.setattr(processes, "_stat", lambda pid: [] if pid == chain.pids[1] else real(pid))
    assert lineage(chain.last) == chain.pids[:0:-1]
    assert descends(chain.last, chain.pids[1])
    assert not descends(chain.last, chain.pids[0])


def test_an_id_that_was_given_to_another_process_is_no_member_any_more(monkeypatch):
    members = Members(0)
    here = os.getpid()
    members.note(here)
    members.strangers.add(here)
    members.adopt(here, 77)
    assert members.still(here)
    assert members.has(here)
    monkeypatch.setattr("viewosd.runtime.members.start_of", lambda pid: 1)  # ... a later one
    assert not members.still(here)
    assert not members.has(here)
    assert members.processes() == []
    assert members.branch_root(here, {}) == 0
    assert members.nobody_left()
    assert members.strangers == set()


def test_a_process_whose_first_thread_has_ended_is_alive():
    code = """
import ctypes, sys, threading
threading.Thread(target=lambda: print(sys.stdin.readline(), end="", flush=True)).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    words = [sys.executable, "-S", "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        until(lambda: state_of(one.pid) == "Z", "the end of its first thread")
        members = Members(os.getpid())
        members.note(one.pid)
        assert members.alive(one.pid)
        assert members.still(one.pid)
        assert members.any_below(os.getpid())
        one.kill()
        os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
        assert state_of(one.pid) == "Z"
        assert not members.alive(one.pid)
