"""The new mount API, call by call, as a program of our own would use it: a line for each call."""

import ctypes
import os
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NUMBERS = {
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "mount_setattr": 442,
}  # fmt: skip
FLAG, STRING, CREATE, RECONFIGURE = 0, 1, 6, 7
CLONE, EMPTY, CWD = 1 | 0o2000000, 0x1000, -100


def call(name, *args):
    raw = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *raw)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


def setattr(fd, path, set, clear=0):
    attr = struct.pack("=4Q", set, clear, 0, 0)
    call("mount_setattr", fd, path, 0 if path else EMPTY, attr, len(attr))


def shown(path):
    with open("/proc/self/mountinfo") as file:
        lines = [line.split() for line in file if line.split()[4] == os.path.abspath(path)]
    if not lines:
        return "nothing"
    return lines[-1][5].split(",")[0] + " " + lines[-1][lines[-1].index("-") + 1]


def umount(path):
    if libc.umount2(os.fsencode(path), 0):
        raise OSError(ctypes.get_errno(), f"umount: {os.strerror(ctypes.get_errno())}")


def plain():
    context = call("fsopen", b"tmpfs", 1)
    call("fsconfig", context, STRING, b"size", b"1M", 0)
    try:
        call("fsconfig", context, STRING, b"bogus", b"1", 0)
    except OSError:
        print(os.read(context, 99).decode().strip())
    call("fsconfig", context, CREATE, None, None, 0)
    tree = call("fsmount", context, 1, 1)
    call("move_mount", tree, b"", CWD, b"point", 4)
    print("made", shown("point"))
    setattr(CWD, b"point", 0, 1)
    context = call("fspick", CWD, b"point", 1)
    call("fsconfig", context, STRING, b"size", b"2M", 0)
    call("fsconfig", context, RECONFIGURE, None, None, 0)
    os.close(tree)
    os.mkdir("point/inside")
    print("changed", shown("point"), os.listdir("point"))
    umount("point")
    print("unmounted", shown("point"))


def served():
    context = call("fsopen", b"same", 1)
    call("fsconfig", context, STRING, b"source", b"source", 0)
    call("fsconfig", context, FLAG, b"ro", None, 0)
    call("fsconfig", context, CREATE, None, None, 0)
    tree = call("fsmount", context, 1, 0)
    call("move_mount", tree, b"", CWD, b"made", 4)
    print("served", shown("made").split()[0], os.listdir("made"))
    os.close(tree)
    umount("made")
    print("and gone", os.path.exists("made"))


def copied():
    tree = call("open_tree", CWD, b"source/file", CLONE)
    setattr(tree, b"", 1)
    call("move_mount", tree, b"", CWD, b"copy", 4)
    print("copied", shown("copy").split()[0], open("copy").read())
    os.close(tree)
    call("move_mount", CWD, b"copy", CWD, b"moved", 0)
    print("moved", open("moved").read())
    umount("moved")
    print("and gone", os.path.exists("moved"))


os.mkdir("point")
os.mkdir("source")
with open("source/file", "w") as file:
    file.write("x")
for part in (plain, served, copied):
    part()
    sys.stdout.flush()
