"""Gives files and oneself to others, and prints what came of it: JSON, name to "" or an errno.

In the working directory: ``mine``, a link ``link`` to it and ``theirs``, which is somebody else's.
"""

import contextlib
import errno
import json
import os
import sys

OTHER = 12345
"""An id that nobody has."""


def outcome(function, *args, **more):
    try:
        function(*args, **more)
    except OSError as error:
        return errno.errorcode[error.errno]
    return ""


def alone(function, *args):
    """The same in a child, whose ids are its own business."""
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        os.write(writer, outcome(function, *args).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    with open(reader) as file:
        return file.read()


def main(other):
    uid, gid = os.getuid(), os.getgid()
    found = {}
    for name in ("mine", "link", "theirs", "none", "mine/x", ""):
        for user, group in ((other, -1), (-1, other), (uid, gid), (-1, -1), (uid, other), (0, 0)):
            found[f"chown {name} {user} {group}"] = outcome(os.chown, name, user, group)
            found[f"lchown {name} {user} {group}"] = outcome(os.lchown, name, user, group)
    for name, flags in (("mine", os.O_RDWR), ("mine", os.O_PATH), (".", os.O_RDONLY)):
        fd = os.open(name, flags)
        found[f"fchown {name} {flags}"] = outcome(os.chown, fd, other, -1)
        found[f"fchown {name} {flags} own"] = outcome(os.chown, fd, uid, gid)
        os.close(fd)
    found["fchown -1"] = outcome(os.fchown, -1, other, other)
    for group in os.getgroups()[:1]:
        found["another group of ours"] = outcome(os.chown, "mine", -1, group)
        found["and back"] = outcome(os.chown, "mine", -1, gid)
        found["theirs"] = outcome(os.chown, "theirs", -1, group)
    for name in ("setuid", "seteuid", "setgid", "setegid"):
        for id in (other, uid if "u" in name[4:] else gid):
            found[f"{name} {id}"] = alone(getattr(os, name), id)
    for name, own in (("reuid", uid), ("resuid", uid), ("regid", gid), ("resgid", gid)):
        rest = [-1] * (name.count("s") + 1)
        for id in (other, own, -1):
            found[f"set{name} {id}"] = alone(getattr(os, f"set{name}"), id, *rest)
    found["setgroups"] = alone(os.setgroups, [other])
    with contextlib.suppress(OSError):
        os.chown("mine", -1, gid)
    json.dump(found, sys.stdout, indent=1)


main(int(sys.argv[1]) if len(sys.argv) > 1 else OTHER)
