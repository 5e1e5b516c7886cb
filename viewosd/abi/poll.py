"""Waiting for descriptors. Source: include/uapi/asm-generic/poll.h, include/uapi/linux/eventpoll.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .arch import NATIVE, Arch
from .layout import Struct, s16, s32, u32, u64

# fmt: off
POLLIN:     Final = 0x0001
POLLPRI:    Final = 0x0002
POLLOUT:    Final = 0x0004
POLLERR:    Final = 0x0008
POLLHUP:    Final = 0x0010
POLLNVAL:   Final = 0x0020
POLLRDNORM: Final = 0x0040
POLLRDBAND: Final = 0x0080
POLLWRNORM: Final = 0x0100
POLLWRBAND: Final = 0x0200
POLLMSG:    Final = 0x0400
POLLRDHUP:  Final = 0x2000

EPOLL_CTL_ADD: Final = 1
EPOLL_CTL_DEL: Final = 2
EPOLL_CTL_MOD: Final = 3

EPOLLEXCLUSIVE: Final = 1 << 28
EPOLLWAKEUP:    Final = 1 << 29
EPOLLONESHOT:   Final = 1 << 30
EPOLLET:        Final = 1 << 31
# fmt: on


class pollfd(Struct, size=8):
    """poll(2)."""

    fd: s32
    events: s16
    revents: s16


class x86_epoll_event(Struct, size=12, packed=True):
    """`epoll_event` of x86_64 and i386, packed."""

    events: u32
    data: u64


class aarch64_epoll_event(Struct, size=16):
    """`epoll_event` of aarch64."""

    events: u32
    data: u64


if TYPE_CHECKING or NATIVE is Arch.X86_64:  # noqa: SIM108  (a type checker reads this form)
    epoll_event = x86_epoll_event
else:
    epoll_event = aarch64_epoll_event


class sigset_argpack32(Struct, size=8, packed=True):
    """`sigset_argpack` of a 32-bit program. Source: fs/select.c."""

    p: u32
    size: u32


class sigset_argpack(Struct, size=16):
    """pselect6(2)'s last argument: where the signal mask is, and its size in bytes."""

    compat = sigset_argpack32

    p: u64
    size: u64


class sel_arg_struct(Struct, size=20, packed=True):
    """i386's select (82) takes one address, of its five arguments. Source: fs/select.c."""

    n: u32
    inp: u32
    outp: u32
    exp: u32
    tvp: u32


FD_SETSIZE: Final = 1024  # descriptors of one fd_set; the kernel takes any n
