"""A tracee's memory, read and written as the kernel would for it."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from typing import Any

import pytest

from helpers.rig import libc, rig, serve, syscall
from viewosd.errors import BadAddress, Vanished
from viewosd.runtime import memory, unsafe
from viewosd.syscalls.process import getpgid
from viewosd.verdict import Return

PAGE = 4096
LOW = 0x1000_0000
"""Where `pages` maps. A number, so that it can be said in a call that takes an int."""

READ, WRITE = 1, 2
MAP_FIXED_PRIVATE_ANONYMOUS = 0x32


def pages(*protections: int | None) -> int:
    """Map pages side by side at LOW, None leaves a hole; they are filled with b"x"."""
    libc.mmap.restype = ctypes.c_void_p
    for n, protection in enumerate(protections):
        at = ctypes.c_void_p(LOW + n * PAGE)
        if protection is not None:
            libc.mmap(at, PAGE, READ | WRITE, MAP_FIXED_PRIVATE_ANONYMOUS, -1, 0)
            ctypes.memset(at, ord("x"), PAGE)
            libc.mprotect(at, PAGE, protection)
        else:
            libc.munmap(at, PAGE)
    return LOW


def put(address: int, data: bytes) -> None:
    ctypes.memmove(address, data, len(data))


async def ask(prepare: Callable[[], Any], look: Callable[[Any], Any]) -> Any:
    """What ``look(tracee)`` finds after ``prepare()`` ran in the tracee; or the errno's name."""
    found: list[Any] = []

    def answer(call: Any, tracee: Any) -> Return:
        try:
            found.append(look(tracee))
        except OSError as error:
            found.append(errno.errorcode[error.errno or 0])
        return Return(0)

    def closure() -> None:
        prepare()
        syscall("getpgid", 0)

    async with rig(serve(getpgid, answer)) as view:
        await view.ask(closure)
    return found[0]


@pytest.fixture(params=["process_vm", "proc_mem"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to the memory: the ordinary one, and the one where a container refuses that."""
    if request.param == "proc_mem":

        def refused(*_: Any) -> Any:
            raise OSError(errno.ENOSYS, "as under some container profiles")

        for name in ("vm_read", "vm_write"):
            monkeypatch.setattr(unsafe, name, refused)
        monkeypatch.setattr(unsafe, "vm_read_str", lambda tid, address: None)


pytestmark = pytest.mark.usefixtures("way")


@pytest.mark.parametrize("length", [0, 1, 7, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
@pytest.mark.parametrize("offset", [0, 1, PAGE - 1])
async def test_a_read_is_exact(length: int, offset: int) -> None:
    data = await ask(lambda: pages(3, 3, 3, 3), lambda t: t.read(LOW + offset, length))
    assert data == b"x" * length


@pytest.mark.parametrize("second", [None, 0, WRITE])
async def test_a_read_that_leaves_what_is_readable_is_efault(second: int | None) -> None:
    second = 0 if second == WRITE else second  # write-only memory can be read on x86
    assert await ask(lambda: pages(3, second), lambda t: t.read(LOW, PAGE + 1)) == "EFAULT"
    assert await ask(lambda: pages(3, second), lambda t: t.read(LOW + PAGE, 1)) == "EFAULT"
    assert await ask(lambda: pages(3, second), lambda t: t.read(LOW, PAGE)) == b"x" * PAGE


@pytest.mark.parametrize(
    "address", [0, 1, PAGE, 1 << 47, 1 << 62, 1 << 63, (1 << 64) - 1, (1 << 64) - PAGE]
)
async def test_wild_pointers_are_efault(address: int) -> None:
    def look(tracee: Any) -> list[str]:
        out = []
        for act in (
            lambda: tracee.read(address, 8),
            lambda: tracee.read_str(address),
            lambda: tracee.write(address, b"8 bytes."),
        ):
            with pytest.raises(BadAddress) as error:
                act()
            out.append(errno.errorcode[error.value.errno or 0])
        return out

    assert await ask(lambda: None, look) == ["EFAULT"] * 3


async def test_a_huge_length_is_efault_and_soon() -> None:
    for length in (1 << 20, 1 << 40, 1 << 63, 1 << 64, 1 << 80):
        assert await ask(lambda: pages(3, None), lambda t, n=length: t.read(LOW, n)) == "EFAULT"


async def test_megabytes_are_read_in_time_that_grows_with_their_number() -> None:
    size = 6 << 20

    def prepare() -> None:
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap(ctypes.c_void_p(LOW), size, 3, MAP_FIXED_PRIVATE_ANONYMOUS, -1, 0)

    assert len(await ask(prepare, lambda t: t.read(LOW, size))) == size


@pytest.mark.parametrize("text", [b"", b"a", b"/tmp/x", b"\xff\xfe\x80", b"y" * 4095])
async def test_a_string_may_end_at_the_end_of_its_page(text: bytes) -> None:
    def prepare() -> None:
        pages(3, None)
        put(LOW + PAGE - len(text) - 1, text + b"\0")

    look = lambda t: t.read_str(LOW + PAGE - len(text) - 1)  # noqa: E731
    assert await ask(prepare, look) == text


async def test_a_string_may_cross_pages() -> None:
    def prepare() -> None:
        pages(3, 3, 3)
        put(LOW + PAGE - 2, b"abcd\0")
        put(LOW + PAGE + 100, b"z" * 4000 + b"\0")

    assert await ask(prepare, lambda t: t.read_str(LOW + PAGE - 2)) == b"abcd"
    assert await ask(prepare, lambda t: t.read_str(LOW + PAGE + 100)) == b"z" * 4000


async def test_a_string_without_end_before_a_hole_is_efault() -> None:
    assert await ask(lambda: pages(3, None), lambda t: t.read_str(LOW + 10)) == "EFAULT"
    assert await ask(lambda: pages(3, 0), lambda t: t.read_str(LOW + 10)) == "EFAULT"


@pytest.mark.parametrize("limit", [1, 10, 4096, 5000])
async def test_a_string_without_end_within_the_limit_is_enametoolong(limit: int) -> None:
    look = lambda t: t.read_str(LOW, limit)  # noqa: E731
    assert await ask(lambda: pages(3, 3, 3), look) == "ENAMETOOLONG"


@pytest.mark.parametrize("limit", [4, 6, 4096, 5000])
async def test_the_limit_counts_the_nul(limit: int) -> None:
    def prepare() -> None:
        pages(3, 3, 3)
        put(LOW, b"12345\0")

    expected = b"12345" if limit >= 6 else "ENAMETOOLONG"
    assert await ask(prepare, lambda t: t.read_str(LOW, limit)) == expected


async def test_what_was_in_the_buffer_before_is_never_read() -> None:
    """The reader has one buffer; a longer string of an earlier call must not show through."""

    def prepare() -> None:
        pages(3, None)
        put(LOW, b"long long long\0")
        put(LOW + PAGE - 3, b"abc")

    def look(tracee: Any) -> Any:
        tracee.read_str(LOW)
        try:
            return tracee.read_str(LOW + PAGE - 3)
        except BadAddress:
            return "EFAULT"

    assert await ask(prepare, look) == "EFAULT"


def array(*strings: bytes, end: bytes = bytes(8)) -> None:
    """An argv at LOW, its strings one page above."""
    pages(3, 3, 3)
    at, pointers = LOW + PAGE, b""
    for text in strings:
        put(at, text + b"\0")
        pointers += struct.pack("Q", at)
        at += len(text) + 1
    put(LOW, pointers + end)


async def test_an_array_of_strings() -> None:
    look = lambda t: t.read_strs(LOW)  # noqa: E731
    assert await ask(lambda: array(b"ls", b"", b"\xff"), look) == [b"ls", b"", b"\xff"]
    assert await ask(lambda: array(), look) == []


async def test_no_array_at_all_is_an_empty_one() -> None:
    """fs/exec.c:count(): execve(path, argv, NULL) is usual for an empty environment."""
    assert await ask(lambda: None, lambda t: t.read_strs(0)) == []


async def test_an_array_without_end_is_an_error() -> None:
    def prepare() -> None:
        pages(3, 3, None)
        put(LOW, struct.pack("Q", LOW + PAGE) * 512)
        put(LOW + PAGE, b"\0" * PAGE)

    assert await ask(prepare, lambda t: t.read_strs(LOW, 512 * 8)) == "E2BIG"
    assert await ask(lambda: array(b"a", end=b"\1" * 8), lambda t: t.read_strs(LOW)) == "EFAULT"


async def test_more_arguments_than_one_page_of_pointers() -> None:
    """xargs fills two megabytes; a limit on the number of arguments would stop it."""

    def prepare() -> None:
        count = 20_000
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap(ctypes.c_void_p(LOW), count * 16, 3, MAP_FIXED_PRIVATE_ANONYMOUS, -1, 0)
        put(LOW + count * 8 + 8, b"arg\0")
        put(LOW, struct.pack("Q", LOW + count * 8 + 8) * count)

    found = await ask(prepare, lambda t: t.read_strs(LOW))
    assert found == [b"arg"] * 20_000


async def test_arguments_that_the_kernel_would_not_take_are_e2big() -> None:
    def prepare() -> None:
        count = 1000
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap(ctypes.c_void_p(LOW), 1 << 20, 3, MAP_FIXED_PRIVATE_ANONYMOUS, -1, 0)
        put(LOW + (1 << 16), b"y" * 20_000 + b"\0")
        put(LOW, struct.pack("Q", LOW + (1 << 16)) * count)

    assert await ask(prepare, lambda t: t.read_strs(LOW)) == "E2BIG"


@pytest.mark.parametrize("length", [1, 100, PAGE, 2 * PAGE + 5])
async def test_a_write_is_seen_by_the_tracee(length: int) -> None:
    def answer(call: Any, tracee: Any) -> Return:
        tracee.write(LOW + 3, b"w" * length)
        return Return(0)

    def closure() -> bytes:
        pages(3, 3, 3, 3)
        syscall("getpgid", 0)
        return ctypes.string_at(LOW, length + 10)

    async with rig(serve(getpgid, answer)) as view:
        assert await view.ask(closure) == b"xxx" + b"w" * length + b"x" * 7


@pytest.mark.parametrize("protection", [None, 0, READ, READ | 4])
async def test_a_write_where_the_tracee_cant_is_efault(protection: int | None) -> None:
    """Also where /proc/pid/mem would write through a read-only page."""

    def prepare() -> None:
        pages(3, protection)

    assert await ask(prepare, lambda t: t.write(LOW + PAGE, b"w")) == "EFAULT"
    assert await ask(prepare, lambda t: t.write(LOW + PAGE - 1, b"ww")) == "EFAULT"


async def test_a_read_only_page_keeps_what_it_holds() -> None:
    def answer(call: Any, tracee: Any) -> Return:
        tracee.write(LOW, b"w")
        return Return(0)

    def closure() -> tuple[int, bytes]:
        pages(READ)
        return syscall("getpgid", 0), ctypes.string_at(LOW, 2)

    async with rig(serve(getpgid, answer)) as view:
        assert await view.ask(closure) == (-errno.EFAULT, b"xx")


def test_a_thread_that_is_gone_has_vanished() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    for act in (
        lambda: memory.read(pid, LOW, 8),
        lambda: memory.read_str(pid, LOW),
        lambda: memory.write(pid, LOW, b"x"),
    ):
        with pytest.raises(Vanished):
            act()
