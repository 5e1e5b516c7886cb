"""The process that serves file trees: takes jobs, makes trees, and goes on where a killed one was.

A job is ``[tree, origin, arguments, st_dev]`` with descriptors: /dev/fuse, where to tell that the
tree is made, and the tree's own. What is served is written down in the registry, by the number of
/dev/fuse, before anybody is told; what is not there when a server is killed never was.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import logging
import os
import sys
from typing import Any, NamedTuple

import msgspec
import trio

from ..abi.fuse import FUSE_UNIQUE_RESEND as AGAIN
from ..agent import frames
from ..filetree import FileTree
from ..fuse import kept as memory
from ..fuse.inhand import InHand, Left
from ..fuse.kept import Kept
from ..fuse.life import Life, open_handles
from ..fuse.lost import Lost
from ..fuse.server import serve
from .treekeeper import Estate

log = logging.getLogger("viewosd")


class Job(NamedTuple):
    """One mount, as the registry has it.

    Attributes:
        name: "module:Class" of the tree.
        origin: the file of that module, for one that can't be imported by its name.
        st_dev: "major:minor" of the file system, as the supervisor knows it.
        kept: the memory file of `viewosd.fuse.life.Life.kept`.
        own: that of `FileTree.kept`; -1: the tree is not resumable.
        lost: why it can't go on; "": it does.
    """

    name: str
    origin: str
    arguments: dict[str, Any]
    descriptors: list[int]
    st_dev: str
    kept: int
    own: int
    lost: str


class Trees:
    """All that one process serves."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        self._registry = Kept(estate.registry)
        self._inhand = InHand(estate.inhand)
        self._nursery: trio.Nursery
        self._beats = 0

    async def run(self) -> None:
        """Serve until nobody asks for more and the last mount is gone."""
        estate = self._estate
        estate.end.setblocking(False)
        self._count()
        async with trio.open_nursery() as beating:
            beating.start_soon(self._beat)
            async with trio.open_nursery() as self._nursery:
                if estate.died:
                    self._go_on(self._inhand.left())
                await self._take_jobs()
            beating.cancel_scope.cancel()

    async def _beat(self) -> None:
        while True:
            self._count()
            await trio.sleep(self._estate.beat_s)

    def _count(self) -> None:
        self._beats += 1
        self._estate.beat[:8] = self._beats.to_bytes(8, "little")

    async def _take_jobs(self) -> None:
        end = self._estate.end
        while True:
            await trio.lowlevel.wait_readable(end)
            try:
                job = frames.receive(end)
            except BlockingIOError:
                continue  # a dead server has taken it
            if job is None:
                return
            (name, origin, arguments, st_dev), (device, news, *descriptors) = job
            wanted = Job(name, origin, arguments, descriptors, st_dev, -1, -1, "")
            if self._estate.alone:
                self._estate.beat[:8] = bytes(8)  # who makes it may take long
            self._begin(wanted, device, news)

    # -- from the start

    def _begin(self, job: Job, device: int, news: int) -> None:
        code, why, tree = 0, "", None
        try:
            if self._estate.hopeless:
                raise OSError(errno.EIO, "tree servers of this view keep dying")
            tree = _make(job)
            kept = os.memfd_create("kept", os.MFD_CLOEXEC)
            own = os.memfd_create("own", os.MFD_CLOEXEC) if tree.resumable else -1
            if own >= 0:
                tree.kept, before = Kept(own), tree.kept
                tree.kept.update(before)
            job = job._replace(kept=kept, own=own)
            self._registry[device] = list(job)
        except OSError as error:
            code, why = error.errno or errno.EIO, error.strerror or str(error)
        except Exception as error:
            code, why = errno.EIO, f"tree {job.name}: a bug, see the log: {error!r}"
            log.exception("tree %s can't be made", job.name)
        with contextlib.suppress(OSError):  # the supervisor has ended
            os.write(news, msgspec.msgpack.encode([code, why[:1000]]))
        os.close(news)
        if code or tree is None:
            for fd in (device, *job.descriptors):
                with contextlib.suppress(OSError):  # the tree may have closed its own
                    os.close(fd)
        else:
            life = Life(Kept(job.kept), self._inhand)
            self._nursery.start_soon(self._serve, device, job, tree, life)

    async def _serve(self, device: int, job: Job, tree: FileTree, life: Life) -> None:
        try:
            await serve(device, tree, life)
        except Exception:
            # Its mount says ENOTCONN from now on; the others' must not.
            log.exception("tree %s: its server ends", job.name)
        finally:
            del self._registry[device]
            for fd in (device, job.kept, job.own):
                if fd >= 0:
                    os.close(fd)

    # -- after another one

    def _go_on(self, left: list[Left]) -> None:
        """Be the server of all that a dead one has served; close what is nobody's any more."""
        estate, used = self._estate, set(self._estate.always)
        how = "hung, or ended by itself" if estate.suspicious else "was killed"
        log.error("a tree server %s: another one goes on", how)
        begun = []
        for device in list(self._registry):
            job, tree = self._again(Job(*self._registry[device]))
            handles = open_handles(memory.read(job.kept))
            used |= {device, job.kept, job.own, *job.descriptors, *tree.descriptors(handles)}
            self._registry[device] = list(job)
            begun.append((device, job, tree))
        for fd in estate.before - used:
            with contextlib.suppress(OSError):  # that of the directory which told of them
                os.close(fd)
        for device, job, tree in begun:
            lost = [one for one in left if one.device == device]
            life = Life(Kept(job.kept), self._inhand, resumed=True)
            life.lost = [one.unique for one in lost]
            life.blamed = _blamed(lost, estate.suspicious)
            self._nursery.start_soon(self._serve, device, job, tree, life)

    def _again(self, job: Job) -> tuple[Job, FileTree]:
        why = job.lost
        if not why and self._estate.hopeless:
            why = "tree servers of this view keep dying"
        if not why and job.own < 0:
            why = "its server died, and what it had in memory with it"
        if not why:
            try:
                tree = _make(job)
                tree.kept = Kept(job.own)
                tree.resume()
                return job, tree
            except Exception as error:
                log.exception("tree %s can't go on", job.name)
                why = f"its server died, and it can't go on: {error}"
        if not job.lost:
            log.error("tree %s, device %s: all calls fail with EIO: %s", job.name, job.st_dev, why)
        return job._replace(lost=why, descriptors=[], own=-1), Lost()


def _make(job: Job) -> FileTree:
    module, _, cls = job.name.partition(":")
    if module not in sys.modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:
            _load(module, job.origin)
    tree: FileTree = getattr(sys.modules[module], cls)(job.descriptors, **job.arguments)
    return tree


def _load(module: str, origin: str) -> None:
    """A service that was given as a file has a name that only its supervisor knows."""
    spec = importlib.util.spec_from_file_location(module, origin)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"no module {module}")
    sys.modules[module] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[module])


def _blamed(left: list[Left], suspicious: bool) -> frozenset[int]:
    """What a successor asks no tree again, as it comes again."""
    return frozenset(
        one.unique | AGAIN for one in left if one.unique & AGAIN or (suspicious and not one.waited)
    )


def work(estate: Estate) -> None:
    """What `viewosd.runtime.treekeeper.keep` has run."""
    trio.run(Trees(estate).run)


def lost_mounts(registry: int) -> dict[str, str]:
    """Why file systems can't go on, by "major:minor", as a registry tells."""
    jobs = [Job(*job) for job in memory.read(registry).values()]
    return {job.st_dev: job.lost for job in jobs if job.lost}
