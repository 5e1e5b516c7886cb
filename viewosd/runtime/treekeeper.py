"""What outlives a tree server: its descriptors, and who starts the next one.

A tree server is two processes with one table of descriptors (clone(2), CLONE_FILES). One serves;
the other, its keeper, does nothing: when the first is killed all its descriptors are open still,
/dev/fuse and every file that a tree had open among them, and it starts another one, which goes on
(docs/decisions/0042). The memory files in `Estate` tell the successor what is what.

The keeper must open nothing once a server runs, not even a log: a successor closes what it does not
know.
"""

from __future__ import annotations

import logging
import mmap
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from ..keeper import unsafe as keeper_unsafe
from ..keeper.succession import HANGS_S, Succession
from . import unsafe

log = logging.getLogger("viewosd")

ALONE_HANGS_S: Final = 300.0
"""How long the loop of a server may stand still that serves one tree: whom it keeps waiting wants
that tree, disks are slow, and to read at the end of a compressed archive is to unpack it."""
PAUSE_S: Final = 0.5
"""Between servers of which too many have died."""
REGISTRY: Final = "viewos-trees"
"""The name of the memory file with what is served: a supervisor looks for it."""


@dataclass
class Estate:
    """What a server leaves to its successor.

    Attributes:
        end: where the supervisor asks for more trees.
        registry, inhand: memory files: what is served, and requests that are not answered.
        beat: counted up by a server that works; 0: it may stand still.
        beat_s: how often.
        alone: there is one tree.
        always: descriptors that are nobody's to close.
        before: all that were open when this server began.
        died: how many have died before.
        suspicious: the last one hung, or ended by itself.
        hopeless: too many have died: trees are not asked any more.
    """

    end: socket.socket
    registry: int
    inhand: int
    beat: mmap.mmap
    beat_s: float
    alone: bool
    always: frozenset[int] = frozenset()
    before: frozenset[int] = frozenset()
    died: int = 0
    suspicious: bool = False
    hopeless: bool = False


def keep(end: socket.socket, serve: Callable[[Estate], None], *, alone: bool) -> None:
    """Have trees served until the last one is gone and nobody asks for more.

    Args:
        serve: called in a thread of a process of its own; returns when there is no more to do.
        alone: there is one tree.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    registry = os.memfd_create(REGISTRY, os.MFD_CLOEXEC)
    journal = os.memfd_create("beat", os.MFD_CLOEXEC)
    os.ftruncate(journal, mmap.PAGESIZE)
    succession = Succession(journal, ALONE_HANGS_S if alone else HANGS_S)
    estate = Estate(
        end,
        registry,
        os.memfd_create("inhand", os.MFD_CLOEXEC),
        mmap.mmap(journal, mmap.PAGESIZE),
        succession.look_again_ms / 2000,
        alone,
    )
    estate.always = open_descriptors()
    while True:
        estate.beat[:8] = bytes(8)
        pid = unsafe.fork_sharing_descriptors()
        if pid == 0:
            _be_server(estate, serve)
        status = _watch(pid, succession)
        if status == 0:
            return
        succession.died(status)
        estate.died += 1
        estate.suspicious = succession.suspicious
        if not succession.another():
            if estate.hopeless and estate.suspicious:
                return  # it is not the trees
            estate.hopeless = True
            time.sleep(PAUSE_S)


def _watch(pid: int, succession: Succession) -> int:
    """Wait for a server's end; its wait status. One that hangs is killed."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        signal.sigtimedwait({signal.SIGCHLD}, succession.look_again_ms / 1000)
        succession.look(pid)


def _be_server(estate: Estate, serve: Callable[[Estate], None]) -> NoReturn:
    status = 1
    try:
        keeper_unsafe.prctl(keeper_unsafe.PR_SET_PDEATHSIG, signal.SIGKILL)
        estate.before = open_descriptors()
        done: list[bool] = []

        def work() -> None:
            try:
                serve(estate)
                done.append(True)
            except BaseException:  # noqa: ASYNC103 - there is nobody to raise it to
                log.exception("a tree server ends")

        # In a thread of its own: the C library knows that one, and trio has an idea of who runs
        # it in the one that was forked.
        thread = threading.Thread(target=work, name="trees")
        thread.start()
        thread.join()
        status = 0 if done else 1
    finally:
        os._exit(status)


def open_descriptors() -> frozenset[int]:
    """Those of this process."""
    # One that is listed is the directory's own, and closed by now.
    return frozenset(fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_open(fd))


def _is_open(fd: int) -> bool:
    try:
        os.get_inheritable(fd)
    except OSError:
        return False
    return True
