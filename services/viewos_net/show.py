"""``python -m viewos_net.show [--json] STACKS``: a view's stacks, as ``viewos net`` lists them.

STACKS is a JSON list; the descriptors from 3 on are netlink sockets (NETLINK_ROUTE), one of each
stack in order. Started by the supervisor, outside of the view.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any, Final

from pyroute2 import IPRoute

FIRST: Final = 3


def main() -> int:
    """Print them."""
    *switches, text = sys.argv[1:]
    rows = json.loads(text)
    for number, row in enumerate(rows, FIRST):
        row["interfaces"] = interfaces(number)
    if "--json" in switches:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        lived_in = " (everybody lives in it)" if row["lived_in"] else ""
        nat = " nat" * row["nat"] + "".join(f" {port}" for port in row["published"])
        print(f"{row['path']}  {row['type']}{nat}{lived_in}")
        for one in row["interfaces"]:
            addresses = " ".join(one["addresses"]) or "-"
            what = f"{one['name']:<12} {one['state']:<8} {one['mac'] or '-':<18}"
            much = f"rx {one['received']} tx {one['sent']} bytes"
            print(f"  {what} mtu {one['mtu']:<6} {much}  {addresses}")
    return 0


def interfaces(number: int) -> list[dict[str, Any]]:
    """What a netlink socket tells of the namespace that it was made in.

    Returns:
        Interfaces with name, state, mac, mtu, bytes received and sent, and addresses with lengths.
    """
    found: dict[int, dict[str, Any]] = {}
    with IPRoute(fileno=number) as route:
        for link in route.get_links():
            counts = link.get_attr("IFLA_STATS64") or {}
            found[link["index"]] = {
                "name": link.get_attr("IFLA_IFNAME"),
                "state": (link.get_attr("IFLA_OPERSTATE") or "").lower(),
                "mac": link.get_attr("IFLA_ADDRESS"),
                "mtu": link.get_attr("IFLA_MTU"),
                "received": counts.get("rx_bytes", 0),
                "sent": counts.get("tx_bytes", 0),
                "addresses": [],
            }
        for family in (socket.AF_INET, socket.AF_INET6):
            for address in route.get_addr(family=family):
                text = f"{address.get_attr('IFA_ADDRESS')}/{address['prefixlen']}"
                found[address["index"]]["addresses"].append(text)
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main())
