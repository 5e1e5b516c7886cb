"""What a served file tree costs: stat, read and write through the kernel, in microseconds and ratios.

usage: python benchmarks/fuse.py [ROUNDS]      (as root: it mounts, attached nowhere)

**base** is a bare loop in Python that reads a request and writes an answer made beforehand, without
a tree, tasks or more than one file: what is left is the kernel, and Python's own two system calls.
**tmpfs** is the same natively. Rounds are made in turn; a ratio is the median of the rounds' own.
An idle second processor may double all three (the wake-up goes there): compare within one run.
"""

from __future__ import annotations

import os
import statistics
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from viewosd.abi import fuse as abi
from viewosd.filetree import Attr, Entry, Opened
from viewosd.fuse import codec, mount
from viewosd.fuse.init import init_out
from viewosd.memorytree import MemoryTree
from viewosd.testing.mounted import create, mounted, tmpfs

CALLS = 2000
SIZE = 16 << 20
CHUNK = 1 << 20
FILE = "file"


class Plain(MemoryTree):
    """Nothing is believed for longer than a call."""

    entry_s = attr_s = negative_s = 0.0

    def open(self, *_args: object) -> Opened:
        return Opened()


class Async(Plain):
    """The same, with methods that could wait and do not."""

    async def lookup(self, *args):
        return super().lookup(*args)

    async def getattr(self, *args):
        return super().getattr(*args)

    async def read(self, *args):
        return super().read(*args)

    async def write(self, *args):
        return super().write(*args)


@contextmanager
def canned() -> Iterator[int]:
    """The bare loop."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    fd = create("fuse", [*mount.options(), mount.device(device)])
    pid = os.fork()
    if not pid:
        os.close(fd)
        try:
            _answer(device)
        finally:
            os._exit(0)
    os.close(device)
    try:
        yield fd
    finally:
        os.close(fd)
        os.waitpid(pid, 0)


def _answer(device: int) -> None:
    file = Attr(2, 0o100644, size=SIZE)
    attrs = {node: codec.attr_out(Attr(1, 0o040755) if node == 1 else file, 0.0) for node in (1, 2)}
    entry, opened = codec.entry_out(Entry(2, file), 0.0, 0.0), codec.open_out(1, Opened())
    data, buffer = bytes(CHUNK), bytearray(CHUNK + 8192)
    head = abi.fuse_in_header.codec()
    while True:
        try:
            length = os.readv(device, [buffer])
        except OSError:
            return
        _, opcode, unique, node, *_ = head.unpack_from(buffer)
        body: bytes | memoryview = b""
        if opcode == abi.FUSE_LOOKUP:
            body = entry
        elif opcode in (abi.FUSE_GETATTR, abi.FUSE_SETATTR):
            body = attrs[node]
        elif opcode == abi.FUSE_OPEN:
            body = opened
        elif opcode == abi.FUSE_READ:
            body = memoryview(data)[: struct.unpack_from("=I", buffer, 56)[0]]
        elif opcode == abi.FUSE_WRITE:
            body = struct.pack("=II", struct.unpack_from("=I", buffer, 56)[0], 0)
        elif opcode == abi.FUSE_INIT:
            args = abi.fuse_init_in.codec().unpack(buffer[40:length])
            body = init_out(Plain(), args)[0]
        elif opcode in (abi.FUSE_FORGET, abi.FUSE_BATCH_FORGET):
            continue
        elif opcode not in (abi.FUSE_RELEASE, abi.FUSE_READ):
            os.write(device, codec.header(unique, 0, -38))
            continue
        os.writev(device, (codec.header(unique, len(body)), body))


def stat(root: int) -> float:
    """Microseconds for one stat(2): a lookup and a getattr."""
    began = time.perf_counter_ns()
    for _ in range(CALLS):
        os.stat(FILE, dir_fd=root)
    return (time.perf_counter_ns() - began) / CALLS / 1e3


def write(root: int) -> float:
    """Microseconds for a MiB."""
    data = bytes(SIZE)
    fd = os.open(FILE, os.O_WRONLY, dir_fd=root)
    began = time.perf_counter_ns()
    for at in range(0, SIZE, CHUNK):
        os.pwrite(fd, data[at : at + CHUNK], at)
    took = time.perf_counter_ns() - began
    os.close(fd)
    return took / 1e3 / (SIZE / CHUNK)


def read(root: int) -> float:
    """Microseconds for a MiB that is not cached."""
    fd = os.open(FILE, os.O_RDONLY, dir_fd=root)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter_ns()
    for at in range(0, SIZE, CHUNK):
        os.pread(fd, CHUNK, at)
    took = time.perf_counter_ns() - began
    os.close(fd)
    return took / 1e3 / (SIZE / CHUNK)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with ExitStack() as stack:
        roots = {"base": stack.enter_context(canned()), "tmpfs": stack.enter_context(tmpfs()).fd}
        for name, tree in (("def", Plain), ("async def", Async)):
            roots[name] = stack.enter_context(mounted(tree)).fd
        for name, root in roots.items():
            if name != "base":
                os.close(os.open(FILE, os.O_CREAT | os.O_WRONLY, dir_fd=root))
                write(root)
        print("| µs | " + " | ".join(roots) + " | def / base | async def / base |")
        print("| --- " * (len(roots) + 3) + "|")
        for what in (stat, read, write):
            found = {name: [] for name in roots}
            for _ in range(rounds):
                for name, root in roots.items():
                    found[name].append(what(root))
            figures = [f"{statistics.median(f):.1f}" for f in found.values()]
            for name in ("def", "async def"):
                pairs = zip(found[name], found["base"], strict=True)
                figures.append(f"{statistics.median(a / b for a, b in pairs):.2f}")
            print(f"| {what.__name__} | " + " | ".join(figures) + " |")


if __name__ == "__main__":
    main()
