"""The server against a kernel that is a socket: each datagram a request, each answer one."""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fuse.test_codec import OPCODES, request
from viewosd.abi import fuse as abi
from viewosd.abi.fuse import fuse_init_in, fuse_interrupt_in, fuse_out_header, fuse_read_in
from viewosd.filetree import Attr, Dirent, Entry, FileTree, Opened
from viewosd.fuse.server import serve

LIMIT_S = 40


class FakeKernel:
    def __init__(self, end: socket.socket) -> None:
        self._end = trio.socket.from_stdlib_socket(end)
        self._unique = 0

    async def send(self, opcode: int, body: bytes = b"", node: int = 1, unique: int = 0) -> int:
        self._unique += 2
        await self._end.send(request(opcode, body, unique=unique or self._unique, node=node))
        return unique or self._unique

    async def answer(self) -> tuple[int, int, bytes]:
        """Whose it is, errno, and what."""
        with trio.fail_after(LIMIT_S):
            raw = await self._end.recv(1 << 21)
        head = fuse_out_header.unpack(raw[:16])
        assert head.len == len(raw)
        return head.unique, -head.error, raw[16:]

    async def ask(self, opcode: int, body: bytes = b"", node: int = 1) -> tuple[int, bytes]:
        unique = await self.send(opcode, body, node)
        whose, code, body = await self.answer()
        assert whose == unique
        return code, body


@asynccontextmanager
async def served(tree: FileTree):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        async with trio.open_nursery() as nursery:
            ours.setblocking(False)
            nursery.start_soon(serve, theirs.fileno(), tree)
            yield FakeKernel(ours)
            nursery.cancel_scope.cancel()


class Waiting(FileTree):
    def __init__(self) -> None:
        self.begun, self.cancelled, self.destroyed, self.forgotten = 0, 0, 0, []
        self.go = trio.Event()

    def lookup(self, parent, name, context):
        return Entry(2, Attr(2, 0o100644))

    def forget(self, node, nlookup):
        self.forgotten.append((node, nlookup))

    def open(self, node, flags, context):
        return Opened(object())

    async def read(self, node, handle, offset, size, context):
        self.begun += 1
        try:
            await self.go.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        return b"x" * offset

    async def destroy(self):
        self.destroyed += 1


def read(offset: int = 1, size: int = 10) -> bytes:
    return fuse_read_in(1, offset, size, 0, 0, 0).pack()


async def test_the_server_introduces_itself():
    async with served(FileTree()) as kernel:
        code, body = await kernel.ask(
            abi.FUSE_INIT, fuse_init_in(7, 45, 1 << 17, 0xFFFF_FFFF, 0).pack()
        )
        assert (code, len(body)) == (0, 64)


async def test_calls_that_wait_are_answered_in_any_order():
    tree = Waiting()
    async with served(tree) as kernel:
        waiting = {await kernel.send(abi.FUSE_READ, read(i)): i for i in range(20)}
        assert await kernel.ask(abi.FUSE_LOOKUP, b"f\0") == (0, await lookup_body(kernel))
        assert tree.begun == 20
        tree.go.set()
        for _ in range(20):
            unique, code, body = await kernel.answer()
            assert (code, len(body)) == (0, min(10, waiting.pop(unique)))
        assert not waiting


async def lookup_body(kernel):
    return (await kernel.ask(abi.FUSE_LOOKUP, b"f\0"))[1]


async def test_what_waits_at_the_end_is_cancelled_and_destroy_called_once():
    tree = Waiting()
    async with served(tree) as kernel:
        for _ in range(3):
            await kernel.send(abi.FUSE_READ, read())
        await lookup_body(kernel)
    assert (tree.cancelled, tree.destroyed) == (3, 1)


async def test_an_interrupted_call_of_an_interruptible_tree_is_cancelled():
    class Tree(Waiting):
        interruptible = True

    async with served(Tree()) as kernel:
        unique = await kernel.send(abi.FUSE_READ, read())
        await kernel.send(abi.FUSE_INTERRUPT, fuse_interrupt_in(unique).pack())
        assert await kernel.answer() == (unique, errno.EINTR, b"")
        await kernel.send(abi.FUSE_INTERRUPT, fuse_interrupt_in(unique).pack())  # too late: nothing
        await lookup_body(kernel)


async def test_an_interrupt_of_a_flush_does_nothing():
    class Tree(Waiting):
        interruptible = True

        async def flush(self, node, handle, owner, context):
            await self.go.wait()

    tree = Tree()
    async with served(tree) as kernel:
        unique = await kernel.send(abi.FUSE_FLUSH, bytes(24))
        await kernel.send(abi.FUSE_INTERRUPT, fuse_interrupt_in(unique).pack())
        await lookup_body(kernel)
        tree.go.set()
        assert await kernel.answer() == (unique, 0, b"")


async def test_what_is_unknown_is_enosys_and_forgets_are_not_answered():
    tree = Waiting()
    async with served(tree) as kernel:
        assert await kernel.ask(4000) == (errno.ENOSYS, b"")
        await kernel.send(abi.FUSE_FORGET, struct.pack("=Q", 3), node=2)
        await kernel.send(abi.FUSE_BATCH_FORGET, struct.pack("=II4Q", 2, 0, 5, 1, 6, 2))
        await lookup_body(kernel)
        assert tree.forgotten == [(2, 3), (5, 1), (6, 2)]


async def test_a_malformed_request_fails_and_the_next_one_works(caplog):
    async with served(Waiting()) as kernel:
        assert await kernel.ask(abi.FUSE_READ, b"short") == (errno.EIO, b"")
        await lookup_body(kernel)
    assert "Waiting: malformed request: opcode 15: 5 bytes of 40" in caplog.text


async def test_what_is_no_request_ends_the_mount_with_a_line(caplog):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    tree = Waiting()
    with ours, theirs, trio.fail_after(LIMIT_S):
        ours.send(b"nonsense")
        await serve(theirs.fileno(), tree)
    assert "8 bytes are no request" in caplog.text
    assert tree.destroyed == 1


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (OSError(errno.EXDEV, ""), errno.EXDEV),
        (OSError("no errno"), errno.EIO),
        (OSError(-5, "negative"), errno.EIO),
        (OSError(512, "the kernel's own"), errno.EIO),
        (KeyError("bug"), errno.EIO),
        (ExceptionGroup("two", [OSError(errno.EXDEV, "")]), errno.EIO),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
async def test_an_exception_is_an_answer(raised, code, waits, caplog):
    class Tree(FileTree):
        def lookup(self, parent, name, context):
            if not waits:
                raise raised
            return self.later()

        async def later(self):
            await trio.lowlevel.checkpoint()
            raise raised

    async with served(Tree()) as kernel:
        assert await kernel.ask(abi.FUSE_LOOKUP, b"f\0") == (code, b"")
    assert ("a bug of the tree" in caplog.text) is (code == errno.EIO)


@pytest.mark.parametrize("returned", [None, 5, "text", Entry(2, None), Entry(-1, Attr(1, 1))])
async def test_what_is_no_answer_is_a_bug(returned, caplog):
    class Tree(FileTree):
        def lookup(self, parent, name, context):
            return returned

    async with served(Tree()) as kernel:
        assert await kernel.ask(abi.FUSE_LOOKUP, b"f\0") == (errno.EIO, b"")
    assert "a bug of the tree" in caplog.text


async def test_the_context_is_who_asks():
    class Tree(FileTree):
        def mkdir(self, parent, name, mode, context):
            assert tuple(context) == (10, 20, 30, 0o22)
            return Entry(3, Attr(3, mode))

    async with served(Tree()) as kernel:
        assert (await kernel.ask(abi.FUSE_MKDIR, struct.pack("=II", 0o755, 0o22) + b"d\0"))[0] == 0


async def test_handles_are_objects_until_they_are_released():
    class Tree(FileTree):
        released = ()

        def open(self, node, flags, context):
            return Opened(["handle", node])

        def read(self, node, handle, offset, size, context):
            return repr(handle).encode()

        def release(self, node, handle, owner):
            self.released += ((handle, owner),)

    tree = Tree()
    async with served(tree) as kernel:
        _, body = await kernel.ask(abi.FUSE_OPEN, bytes(8), node=4)
        (fh,) = struct.unpack_from("=Q", body)
        body = fuse_read_in(fh, 0, 100, 0, 0, 0).pack()
        assert await kernel.ask(abi.FUSE_READ, body, node=4) == (0, b"['handle', 4]")
        release = struct.pack("=QIIQ", fh, 0, abi.FUSE_RELEASE_FLOCK_UNLOCK, 99)
        assert await kernel.ask(abi.FUSE_RELEASE, release, node=4) == (0, b"")
        assert await kernel.ask(abi.FUSE_READ, body, node=4) == (0, b"None")
    assert tree.released == ((["handle", 4], 99),)


@pytest.mark.parametrize("writeback", [False, True])
async def test_files_that_the_kernel_writes_back_are_opened_for_reading_too(writeback):
    class Tree(FileTree):
        flags = -1

        def open(self, node, flags, context):
            self.flags = flags
            return Opened()

    tree = Tree()
    Tree.writeback = writeback
    async with served(tree) as kernel:
        await kernel.ask(abi.FUSE_INIT, fuse_init_in(7, 45, 0, 0xFFFF_FFFF, 0).pack())
        flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK
        await kernel.ask(abi.FUSE_OPEN, struct.pack("=II", flags, 0))
        assert tree.flags == (os.O_RDWR | os.O_NONBLOCK if writeback else flags)
        await kernel.ask(abi.FUSE_OPEN, struct.pack("=II", os.O_RDONLY, 0))
        assert tree.flags == os.O_RDONLY


async def test_entries_of_a_listing_that_fails_are_forgotten():
    class Tree(Waiting):
        def readdir(self, node, handle, offset, context):
            yield Dirent(b"a", 5, 0, 1)
            yield Dirent(b"b", 6, 0, 2)
            raise OSError(errno.EXDEV, "half way")

        def lookup(self, parent, name, context):
            return Entry(name[0], Attr(name[0], 0o100644))

    tree = Tree()
    async with served(tree) as kernel:
        code, _ = await kernel.ask(abi.FUSE_READDIRPLUS, fuse_read_in(0, 0, 4096, 0, 0, 0).pack())
        assert code == errno.EXDEV
    assert tree.forgotten == [(ord("a"), 1), (ord("b"), 1)]


@pytest.mark.root
async def test_a_device_without_a_file_system_is_an_error():
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        with pytest.raises(PermissionError):
            await serve(device, Waiting())
    finally:
        os.close(device)


@given(
    st.lists(
        st.tuples(st.sampled_from(OPCODES), st.binary(max_size=120))
        | st.tuples(st.integers(0, 60), st.binary(max_size=60)),
        max_size=8,
    )
)
def test_no_sequence_of_requests_ends_the_server(bodies):
    async def main():
        async with served(FileTree()) as kernel:
            for opcode, body in bodies:
                if opcode == abi.FUSE_BATCH_FORGET:
                    body = bytes(8)
                await kernel.send(opcode, body)
            unique = await kernel.send(4000)
            while (await kernel.answer())[0] != unique:
                pass

    logging.getLogger("viewosd").disabled = True
    try:
        trio.run(main)
    finally:
        logging.getLogger("viewosd").disabled = False
