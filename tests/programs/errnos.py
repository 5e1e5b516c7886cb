"""Calls that change files, with good and bad paths, each in a directory of its own: prepare, check.

``check`` prints, as JSON, what each call said and what the directory looks like afterwards where
that is not as it was.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import stat
import struct
import sys
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)
HERE = -100
PATHS = (
    "", "none", "none/x", "file", "file/", "file/x", "dir", "dir/", "dir/.", "dir/..", "full", ".",
    "..", "./new", "new/", "loop", "loop/x", "link", "link/", "dlink", "dlink/", "dlink/x",
    "dangling", "closed", "closed/x", "fixed/x", "fixed/new", "fifo", "n" * 255, "n" * 256,
    "x/" * 2100,
)  # fmt: skip
OPENS = {
    name: sum(getattr(os, "O_" + word) for word in name.split("|"))
    for name in (
        "RDONLY", "WRONLY|NONBLOCK", "RDWR|NONBLOCK", "WRONLY|CREAT|NONBLOCK",
        "WRONLY|CREAT|EXCL", "WRONLY|TRUNC|NONBLOCK", "RDONLY|DIRECTORY", "RDONLY|NOFOLLOW|NONBLOCK",
        "PATH", "PATH|NOFOLLOW", "WRONLY|CREAT|NOFOLLOW|NONBLOCK", "RDWR|TMPFILE", "RDONLY|NOATIME|NONBLOCK",
        "WRONLY|APPEND|NONBLOCK",
    )
}  # fmt: skip


def raw(function: str, *arguments: object) -> object:
    """A call of the C library's: 0 and more, or the errno's name."""
    given = [os.fsencode(a) if isinstance(a, str) else a for a in arguments]
    result = getattr(libc, function)(*given)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]


def opening(flags: int) -> Callable[[str], object]:
    def call(path: str) -> object:
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_PATH):
            return raw_open(path, flags | os.O_NONBLOCK)
        return raw_open(path, flags)

    return call


def raw_open(path: str, flags: int) -> object:
    fd = raw("open64", path, flags | os.O_CLOEXEC, 0o640)
    if isinstance(fd, int):
        os.close(fd)
        return "opened"
    return fd


LONG = ctypes.c_long
TIMES = struct.pack("qqqq", 1, 2, 3, 4)
CALLS: dict[str, Callable[[str], object]] = {
    **{f"open {name}": opening(flags) for name, flags in OPENS.items()},
    "chmod": lambda p: raw("chmod", p, 0o640),
    "fchmodat": lambda p: raw("fchmodat", HERE, p, 0o710, 0),
    "chown": lambda p: raw("chown", p, os.getuid(), os.getgid()),
    "lchown": lambda p: raw("lchown", p, -1, os.getgid()),
    "link to": lambda p: raw("link", "file", p),
    "link from": lambda p: raw("link", p, "made"),
    "link followed": lambda p: raw("linkat", HERE, p, HERE, "made", 0x400),
    "link of a directory": lambda p: raw("link", "dir", p),
    "mkdir": lambda p: raw("mkdir", p, 0o751),
    "mknod": lambda p: raw("mknod", p, stat.S_IFREG | 0o640, LONG(0)),
    "mkfifo": lambda p: raw("mkfifo", p, 0o604),
    "rename file to": lambda p: raw("rename", "file", p),
    "rename dir to": lambda p: raw("rename", "dir", p),
    "rename full to": lambda p: raw("rename", "full", p),
    "rename from": lambda p: raw("rename", p, "made"),
    "rename to itself": lambda p: raw("rename", p, p),
    "exchange": lambda p: raw("renameat2", HERE, "file", HERE, p, 2),
    "rename new": lambda p: raw("renameat2", HERE, "file", HERE, p, 1),
    "rename badly": lambda p: raw("renameat2", HERE, "file", HERE, p, 3),
    "rmdir": lambda p: raw("rmdir", p),
    "symlink": lambda p: raw("symlink", "some/where", p),
    "symlink of": lambda p: raw("symlink", p, "made"),
    "readlink": lambda p: raw("readlink", p, ctypes.create_string_buffer(4200), 4200),
    "truncate": lambda p: raw("truncate64", p, LONG(3)),
    "truncate badly": lambda p: raw("truncate64", p, LONG(-1)),
    "unlink": lambda p: raw("unlink", p),
    "unlinkat": lambda p: raw("unlinkat", HERE, p, 0x200),
    "utimensat": lambda p: raw("utimensat", HERE, p, TIMES, 0),
    "utimensat nofollow": lambda p: raw("utimensat", HERE, p, TIMES, 0x100),
    "utimensat badly": lambda p: raw("utimensat", HERE, p, struct.pack("qqqq", 1, 10**9, 3, 4), 0),
    "access": lambda p: [raw("access", p, mode) for mode in (0, 1, 2, 4)],
    "chdir": lambda p: raw("chdir", p),
    "execve": lambda p: raw("execv", p, (ctypes.c_char_p * 2)(b"x", None)),
    "stat": lambda p: [
        raw(f, p, ctypes.create_string_buffer(256)) for f in ("stat", "lstat", "statfs")
    ],
    "setxattr": lambda p: raw("setxattr", p, "user.x", b"1", 1, 0),
    "lgetxattr": lambda p: raw("lgetxattr", p, "user.x", None, 0),
}
NULLS = {
    "open": (0,), "mkdir": (0,), "unlink": (), "rmdir": (), "chmod": (0,), "truncate64": (LONG(0),),
    "chdir": (), "stat": (ctypes.create_string_buffer(256),), "mkfifo": (0,),
}  # fmt: skip
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo"}


POOL = 260
"""How many directories are there already; about as many calls change something."""


def make(number: int) -> None:
    os.mkdir(str(number))
    os.mkdir(f"{number}/in")
    os.chdir(f"{number}/in")
    with open("file", "w") as file:
        file.write("content")
    for name in ("dir", "full", "full/sub", "closed", "fixed"):
        os.mkdir(name)
    for name in ("full/inner", "closed/x", "fixed/x"):
        with open(name, "w") as file:
            file.write(name)
    os.mkfifo("fifo", 0o600)
    for name, target in (
        ("loop", "loop"),
        ("link", "file"),
        ("dlink", "full"),
        ("dangling", "none"),
    ):
        os.symlink(target, name)
    os.chmod("closed", 0)
    os.chmod("fixed", 0o555)
    os.chdir("../..")


def walk(place: str) -> dict[str, object]:
    mode = stat.S_IMODE(os.stat(place).st_mode)
    found: dict[str, object] = {".": oct(mode)}
    os.chmod(place, 0o755)  # a directory that was closed is opened, to be seen
    try:
        names = sorted(os.listdir(place))
    except PermissionError:
        return {"closed": True}
    for name in names:
        path = os.path.join(place, name)
        info = os.lstat(path)
        kind = KINDS[stat.S_IFMT(info.st_mode)]
        told = [kind, oct(stat.S_IMODE(info.st_mode)), info.st_uid == os.getuid()]
        if kind == "file":
            told += [info.st_size, info.st_nlink]
        elif kind == "link":
            told.append(os.readlink(path))
        if info.st_mtime_ns < 1 << 58:
            told.append(info.st_mtime_ns)
        found[name] = " ".join(map(str, told))
        if kind == "dir":
            found |= {f"{name}/{below}": what for below, what in walk(path).items()}
    os.chmod(place, mode if place.count("/") > 1 else 0o755)
    return found


def shown(path: str) -> str:
    return path if len(path) < 100 else f"{path[0]}*{len(path)}"


def main() -> None:
    os.umask(0o022)
    if sys.argv[1] == "prepare":
        for number in range(POOL):
            make(number)
        return
    top, found = os.getcwd(), {}
    # A directory that a call has left as it was serves for the next one.
    number, as_made, listing = 0, walk("0"), sorted(os.listdir("0/in"))
    for call, function in CALLS.items():
        for path in PATHS:
            os.chdir(f"{top}/{number}/in")
            name = f"{call}: {shown(path)}"
            found[name] = function(path)
            os.chdir(top)
            # If it failed a glance does, for walking takes long where trees are served.
            failed = isinstance(found[name], str | list) and found[name] != "opened"
            if failed and sorted(os.listdir(f"{number}/in")) == listing:
                continue
            now = walk(str(number))
            changed = {n for n in now.keys() | as_made.keys() if now.get(n) != as_made.get(n)}
            if changed:
                found[name] = [found[name], {shown(n): now.get(n) for n in sorted(changed)}]
                number += 1
                if number >= POOL:
                    make(number)
    for name, rest in NULLS.items():
        found[f"{name}: NULL"] = raw(name, None, *rest)
        found[f"{name}: no memory"] = raw(name, ctypes.c_void_p(1), *rest)
    for fd, flags in ((-1, 0), (99999, 0)):
        found[f"openat {fd}"] = raw("openat", fd, "x", flags)
        found[f"ftruncate {fd}"] = raw("ftruncate64", fd, LONG(0))
    print(json.dumps(found))


main()
