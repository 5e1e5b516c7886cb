"""A FUSE file system of one directory with one file, that answers when it may.

    slowfuse.py POINT ASK...      begun: it is mounted; then it serves until it is killed

It looks at files of its directory on disk, CONTROL: while ``asleep`` is there it answers nothing
but INIT; told to ``list DIRECTORY`` (each ASK), it lists that before each answer, as a file system
that shows another does. So it asks the view whatever programs of a view ask.
Source: Documentation/filesystems/fuse/fuse.rst, include/uapi/linux/fuse.h.
"""

import ctypes
import errno
import os
import struct
import sys
import threading
import time

LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, INIT = 1, 2, 3, 14, 15, 18, 26
OPENDIR, READDIR, RELEASEDIR, ACCESS, CREATE, MKDIR, BATCH_FORGET = 27, 28, 29, 34, 35, 9, 42
point, control, *asks = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
device = os.open("/dev/fuse", os.O_RDWR)
names = {b"file": 2, b"other": 3, b"directory": 4}


def attr(node):
    mode = 0o040755 if node in (1, 4) else 0o100644
    uid, gid = os.getuid(), os.getgid()
    return struct.pack("=6Q10I", node, 5, 0, 0, 0, 0, 0, 0, 0, mode, 1, uid, gid, 0, 4096, 0)


def listing(offset):
    found = b""
    for number, (name, node) in enumerate(names.items(), 1):
        if number > offset:
            padded = name + bytes(-len(name) % 8)
            found += struct.pack("=QQII", node, number, len(name), 0) + padded
    return found


def answer(code, unique, node, data):
    while code != INIT and os.path.exists(control + "/asleep"):
        time.sleep(0.01)
    if code != INIT:
        for ask in asks:
            if ask.startswith("list "):
                os.listdir(ask[5:])
            else:
                os.stat(ask[5:])
    body, error = b"", 0
    if code == INIT:
        body = struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 0, 0, 1 << 16, 1, 0, 0, 0)
    elif code == GETATTR:
        body = struct.pack("=QII", 0, 0, 0) + attr(node)
    elif code == LOOKUP:
        child = names.get(data.rstrip(b"\0"), 0) if node == 1 else 0
        if child:
            body = struct.pack("=QQQQII", child, 0, 0, 0, 0, 0) + attr(child)
        else:
            error = -errno.ENOENT
    elif code in (OPEN, OPENDIR):
        body = struct.pack("=QII", 0, 0, 0)
    elif code == READDIR:
        body = listing(struct.unpack_from("=Q", data, 8)[0]) if node == 1 else b""
    elif code == READ:
        body = b"hello"[struct.unpack_from("=Q", data, 8)[0] :]
    elif code not in (RELEASE, RELEASEDIR, ACCESS):
        error = -errno.ENOSYS
    try:
        os.write(device, struct.pack("=IiQ", 16 + len(body), error, unique) + body)
    except OSError:
        pass  # who asked was killed


os.makedirs(point, exist_ok=True)
given = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
if libc.mount(b"slow", os.fsencode(point), b"fuse.slow", 0, given.encode()):
    sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
print("mounted", flush=True)
while True:
    try:
        message = os.read(device, 1 << 17)
    except OSError:
        break
    _, code, unique, node = struct.unpack_from("=IIQQ", message)
    if code not in (FORGET, BATCH_FORGET):
        threading.Thread(target=answer, args=(code, unique, node, message[40:])).start()
