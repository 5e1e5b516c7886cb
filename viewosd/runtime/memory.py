"""Read and write a tracee's memory.

process_vm_readv(2) first: it looks at the thread's memory as it is now (no descriptor that an exec
or a reused thread id could make stale), and stops where the tracee itself could not read or
write. Where the kernel or a filter around us refuses it (ENOSYS, EPERM under some container
profiles) /proc/tid/mem serves; it reads and writes whatever is mapped, so the map is asked first.

Reading never waits for anybody but the kernel's page faults. A page that answers late (userfaultfd,
a dead FUSE server) holds up the whole supervisor: the keeper's watchdog ends it.
"""

from __future__ import annotations

import errno
import os

from ..errors import BadAddress, Vanished
from . import unsafe

PAGE = 4096
_REFUSED = (errno.ENOSYS, errno.EPERM, errno.EACCES)
_TOP = 1 << 63
MAX_RW_COUNT = 0x7FFF_F000  # include/linux/fs.h


def read(tid: int, address: int, length: int) -> bytes:
    """Exactly ``length`` bytes.

    Raises:
        BadAddress: not all of it is readable; more than any system call moves at once.
        Vanished: the thread is gone.
    """
    if length <= PAGE:
        data = read_some(tid, address, length) if length else b""
        if len(data) == length:
            return data
    if length > MAX_RW_COUNT:
        raise BadAddress(address, length)
    whole = bytearray()
    while len(whole) < length:
        got = read_some(tid, address + len(whole), length - len(whole))
        if not got:
            raise BadAddress(address, length)
        whole += got
    return bytes(whole)


def read_some(tid: int, address: int, length: int) -> bytes:
    """From 1 up to min(length, 4096) bytes: what is readable from ``address`` on."""
    if not 0 < address < _TOP:
        raise BadAddress(address, length)
    try:
        return unsafe.vm_read(tid, address, length)
    except OSError as error:
        return _otherwise(error, tid, address, min(length, PAGE))


def read_str(tid: int, address: int, limit: int = PAGE) -> bytes:
    """To the NUL, which is not returned.

    Raises:
        BadAddress: not readable before the NUL.
        OSError: ENAMETOOLONG, no NUL within ``limit`` bytes.
    """
    if not 0 < address < _TOP:
        raise BadAddress(address)
    if limit == PAGE and (found := unsafe.vm_read_str(tid, address)) is not None:
        return found
    data = b""
    while len(data) < limit:
        # To the end of the page at most: the next one may not be there, and need not be.
        room = PAGE - (address + len(data)) % PAGE
        piece = read_some(tid, address + len(data), min(room, limit - len(data)))
        if not piece:
            raise BadAddress(address, len(data))
        head, nul, _ = piece.partition(b"\0")
        data += head
        if nul:
            return data
    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def write(tid: int, address: int, data: bytes) -> None:
    """All of ``data``.

    Raises:
        BadAddress: the tracee could not write all of it; a first part may have been written.
    """
    if not 0 < address < _TOP:
        raise BadAddress(address, len(data))
    done = 0
    while done < len(data):
        try:
            wrote = unsafe.vm_write(tid, address + done, data[done:])
        except OSError as error:
            if error.errno not in _REFUSED:
                raise _as_tracees(error, address, len(data)) from None
            wrote = _write_by_proc(tid, address + done, data[done:])
        if wrote <= 0:
            raise BadAddress(address, len(data))
        done += wrote


def _otherwise(error: OSError, tid: int, address: int, length: int) -> bytes:
    if error.errno not in _REFUSED:
        raise _as_tracees(error, address, length) from None
    try:
        if not _allowed(tid, address, "r"):
            raise BadAddress(address, length)
        fd = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, min(length, PAGE - address % PAGE), address)
        finally:
            os.close(fd)
    except OSError as second:
        raise _as_tracees(second, address, length) from None


def _write_by_proc(tid: int, address: int, data: bytes) -> int:
    room = min(len(data), PAGE - address % PAGE)
    try:
        if not _allowed(tid, address, "w"):
            raise BadAddress(address, len(data))
        fd = os.open(f"/proc/{tid}/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            return os.pwrite(fd, data[:room], address)
        finally:
            os.close(fd)
    except OSError as error:
        raise _as_tracees(error, address, len(data)) from None


def _allowed(tid: int, address: int, access: str) -> bool:
    """May the thread itself read ("r") or write ("w") there? /proc/pid/mem asks for neither."""
    with open(f"/proc/{tid}/maps") as maps:
        for line in maps:
            span, flags = line.split(" ", 2)[:2]
            low, _, high = span.partition("-")
            if int(low, 16) <= address < int(high, 16):
                return access in flags
    return False


def _as_tracees(error: OSError, address: int, length: int) -> Exception:
    if error.errno in (errno.EFAULT, errno.EIO):  # /proc/pid/mem says EIO for unmapped
        return BadAddress(address, length)
    if error.errno in (errno.ESRCH, errno.ENOENT):
        return Vanished()
    return error
