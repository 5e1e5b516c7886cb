"""Kernel calls that Python's library does not wrap. The one place in the runtime with ctypes.

Every function raises OSError with the kernel's errno. Numbers that are not in a table are the same
on every architecture (they are above 423), or stand here for both.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Final

from ..abi.stat import statx
from ..agent.unsafe import openat2 as openat2
from ..keeper.unsafe import check, libc

_syscall = libc.syscall
_syscall.restype = ctypes.c_long

# Source: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
SYS_SECCOMP: Final = 277 if platform.machine() == "aarch64" else 317
SYS_PIDFD_GETFD: Final = 438

SECCOMP_SET_MODE_FILTER: Final = 1


def seccomp_install(program: bytes, flags: int) -> int:
    """Install a filter on the calling thread: seccomp(2), SECCOMP_SET_MODE_FILTER.

    Args:
        program: an array of struct sock_filter, 8 bytes each.
        flags: SECCOMP_FILTER_FLAG_*; with NEW_LISTENER the result is the listener.
    """
    code = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    return check(
        _syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, ctypes.c_ulong(flags), fprog), "seccomp"
    )


def pidfd_getfd(pidfd: int, number: int) -> int:
    """A duplicate of another process's descriptor, close-on-exec. pidfd_getfd(2), Linux 5.6."""
    return check(_syscall(SYS_PIDFD_GETFD, pidfd, number, 0), "pidfd_getfd")


def pidfd_open(pid: int, flags: int = 0) -> int:
    """pidfd_open(2); PIDFD_THREAD (O_EXCL) takes any thread, since Linux 6.9."""
    return os.pidfd_open(pid, flags)


# process_vm_readv(2) copies what the target may read, and stops at the first page it may not; so
# a call on a bad pointer ends as the kernel's own would. One iovec each side, made once: building
# them costs more than the call.
class _iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


_CHUNK: Final = 4096
_buffer = ctypes.create_string_buffer(_CHUNK)
_view = memoryview(_buffer).cast("B")
_local, _remote = _iovec(), _iovec()
_local_p, _remote_p = ctypes.byref(_local), ctypes.byref(_remote)
_readv, _writev = libc.process_vm_readv, libc.process_vm_writev
for _f in (_readv, _writev):
    _f.restype = ctypes.c_ssize_t
    _f.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_ulong,
    ]
_local.base = ctypes.addressof(_buffer)


def vm_read(tid: int, address: int, length: int) -> bytes:
    """Up to ``length`` (at most 4096) bytes of a thread's memory; short where it ends.

    Raises:
        OSError: EFAULT nothing readable there; ESRCH; EPERM; ENOSYS (kernel without it).
    """
    _local.len = length if length < _CHUNK else _CHUNK
    _remote.base, _remote.len = address, _local.len
    got = _readv(tid, _local_p, 1, _remote_p, 1, 0)
    if got < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return bytes(_view[:got])


# For strings everything but the address is ready beforehand, and nothing keeps errno: who gets None
# asks again by the long way, and hears why. Through ctypes each of these costs 0.1 µs.
_STR_CHUNK: Final = 1024
_str_iovs = ctypes.create_string_buffer(32)  # ours, the tracee's
_str_words = memoryview(_str_iovs).cast("B").cast("Q")
_str_words[0], _str_words[1], _str_words[3] = ctypes.addressof(_buffer), _STR_CHUNK, _STR_CHUNK
_str_readv = ctypes.CDLL(None).process_vm_readv
_str_readv.restype = ctypes.c_ssize_t
_str_args = (
    ctypes.c_void_p(ctypes.addressof(_str_iovs)), ctypes.c_ulong(1),
    ctypes.c_void_p(ctypes.addressof(_str_iovs) + 16), ctypes.c_ulong(1), ctypes.c_ulong(0),
)  # fmt: skip


def vm_read_str(tid: int, address: int) -> bytes | None:
    """A NUL-terminated string, where one read of 1024 bytes finds its end; the common path, short.

    None: no NUL in what could be read at once, or nothing could be read.
    """
    _str_words[2] = address
    got = _str_readv(tid, *_str_args)
    if got <= 0:
        return None
    found = _buffer.value
    return found if len(found) < got else None


def vm_write(tid: int, address: int, data: bytes) -> int:
    """Write to a thread's memory where it could itself; how many bytes were written."""
    local = _iovec(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data))
    remote = _iovec(address, len(data))
    return check(
        _writev(tid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0), "process_vm_writev"
    )


_ptrace = libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> int:
    """ptrace(2)."""
    ctypes.set_errno(0)
    result = int(_ptrace(request, tid, address, data))
    if result < 0 and (code := ctypes.get_errno()):
        raise OSError(code, f"ptrace({request:#x}, {tid}): {os.strerror(code)}")
    return result


def ptrace_regset(request: int, tid: int, kind: int, raw: bytearray) -> int:
    """PTRACE_GETREGSET or SETREGSET; ``kind`` is NT_*. How many bytes the set has."""
    buffer = (ctypes.c_char * len(raw)).from_buffer(raw)
    vec = _iovec(ctypes.addressof(buffer), len(raw))
    ptrace(request, tid, kind, ctypes.addressof(vec))
    return int(vec.len)


def ptrace_buffer(request: int, tid: int, address: int, raw: bytearray) -> int:
    """A ptrace request whose data is a buffer of ours."""
    buffer = (ctypes.c_char * len(raw)).from_buffer(raw)
    return ptrace(request, tid, address, ctypes.addressof(buffer))


def tkill(tid: int, number: int) -> None:
    """Send a signal to one thread: tkill(2)."""
    check(_syscall(130 if platform.machine() == "aarch64" else 200, tid, number), "tkill")


_clone = ctypes.PyDLL(None, use_errno=True).syscall  # it keeps the interpreter's lock, as fork does
_clone.restype = ctypes.c_long
_CLONE_FILES: Final = 0x400
_SIGCHLD: Final = 17


def fork_sharing_descriptors() -> int:
    """As os.fork(), but parent and child have one table of descriptors: clone(2), CLONE_FILES.

    For a process with one thread. The C library does not hear of it: the child's first thread must
    send itself no signal (raise, abort); its other threads are as any.
    """
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid = int(_clone(220 if platform.machine() == "aarch64" else 56, _CLONE_FILES | _SIGCHLD,
                     None, None, None, None))  # fmt: skip
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    return check(pid, "clone")


_AT_EMPTY_PATH: Final = 0x1000
_AT_STATX_DONT_SYNC: Final = 0x4000


def st_dev_of(fd: int) -> str:
    """The file system of a descriptor, "major:minor". It is not asked: it may hang. statx(2)."""
    told = ctypes.create_string_buffer(statx.sizeof)
    flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    check(libc.statx(fd, b"", flags, 0, told), "statx")
    found = statx.unpack(told.raw)
    return f"{found.stx_dev_major}:{found.stx_dev_minor}"


KCMP_VM: Final = 1


def same_memory(one: int, other: int) -> bool:
    """Do two processes share their memory (vfork)? kcmp(2); False where the kernel lacks it."""
    number = 272 if platform.machine() == "aarch64" else 312
    return int(_syscall(number, one, other, KCMP_VM, 0, 0)) == 0
