"""Sockets: families, addresses, messages.

Source: include/linux/socket.h, include/linux/net.h, include/uapi/asm-generic/socket.h,
include/uapi/linux/{un,in,in6,netlink,if_packet}.h; socket(2), unix(7), ip(7), ipv6(7), netlink(7).
Addresses and ports inside a sockaddr are big-endian: they are bytes here, `port` converts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Annotated, Final, NamedTuple

from .arch import Arch
from .layout import Struct, s32, u16, u32, u64

# fmt: off
AF_UNSPEC:    Final = 0
AF_UNIX:      Final = 1
AF_INET:      Final = 2
AF_AX25:      Final = 3
AF_IPX:       Final = 4
AF_APPLETALK: Final = 5
AF_NETROM:    Final = 6
AF_BRIDGE:    Final = 7
AF_ATMPVC:    Final = 8
AF_X25:       Final = 9
AF_INET6:     Final = 10
AF_KEY:       Final = 15
AF_NETLINK:   Final = 16
AF_PACKET:    Final = 17
AF_RDS:       Final = 21
AF_PPPOX:     Final = 24
AF_CAN:       Final = 29
AF_TIPC:      Final = 30
AF_BLUETOOTH: Final = 31
AF_ALG:       Final = 38
AF_VSOCK:     Final = 40
AF_KCM:       Final = 41
AF_QIPCRTR:   Final = 42

NETLINK_ROUTE: Final = 0  # include/uapi/linux/netlink.h
AF_SMC:       Final = 43
AF_XDP:       Final = 44
AF_MCTP:      Final = 45
AF_MAX:       Final = 46

SOCK_STREAM:    Final = 1
SOCK_DGRAM:     Final = 2
SOCK_RAW:       Final = 3
SOCK_RDM:       Final = 4
SOCK_SEQPACKET: Final = 5
SOCK_DCCP:      Final = 6
SOCK_PACKET:    Final = 10
SOCK_TYPE_MASK: Final = 0xF  # include/linux/net.h
SOCK_NONBLOCK:  Final = 0o0000_4000
SOCK_CLOEXEC:   Final = 0o0200_0000

SOL_SOCKET:  Final = 1
SOL_IP:      Final = 0
SOL_TCP:     Final = 6
SOL_UDP:     Final = 17
SOL_IPV6:    Final = 41
SOL_PACKET:  Final = 263
SOL_NETLINK: Final = 270

SO_DEBUG:        Final = 1
SO_REUSEADDR:    Final = 2
SO_TYPE:         Final = 3
SO_ERROR:        Final = 4
SO_DONTROUTE:    Final = 5
SO_BROADCAST:    Final = 6
SO_SNDBUF:       Final = 7
SO_RCVBUF:       Final = 8
SO_KEEPALIVE:    Final = 9
SO_LINGER:       Final = 13
SO_REUSEPORT:    Final = 15
SO_PASSCRED:     Final = 16
SO_PEERCRED:     Final = 17
SO_BINDTODEVICE: Final = 25
SO_ATTACH_FILTER: Final = 26
SO_ACCEPTCONN:   Final = 30
SO_PEERSEC:      Final = 31
SO_MARK:         Final = 36
SO_PROTOCOL:     Final = 38
SO_DOMAIN:       Final = 39
SO_PEERGROUPS:   Final = 59
SO_PASSPIDFD:    Final = 76  # 6.5
SO_PEERPIDFD:    Final = 77  # 6.5

SCM_RIGHTS:      Final = 0x01
SCM_CREDENTIALS: Final = 0x02
SCM_SECURITY:    Final = 0x03
SCM_PIDFD:       Final = 0x04  # 6.5
SCM_MAX_FD:      Final = 253  # include/net/scm.h

MSG_OOB:          Final = 0x0000_0001
MSG_PEEK:         Final = 0x0000_0002
MSG_DONTROUTE:    Final = 0x0000_0004
MSG_CTRUNC:       Final = 0x0000_0008
MSG_TRUNC:        Final = 0x0000_0020
MSG_DONTWAIT:     Final = 0x0000_0040
MSG_EOR:          Final = 0x0000_0080
MSG_WAITALL:      Final = 0x0000_0100
MSG_CONFIRM:      Final = 0x0000_0800
MSG_ERRQUEUE:     Final = 0x0000_2000
MSG_NOSIGNAL:     Final = 0x0000_4000
MSG_MORE:         Final = 0x0000_8000
MSG_WAITFORONE:   Final = 0x0001_0000
MSG_ZEROCOPY:     Final = 0x0400_0000
MSG_FASTOPEN:     Final = 0x2000_0000
MSG_CMSG_CLOEXEC: Final = 0x4000_0000

SHUT_RD:   Final = 0
SHUT_WR:   Final = 1
SHUT_RDWR: Final = 2

SOCKADDR_MAX: Final = 128  # sizeof(struct __kernel_sockaddr_storage)
UNIX_PATH_MAX: Final = 108
# fmt: on


def family(address: bytes) -> int:
    """sa_family of a sockaddr; AF_UNSPEC when there are not even two bytes."""
    return int(struct.unpack_from("=H", address)[0]) if len(address) >= 2 else AF_UNSPEC


class sockaddr_un(Struct, size=110):
    """A path, or a name after a NUL (abstract), or nothing (unnamed): the length tells."""

    sun_family: u16
    sun_path: Annotated[bytes, "108s"]

    @classmethod
    def name(cls, address: bytes) -> bytes:
        """The name in an address of that length: a path without its NUL, or NUL and the name.

        Source: unix(7), "Address format"; net/unix/af_unix.c:unix_mkname_bsd().
        """
        body = address[2:]
        return body if body[:1] == b"\0" else body.partition(b"\0")[0]

    @staticmethod
    def of(name: bytes) -> bytes:
        """The shortest address for a name as `name` gives it.

        Raises:
            ValueError: longer than UNIX_PATH_MAX.
        """
        if len(name) > UNIX_PATH_MAX:
            raise ValueError(f"a socket name of {len(name)} bytes")
        nul = b"" if name[:1] in (b"\0", b"") or len(name) == UNIX_PATH_MAX else b"\0"
        return struct.pack("=H", AF_UNIX) + name + nul


class sockaddr_in(Struct, size=16):
    """An IPv4 address."""

    sin_family: u16
    sin_port: Annotated[bytes, "2s"]
    sin_addr: Annotated[bytes, "4s8x"]

    @property
    def port(self) -> int:
        """The port as a number."""
        return int.from_bytes(self.sin_port, "big")


class sockaddr_in6(Struct, size=28):
    """An IPv6 address. The kernel also takes it without its scope: SIN6_LEN_RFC2133, 24 bytes."""

    sin6_family: u16
    sin6_port: Annotated[bytes, "2s"]
    sin6_flowinfo: Annotated[bytes, "4s"]
    sin6_addr: Annotated[bytes, "16s"]
    sin6_scope_id: u32

    @property
    def port(self) -> int:
        """The port as a number."""
        return int.from_bytes(self.sin6_port, "big")


class sockaddr_nl(Struct, size=12):
    """A netlink address: a port id, or multicast groups."""

    nl_family: Annotated[int, "H2x"]
    nl_pid: u32
    nl_groups: u32


class sockaddr_ll(Struct, size=20):
    """A packet socket's address."""

    sll_family: u16
    sll_protocol: Annotated[bytes, "2s"]
    sll_ifindex: s32
    sll_hatype: u16
    sll_pkttype: Annotated[int, "B"]
    sll_halen: Annotated[int, "B"]
    sll_addr: Annotated[bytes, "8s"]


class linger(Struct, size=8):
    """SO_LINGER, in seconds."""

    l_onoff: s32
    l_linger: s32


class ucred(Struct, size=12):
    """SO_PEERCRED, SCM_CREDENTIALS."""

    pid: s32
    uid: u32
    gid: u32


class compat_msghdr(Struct, size=28, packed=True):
    """`msghdr` of a 32-bit program. Source: include/net/compat.h."""

    msg_name: u32
    msg_namelen: s32
    msg_iov: u32
    msg_iovlen: u32
    msg_control: u32
    msg_controllen: u32
    msg_flags: u32


class msghdr(Struct, size=56):
    """sendmsg(2), recvmsg(2): ``struct user_msghdr``. The pointers are the tracee's."""

    compat = compat_msghdr

    msg_name: u64
    msg_namelen: s32
    msg_iov: u64
    msg_iovlen: u64
    msg_control: u64
    msg_controllen: u64
    msg_flags: u32


class compat_mmsghdr(Struct, size=32, packed=True):
    """`mmsghdr` of a 32-bit program."""

    msg_name: u32
    msg_namelen: s32
    msg_iov: u32
    msg_iovlen: u32
    msg_control: u32
    msg_controllen: u32
    msg_flags: u32
    msg_len: u32


class mmsghdr(Struct, size=64):
    """sendmmsg(2), recvmmsg(2): a `msghdr`, flattened, and how much was sent or received."""

    compat = compat_mmsghdr

    msg_name: u64
    msg_namelen: s32
    msg_iov: u64
    msg_iovlen: u64
    msg_control: u64
    msg_controllen: u64
    msg_flags: Annotated[int, "I4x"]
    msg_len: u32


class Cmsg(NamedTuple):
    """One control message."""

    level: int
    type: int
    data: bytes


_CMSG = {8: struct.Struct("=Qii"), 4: struct.Struct("=Iii")}  # struct cmsghdr, and compat


def pack_cmsgs(messages: Iterable[Cmsg], arch: Arch) -> bytes:
    """A msg_control buffer; each message begins at a multiple of ``sizeof(size_t)``."""
    head, out = _CMSG[arch.pointer_size], b""
    for level, kind, data in messages:
        out += b"\0" * (-len(out) % arch.pointer_size)
        out += head.pack(head.size + len(data), level, kind) + data
    return out


def unpack_cmsgs(raw: bytes, arch: Arch) -> Iterator[Cmsg]:
    """The messages of a msg_control buffer.

    Raises:
        ValueError: a length is shorter than its header or runs over the end; sendmsg(2) says
            EINVAL (include/linux/socket.h, CMSG_OK).
    """
    head, at = _CMSG[arch.pointer_size], 0
    while at + head.size <= len(raw):
        length, level, kind = head.unpack_from(raw, at)
        if length < head.size or at + length > len(raw):
            raise ValueError(f"a control message of {length} bytes")
        yield Cmsg(level, kind, raw[at + head.size : at + length])
        at += length + -length % arch.pointer_size
