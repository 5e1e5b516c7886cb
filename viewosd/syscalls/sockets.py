"""Sockets. On i386 also through socketcall(2): see `socketcall`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Syscall
from .kinds import Buffer, Fd, Flags, In, InOut, Int, Ptr, Size, UInt

if TYPE_CHECKING:
    from ..abi.socket import msghdr
    from ..abi.time import timespec, timespec64


class Socket(Syscall, family=True):
    """socket(2), socketpair(2). ``type`` carries SOCK_NONBLOCK and SOCK_CLOEXEC too."""

    family: Int
    type: Int
    protocol: Int


class socket(Socket):
    family: Int
    type: Int
    protocol: Int


class socketpair(Socket):
    family: Int
    type: Int
    protocol: Int
    sockvec: Ptr  # int[2]


class ToAddress(Syscall, family=True):
    """bind(2), connect(2): a sockaddr of ``addrlen`` bytes is read."""

    fd: Fd
    addr: Buffer
    addrlen: Int


class bind(ToAddress):
    fd: Fd
    addr: Buffer
    addrlen: Int


class connect(ToAddress):
    fd: Fd
    addr: Buffer
    addrlen: Int


class listen(Syscall):
    fd: Fd
    backlog: Int


class Accept(Syscall, family=True):
    """accept(2), accept4(2). ``addr`` may be NULL, else ``addrlen`` is an int *, in and out."""

    fd: Fd
    addr: Buffer
    addrlen: Ptr
    flags: Flags


class accept(Accept):
    fd: Fd
    addr: Buffer
    addrlen: Ptr
    flags = Flags(0)


class accept4(Accept):
    fd: Fd
    addr: Buffer
    addrlen: Ptr
    flags: Flags


class SocketName(Syscall, family=True):
    """getsockname(2), getpeername(2). ``addrlen`` points at an int, read and filled."""

    fd: Fd
    addr: Buffer
    addrlen: Ptr


class getsockname(SocketName):
    fd: Fd
    addr: Buffer
    addrlen: Ptr


class getpeername(SocketName):
    fd: Fd
    addr: Buffer
    addrlen: Ptr


class SocketOption(Syscall, family=True):
    """getsockopt(2), setsockopt(2)."""

    fd: Fd
    level: Int
    optname: Int
    optval: Buffer


class getsockopt(SocketOption):
    fd: Fd
    level: Int
    optname: Int
    optval: Buffer
    optlen: Ptr  # int *, read and filled


class setsockopt(SocketOption):
    fd: Fd
    level: Int
    optname: Int
    optval: Buffer
    optlen: Int


class shutdown(Syscall):
    fd: Fd
    how: Int


class Send(Syscall, family=True):
    """sendto(2), sendmsg(2), sendmmsg(2), and send of i386's socketcall."""

    fd: Fd
    flags: Flags


class sendto(Send):
    fd: Fd
    buff: Buffer
    len: Size
    flags: Flags
    addr: Buffer
    addrlen: Int


class send(Send):
    """Has no number of its own: inside i386's socketcall(2) only."""

    fd: Fd
    buff: Buffer
    len: Size
    flags: Flags


class sendmsg(Send):
    fd: Fd
    msg: In[msghdr]
    flags: Flags


class sendmmsg(Send):
    fd: Fd
    mmsg: Ptr  # mmsghdr[vlen]
    vlen: UInt
    flags: Flags


class Recv(Syscall, family=True):
    """recvfrom(2), recvmsg(2), recvmmsg(2), and recv of i386's socketcall."""

    fd: Fd
    flags: Flags


class recvfrom(Recv):
    fd: Fd
    buf: Buffer
    size: Size
    flags: Flags
    addr: Buffer
    addrlen: Ptr


class recv(Recv):
    """Has no number of its own: inside i386's socketcall(2) only."""

    fd: Fd
    buf: Buffer
    size: Size
    flags: Flags


class recvmsg(Recv):
    fd: Fd
    msg: InOut[msghdr]
    flags: Flags


class recvmmsg(Recv):
    fd: Fd
    mmsg: Ptr
    vlen: UInt
    flags: Flags
    timeout: InOut[timespec]


class recvmmsg_time64(Recv):
    fd: Fd
    mmsg: Ptr
    vlen: UInt
    flags: Flags
    timeout: InOut[timespec64]


class socketcall(Syscall):
    """i386's one door to all socket calls; ``block`` points at the arguments, 4 bytes each."""

    call: Int
    block: Ptr
