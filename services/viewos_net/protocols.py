"""Protocol lists, as ``umnetlink`` and ``mstack -o`` take them: ``+ip,-ipv6,#16``.

A sign adds to, or takes from, what is chosen so far; a name without a sign is added. A list that
begins by taking away begins with everything. View-OS has the letters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from viewosd.abi.socket import (
    AF_BLUETOOTH,
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_PACKET,
    AF_UNIX,
)

FAMILIES: Final = range(1, 64)
"""Every address family; AF_MAX is 46 in Linux 6.18 (include/linux/socket.h)."""

_NAMES: Final = {
    "unix": (AF_UNIX,), "u": (AF_UNIX,),
    "ipv4": (AF_INET,), "4": (AF_INET,),
    "ipv6": (AF_INET6,), "6": (AF_INET6,),
    "ip": (AF_INET, AF_INET6, AF_NETLINK, AF_PACKET),
    "netlink": (AF_NETLINK,), "n": (AF_NETLINK,),
    "packet": (AF_PACKET,), "p": (AF_PACKET,),
    "bluetooth": (AF_BLUETOOTH,), "b": (AF_BLUETOOTH,),
    "all": tuple(FAMILIES),
}  # fmt: skip


def is_protocol(word: str) -> bool:
    """Does it name protocols, with a sign or without?"""
    try:
        _families(word.lstrip("+-"))
    except ValueError:
        return False
    return True


def chosen(words: Iterable[str]) -> frozenset[int]:
    """The address families that a list names; an empty one names all.

    Raises:
        ValueError: a word is no protocol.
    """
    found: set[int] | None = None
    for word in words:
        sign = word[0] if word[:1] in ("+", "-") else "+"
        families = _families(word[1:] if word[:1] in ("+", "-") else word)
        if found is None:
            found = set(FAMILIES) if sign == "-" else set()
        found = found | families if sign == "+" else found - families
    return frozenset(FAMILIES if found is None else found)


def _families(name: str) -> set[int]:
    if name[:1] == "#" and name[1:].isdecimal() and int(name[1:]) in FAMILIES:
        return {int(name[1:])}
    if name not in _NAMES:
        known = ", ".join(sorted(n for n in _NAMES if len(n) > 1))
        raise ValueError(f"{name!r} is no protocol (known: {known}, #NUMBER)")
    return set(_NAMES[name])
