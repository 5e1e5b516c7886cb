"""The way out of a stack: pasta (package passt) carries its packets to the host's sockets and back.

It runs outside of the view with the owner's rights, and goes into the namespace for its interface:
``eth0``, with the host's own addresses and routes. Nothing of it needs root but ``/dev/net/tun``,
which everybody may open as a rule. The host's loopback is reached at the gateway's address.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
from typing import Final

import trio

from viewosd.abi.socket import AF_INET, AF_INET6, SOCK_DGRAM
from viewosd.network import Networks

from .options import Publish, Wish

PROGRAM: Final = "pasta"
PACKAGE: Final = "passt"
START_S: Final = 10.0
_LOOK_S: Final = 0.005
_NS_GET_USERNS: Final = 0xB701  # include/uapi/linux/nsfs.h; ioctl_nsfs(2)
FORWARDER: Final = "169.254.53.53"
"""Whoever asks this address for names is answered by the host's name server."""
_SOMEWHERE: Final = ((AF_INET, "192.0.2.1"), (AF_INET6, "2001:db8::1"))
"""Addresses of nobody (RFC 5737, RFC 3849): is there a route to them?"""


async def begin(networks: Networks, namespace: int, wish: Wish, what: str) -> int:
    """Give a stack its way out, and wait until it is there.

    Returns:
        The number of the companion.

    Raises:
        OSError: ENOPKG, there is no pasta; what pasta said.
    """
    fds = [namespace, fcntl.ioctl(namespace, _NS_GET_USERNS)]
    try:
        number = networks.accompany(words(wish, root=not os.geteuid()), fds, what=what)
    finally:
        os.close(fds[1])
    try:
        await _until_routed(networks, namespace, number)
    except BaseException:
        networks.drop(number)
        raise
    return number


def words(wish: Wish, *, root: bool) -> list[str]:
    """The command line. Its descriptors 3 and 4 are the network and its user namespace."""
    found = [PROGRAM, "--foreground", "--quiet", "--stderr", "--config-net", "--no-netns-quit"]
    found += ["--ns-ifname", "eth0", "--netns", "/proc/self/fd/3"]
    # Root's is of the system's user namespace, in which pasta is already; and it would become
    # nobody, who may not go into the network namespace.
    found += ["--netns-only", "--runas", "0"] if root else ["--userns", "/proc/self/fd/4"]
    if forwards():
        found += ["--dns-forward", FORWARDER]
    for option, udp in (("-t", False), ("-u", True)):
        ports = [port for port in wish.publish if port.udp is udp]
        for port in ports:
            found += [option, _port(port)]
        if not ports:
            found += [option, "none"]
    return [*found, "-T", "none", "-U", "none"]


def _port(port: Publish) -> str:
    return f"{port.address}{'/' * bool(port.address)}{port.outside}:{port.inside}"


async def _until_routed(networks: Networks, namespace: int, number: int) -> None:
    failed: list[OSError] = []

    async def watch(scope: trio.CancelScope) -> None:
        failed.append(await networks.ended(number))
        scope.cancel()

    with trio.move_on_after(START_S) as patience:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
            while True:
                if await _has_route(networks, namespace):
                    break
                await trio.sleep(_LOOK_S)
            nursery.cancel_scope.cancel()
    if failed:
        if failed[0].errno == errno.ENOPKG:
            hint = f"it is in Debian's package {PACKAGE}"
            raise OSError(errno.ENOPKG, f"net: there is no program {PROGRAM}; {hint}")
        raise OSError(failed[0].errno, f"net: {PROGRAM}: {failed[0].strerror}")
    if patience.cancelled_caught:
        raise OSError(errno.ETIMEDOUT, f"net: {PROGRAM} has made no route in {START_S:.0f} seconds")


async def _has_route(networks: Networks, namespace: int) -> bool:
    """Connecting a datagram socket sends nothing; it fails without a route: udp(7)."""
    for family, address in _SOMEWHERE:
        try:
            fd = await networks.socket(namespace, family, SOCK_DGRAM, 0)
        except OSError:  # no IPv6 here
            continue
        with socket.socket(fileno=fd) as probe:
            if not probe.connect_ex((address, 9)):
                return True
    return False


def forwards() -> bool:
    """Is the host's name server one that only the host reaches? Then `FORWARDER` asks it."""
    return any(ipaddress.ip_address(server).is_loopback for server in nameservers())


def nameservers(path: str = "/etc/resolv.conf") -> list[str]:
    """The host's, as far as they are addresses: resolv.conf(5)."""
    try:
        with open(path) as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    return [w[1] for w in lines if w[:1] == ["nameserver"] and len(w) > 1 and _is_address(w[1])]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
