"""A program that shares files with one outside of its view: maps, watches and locks ``data``.

Prints "ready"; when a line comes, what it has seen of the other as JSON; and ends with its input.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from paths import called, events, libc, verdict

fd = os.open("data", os.O_RDWR)
view = mmap.mmap(fd, 0)
watch = called(libc.inotify_init1(0))
called(libc.inotify_add_watch(watch, b".", 0x2 | 0x80 | 0x100 | 0x200 | 0x40))
view[:4] = b"MAPS"
fcntl.flock(fd, fcntl.LOCK_EX)
events(watch)
print("ready", flush=True)
sys.stdin.readline()
lock = verdict(fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)
seen = [name for _, name, *_ in events(watch)]
print(json.dumps({"mapped": view[4:8].decode(), "seen": seen, "lock": lock}), flush=True)
sys.stdin.read()
