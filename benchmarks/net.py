"""What a network stack costs: a socket, its traffic, its making, and the start of a view in one.

usage: python benchmarks/net.py [ROUNDS]      (unshare(1) and ip(8) are needed for the native side)

The native side is the same program in a network namespace that was entered before it started. *lived
in*: the stack was there before the program, nothing is trapped. *trapped*: it came later, and every
socket(2) is answered with one of the stack. To hold: traffic 0.98 of native, 60 us a socket, 30 ms for
a stack.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable

from lab import VIEWOS_RUN

VIEWMOUNT = os.path.join(os.path.dirname(VIEWOS_RUN), "viewmount")
DEFAULT = "/dev/net/default"
MEGABYTES = 1024

SOCKETS = """
import socket, time
begin, times = time.perf_counter(), 2000
for _ in range(times):
    socket.socket().close()
print((time.perf_counter() - begin) / times * 1e6)
"""
TRAFFIC = f"""
import os, socket, threading, time
block = bytes(1 << 20)
with socket.create_server(("127.0.0.1", 0)) as server:
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
begin = time.perf_counter()
if not os.fork():
    for _ in range({MEGABYTES}):
        client.sendall(block)
    os._exit(0)
client.close()
left = {MEGABYTES} << 20
buffer = bytearray(1 << 20)
while left:
    left -= peer.recv_into(buffer)
print({MEGABYTES} / (time.perf_counter() - begin))
"""
TURNS = """
import os, socket, time
with socket.create_server(("127.0.0.1", 0)) as server:
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
for one in (client, peer):
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
if not os.fork():
    while data := peer.recv(64):
        peer.sendall(data)
    os._exit(0)
peer.close()
begin, times = time.perf_counter(), 20000
for _ in range(times):
    client.sendall(b"x")
    client.recv(64)
print(times / (time.perf_counter() - begin))
"""
MOUNT = f"""
import subprocess, time
words = ["-t", "umnetns", "none"]
subprocess.run([{VIEWMOUNT!r}, *words, "/dev/net/first"], check=True)
begin = time.perf_counter()
for number in range(10):
    subprocess.run([{VIEWMOUNT!r}, *words, f"/dev/net/s{{number}}"], check=True)
made = time.perf_counter() - begin
begin = time.perf_counter()
for _ in range(10):
    subprocess.run([{VIEWMOUNT!r}, "-h"], check=True, stdout=subprocess.DEVNULL)
print((made - (time.perf_counter() - begin)) / 10 * 1e3)
"""


def figure(command: list[str]) -> float:
    """Run a command and read the number it prints last."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
    return float(done.stdout.split()[-1])


def native(code: str) -> list[str]:
    up = 'ip link set lo up && exec "$@"'
    return ["unshare", "-rn", "sh", "-c", up, "sh", sys.executable, "-c", code]


def lived_in(code: str) -> list[str]:
    return [VIEWOS_RUN, "--no-rc", "--net", "none", "--", sys.executable, "-c", code]


def trapped(code: str) -> list[str]:
    mount = f'"{VIEWMOUNT}" -t umnetns none {DEFAULT} && exec "$@"'
    view = [VIEWOS_RUN, "--no-rc", "-p", "net", "--", "sh", "-c", mount, "sh"]
    return [*view, sys.executable, "-c", code]


def started(*options: str) -> float:
    """Milliseconds of viewos-run true."""
    code = "import subprocess, sys, time\nbegin = time.perf_counter()\n"
    code += "subprocess.run(sys.argv[1:], check=True)\nprint((time.perf_counter() - begin) * 1e3)"
    words = [VIEWOS_RUN, "--no-rc", *options, "--", "true"]
    return figure([sys.executable, "-c", code, *words])


def main() -> int:
    """Print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for needed in ("unshare", "ip"):
        if shutil.which(needed) is None:
            print(f"benchmarks/net.py: there is no {needed}", file=sys.stderr)
            return 1
    print("| what | natively | lived in | ratio | trapped | ratio | hold |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    ways: dict[str, Callable[[str], list[str]]] = {
        "native": native, "lived in": lived_in, "trapped": trapped,
    }  # fmt: skip
    for name, code, unit, hold in (
        ("socket(2)", SOCKETS, "µs", "60 µs"),
        ("one TCP stream", TRAFFIC, "MB/s", "0.98"),
        ("TCP, a byte and back", TURNS, "/s", "0.98"),
    ):
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, command in ways.items():
                found[way].append(figure(command(code)))
        cells = [name, f"{statistics.median(found['native']):.4g} {unit}"]
        for way in ("lived in", "trapped"):
            pairs = zip(found[way], found["native"], strict=True)
            ratio = statistics.median(ours / base for ours, base in pairs)
            cells += [f"{statistics.median(found[way]):.4g} {unit}", f"{ratio:.2f}"]
        print(f"| {' | '.join([*cells, hold])} |", flush=True)
    made = [figure([VIEWOS_RUN, "--no-rc", "-p", "net", "--", sys.executable, "-c", MOUNT])]
    print(f"| a stack is made and mounted | | | | {made[0]:.3g} ms | | 30 ms |")
    starts: dict[str, list[float]] = {"viewfs": [], "net": []}
    for _ in range(rounds):
        starts["viewfs"].append(started("-p", "viewfs"))
        starts["net"].append(started("--net", "none"))
    least = {name: min(times) for name, times in starts.items()}
    print(f"| viewos-run --net none true | | {least['net']:.0f} ms | | | | |")
    print(f"| viewos-run -p viewfs true | | {least['viewfs']:.0f} ms | | | | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
