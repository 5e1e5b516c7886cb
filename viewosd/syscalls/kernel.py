"""Asynchronous I/O, BPF, performance counters, security modules, probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import Fd, Flags, In, Int, Long, Pid, Ptr, Size, UInt, ULong

if TYPE_CHECKING:
    from ..abi.time import timespec, timespec64


class io_setup(Syscall):
    nr_events: UInt
    ctxp: Ptr


class io_destroy(Syscall):
    ctx: ULong


class io_submit(Syscall):
    ctx_id: ULong
    nr: Long
    iocbpp: Ptr


class io_cancel(Syscall):
    ctx_id: ULong
    iocb: Ptr
    result: Ptr


class io_getevents(Syscall):
    ctx_id: ULong
    min_nr: Long
    nr: Long
    events: Ptr
    timeout: In[timespec]


class io_pgetevents(Syscall):
    ctx_id: ULong
    min_nr: Long
    nr: Long
    events: Ptr
    timeout: In[timespec]
    usig: Ptr


class io_pgetevents_time64(Syscall):
    ctx_id: ULong
    min_nr: Long
    nr: Long
    events: Ptr
    timeout: In[timespec64]
    usig: Ptr


class io_uring_setup(Syscall):
    entries: UInt
    params: Ptr


class io_uring_enter(Syscall):
    fd: Fd
    to_submit: UInt
    min_complete: UInt
    flags: Flags
    argp: Ptr
    argsz: Size


class io_uring_register(Syscall):
    fd: Fd
    opcode: UInt
    arg: Ptr
    nr_args: UInt


class bpf(Syscall):
    cmd: Int
    attr: Ptr
    size: UInt


class perf_event_open(Syscall):
    attr_uptr: Ptr
    pid: Pid
    cpu: Int
    group_fd: Fd
    flags: ULong


class landlock_create_ruleset(Syscall):
    attr: Ptr
    size: Size
    flags: Flags


class landlock_add_rule(Syscall):
    ruleset_fd: Fd
    rule_type: Int
    rule_attr: Ptr
    flags: Flags


class landlock_restrict_self(Syscall):
    ruleset_fd: Fd
    flags: Flags


class lsm_get_self_attr(Syscall):
    attr: UInt
    ctx: Ptr
    size: Ptr
    flags: Flags


class lsm_set_self_attr(Syscall):
    attr: UInt
    ctx: Ptr
    size: UInt
    flags: Flags


class lsm_list_modules(Syscall):
    ids: Ptr
    size: Ptr
    flags: Flags


class uprobe(Syscall):
    """The kernel's own trampoline makes it; SIGILL from anywhere else."""


class uretprobe(Syscall):
    """The kernel's own trampoline makes it; SIGILL from anywhere else."""
