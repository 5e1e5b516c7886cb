"""Memory: mapping, advice, protection, NUMA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import Fd, Flags, In, Int, Pid, Ptr, Size, UInt, ULong

if TYPE_CHECKING:
    from ..abi.mman import mmap_arg_struct32


class Mmap(Syscall, family=True):
    """mmap(2), i386's mmap2. i386's mmap (90) is `old_mmap`, whose arguments lie in memory."""

    addr: Ptr
    len: ULong
    prot: ULong
    flags: ULong
    fd: Fd


class mmap(Mmap):
    addr: Ptr
    len: ULong
    prot: ULong
    flags: ULong
    fd: Fd  # not looked at with MAP_ANONYMOUS
    off: ULong  # bytes


class mmap2(Mmap):
    addr: Ptr
    len: ULong
    prot: ULong
    flags: ULong
    fd: Fd
    pgoff: ULong  # pages of 4096 bytes


class old_mmap(Syscall):
    """What i386 calls mmap (90)."""

    arg: In[mmap_arg_struct32]


class munmap(Syscall):
    addr: Ptr
    len: Size


class mremap(Syscall):
    addr: Ptr
    old_len: ULong
    new_len: ULong
    flags: ULong
    new_addr: Ptr


class remap_file_pages(Syscall):
    start: Ptr
    size: ULong
    prot: ULong
    pgoff: ULong
    flags: ULong


class mprotect(Syscall):
    start: Ptr
    len: Size
    prot: ULong


class pkey_mprotect(Syscall):
    start: Ptr
    len: Size
    prot: ULong
    pkey: Int


class pkey_alloc(Syscall):
    flags: ULong
    init_val: ULong


class pkey_free(Syscall):
    pkey: Int


class mseal(Syscall):
    start: Ptr
    len: Size
    flags: ULong


class map_shadow_stack(Syscall):
    addr: Ptr
    size: ULong
    flags: UInt


class brk(Syscall):
    brk: Ptr


class madvise(Syscall):
    start: Ptr
    len_in: Size
    behavior: Int


class process_madvise(Syscall):
    pidfd: Fd
    vec: Ptr
    vlen: Size
    behavior: Int
    flags: Flags


class process_mrelease(Syscall):
    pidfd: Fd
    flags: Flags


class mincore(Syscall):
    start: Ptr
    len: Size
    vec: Ptr


class msync(Syscall):
    start: Ptr
    len: Size
    flags: Flags


class mlock(Syscall):
    start: Ptr
    len: Size


class mlock2(Syscall):
    start: Ptr
    len: Size
    flags: Flags


class munlock(Syscall):
    start: Ptr
    len: Size


class mlockall(Syscall):
    flags: Flags


class munlockall(Syscall):
    """munlockall(2)."""


class userfaultfd(Syscall):
    flags: Flags


class mbind(Syscall):
    start: Ptr
    len: ULong
    mode: ULong
    nmask: Ptr
    maxnode: ULong
    flags: Flags


class set_mempolicy(Syscall):
    mode: Int
    nmask: Ptr
    maxnode: ULong


class get_mempolicy(Syscall):
    policy: Ptr
    nmask: Ptr
    maxnode: ULong
    addr: Ptr
    flags: ULong


class set_mempolicy_home_node(Syscall):
    start: Ptr
    len: ULong
    home_node: ULong
    flags: ULong


class migrate_pages(Syscall):
    pid: Pid
    maxnode: ULong
    old_nodes: Ptr
    new_nodes: Ptr


class move_pages(Syscall):
    pid: Pid
    nr_pages: ULong
    pages: Ptr
    nodes: Ptr
    status: Ptr
    flags: Flags


class modify_ldt(Syscall):
    func: Int
    ptr: Ptr
    bytecount: ULong


class set_thread_area(Syscall):
    u_info: Ptr  # struct user_desc


class get_thread_area(Syscall):
    u_info: Ptr
