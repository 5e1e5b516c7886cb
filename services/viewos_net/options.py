"""What may be asked of a stack, as mount options: ``nat,publish=8080:80,dns=192.0.2.1``."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

PORTS: Final = range(1, 1 << 16)


@dataclass(frozen=True)
class Publish:
    """A port of the host that leads to one of the stack.

    Attributes:
        address: of the host; "" for all.
        outside, inside: the ports.
        udp: else it is TCP.
    """

    address: str
    outside: int
    inside: int
    udp: bool = False

    def __str__(self) -> str:
        at = f"[{self.address}]" if ":" in self.address else self.address
        return f"{at}{':' * bool(at)}{self.outside}:{self.inside}{'/udp' * self.udp}"


@dataclass
class Wish:
    """A stack as it is asked for.

    Attributes:
        nat: it has a way out through the host's network.
        publish: ports that lead in.
        dns: name servers that ``/etc/resolv.conf`` is to name.
        hosts: lines of ``/etc/hosts``: address and name.
    """

    nat: bool = False
    publish: list[Publish] = field(default_factory=list)
    dns: list[str] = field(default_factory=list)
    hosts: list[tuple[str, str]] = field(default_factory=list)


def invalid(text: str) -> OSError:
    """EINVAL, for whoever wrote the option."""
    return OSError(errno.EINVAL, f"net: {text}")


def parse(options: Iterable[tuple[str, str]]) -> Wish:
    """Options of ``umnetns``.

    Raises:
        OSError: EINVAL, one is unknown, or says nothing that can be had.
    """
    wish = Wish()
    for name, value in options:
        if name == "nat" and not value:
            wish.nat = True
        elif name == "publish":
            wish.publish.append(published(value))
        elif name == "dns":
            wish.dns.append(str(_address(name, value)))
        elif name == "host":
            wish.hosts.append(_host(value))
        else:
            raise invalid(f"umnetns has no option {name}{'=' * bool(value)}{value}")
    if wish.publish and not wish.nat:
        raise invalid("publish= goes with nat")
    return wish


def published(text: str) -> Publish:
    """``[HOSTADDR:]HOSTPORT:PORT[/udp]``. An IPv6 address stands in brackets."""
    rest, _, protocol = text.partition("/")
    found = re.fullmatch(r"(?:\[(.+)\]:|([^:]+):)?(\d+):(\d+)", rest, re.ASCII)
    ports = [int(port) for port in found.groups()[2:]] if found else []
    if found is None or protocol not in ("", "tcp", "udp") or not set(ports) <= set(PORTS):
        raise invalid(f"publish={text}: not [HOSTADDR:]HOSTPORT:PORT[/udp]")
    address = found[1] or found[2] or ""
    if address:
        address = str(_address("publish", address))
    return Publish(address, ports[0], ports[1], protocol == "udp")


def _address(name: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise invalid(f"{name}={text}: {text!r} is no address") from None


def _host(text: str) -> tuple[str, str]:
    """``NAME:ADDR``."""
    name, _, address = text.partition(":")
    if not name or not all(c.isalnum() or c in "-._" for c in name):
        raise invalid(f"host={text}: not NAME:ADDR")
    return str(_address("host", address)), name


def shown(path: bytes) -> str:
    """A path for a message."""
    return os.fsdecode(path)
