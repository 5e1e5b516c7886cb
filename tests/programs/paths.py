"""Ways to reach and use files, each tried in a directory of its own: prepare, check.

``check`` prints, as JSON, what each finds; two runs in the same kind of directory print the same.
Exceptions are results too. The functions are ordered by subject; their names are the results'.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import json
import mmap
import os
import select
import shutil
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
TEXT = b"from below\n" * 400
CHECKS: dict[str, Callable[[], object]] = {}


def check(function: Callable[[], object]) -> Callable[[], object]:
    CHECKS[function.__name__] = function
    return function


def called(result: int) -> int:
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def verdict(function: Callable[..., object], *args: object, **more: object) -> object:
    try:
        value = function(*args, **more)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done" if value is None else value


def opened(*args: object) -> str:
    """Open and close; what open(2) says."""
    fd = verdict(os.open, *args)
    if isinstance(fd, int):
        os.close(fd)
        return "done"
    return str(fd)


def read(path: str | bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write(path: str, data: bytes, mode: str = "wb") -> None:
    with open(path, mode) as file:
        file.write(data)


def in_child(work: Callable[[], object]) -> object:
    """What a function returns in another process."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            result = work()
        except BaseException as error:
            result = repr(error)
        os.write(theirs, json.dumps(result).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return answer


# Other ways to the same place


@check
def through_proc() -> object:
    here = os.getcwd()
    os.chdir("sub")
    child = subprocess.Popen(["sleep", "100"])
    try:
        found = [
            read(f"/proc/self/root{here}/data") == TEXT,
            read("/proc/self/cwd/inner").decode(),
            read(f"/proc/{child.pid}/cwd/inner").decode(),
            read(f"/proc/{child.pid}/root{here}/sub/inner").decode(),
            os.path.samefile(f"/proc/self/root{here}/data", f"{here}/data"),
            os.readlink("/proc/self/cwd") == f"{here}/sub",
        ]
    finally:
        child.kill()
        child.wait()
        os.chdir("..")
    return found


@check
def through_descriptors() -> object:
    fd = os.open("data", os.O_RDWR)
    os.pwrite(fd, b"FROM", 0)
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    named = os.readlink(f"/proc/self/fd/{fd}") == os.path.abspath("data")
    directory = os.open("sub", os.O_PATH)
    inner = os.open("inner", os.O_RDONLY, dir_fd=directory)
    os.unlink("data")
    gone = os.readlink(f"/proc/self/fd/{fd}").endswith("/data (deleted)")
    text = os.pread(again, 4, 0), os.read(inner, 9), os.fstat(fd).st_nlink
    write("data", b"other")
    return named, gone, repr(text), os.pread(again, 4, 0) == b"FROM"


class how(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


RESOLVE = {"": 0, "no_xdev": 1, "no_magiclinks": 2, "no_symlinks": 4, "beneath": 8, "in_root": 16}


@check
def openat2() -> object:
    os.symlink("data", "link")
    os.symlink("../../..", "up")
    os.symlink(os.path.abspath("data"), "absolute")
    here = os.open(".", os.O_PATH)
    found = {}
    paths = "data", "sub/../data", "../x", "/etc/passwd", "link", "up/etc", "absolute", "none"
    for name, flag in RESOLVE.items():
        for path in (
            *paths,
            "/proc/self/exe",
            "sub/inner",
            "sub/../../" + os.path.basename(os.getcwd()),
        ):
            ask = how(os.O_PATH | os.O_CLOEXEC, 0, flag)
            fd = -1
            while fd < 0:  # EAGAIN: something was renamed meanwhile, anywhere
                fd = libc.syscall(437, here, path.encode(), ctypes.byref(ask), ctypes.sizeof(ask))
                if fd < 0 and ctypes.get_errno() != errno.EAGAIN:
                    break
            found[f"{name} {path}"] = "done" if fd >= 0 else errno.errorcode[ctypes.get_errno()]
            if fd >= 0:
                os.close(fd)
    return found


@check
def openat2_cached() -> object:
    ask = how(os.O_RDONLY, 0, 0x20)
    read("data")
    fd = libc.syscall(437, AT_FDCWD, b"data", ctypes.byref(ask), ctypes.sizeof(ask))
    return fd >= 0 or ctypes.get_errno() == errno.EAGAIN


@check
def handles() -> object:
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 8 + 128)
    mount = ctypes.c_int()
    called(libc.name_to_handle_at(AT_FDCWD, b"data", handle, ctypes.byref(mount), 0))
    where = os.open(".", os.O_RDONLY)
    fd = called(libc.open_by_handle_at(where, handle, os.O_RDONLY))
    return os.read(fd, 4).decode(), os.path.samestat(os.fstat(fd), os.stat("data"))


@check
def symlinks_and_dotdot() -> object:
    here = os.getcwd()
    top = os.path.dirname(here)
    os.symlink("sub/inner", "link")
    os.symlink(f"{here}/sub", "directory")
    os.symlink("loop", "loop")
    os.symlink("none", "dangling")
    found = [
        read("link").decode(),
        sorted(os.listdir("directory")),
        read("directory/../data") == TEXT,
        os.path.samefile(f"{top}/../{os.path.basename(top)}", top),
        os.path.realpath("directory") == f"{here}/sub",
        *(opened(name, os.O_RDONLY) for name in ("loop", "dangling", "loop/x")),
        opened("dangling", os.O_WRONLY | os.O_CREAT),
        os.lstat("link").st_size,
        os.path.exists("none"),
    ]
    os.chdir("../..")
    found.append(os.getcwd() == os.path.dirname(top))
    os.chdir(here)
    return found


@check
def getcwd() -> object:
    here = os.getcwd()
    os.mkdir("made")
    os.chdir("made")
    found = [os.getcwd() == f"{here}/made"]
    os.rename("../made", "../renamed")
    found.append(os.getcwd() == f"{here}/renamed")
    os.chdir("../sub")
    os.rename("../sub", "../moved")
    found += [os.getcwd() == f"{here}/moved", os.listdir("."), opened("inner", os.O_RDONLY)]
    os.chdir("../renamed")
    os.rmdir("../renamed")
    found += [verdict(os.getcwd), opened("x", os.O_CREAT | os.O_WRONLY), os.listdir(".")]
    os.chdir(here)
    return found


@check
def chroot() -> object:
    def inside() -> object:
        os.chroot(".")
        before = os.path.exists("/data"), read("/sub/inner").decode()
        os.chdir("/")
        return before, os.getcwd(), os.path.samefile("/..", "/"), sorted(os.listdir("/"))

    return in_child(inside)


@check
def execute() -> object:
    here = os.getcwd()
    ran = [subprocess.run(argv, capture_output=True, text=True, cwd=cwd)
           for argv, cwd in ((["./true"], "."), (["../true"], "sub"), (["../script", "x"], "sub"))]  # fmt: skip
    exe = subprocess.run(
        ["./sleep", "0"], preexec_fn=lambda: None, capture_output=True, text=True
    ).returncode
    sleeping = subprocess.Popen(["./sleep", "100"])
    named = os.readlink(f"/proc/{sleeping.pid}/exe") == f"{here}/sleep"
    same = os.path.samefile(f"/proc/{sleeping.pid}/exe", "sleep")
    busy = opened("sleep", os.O_WRONLY)
    os.rename("sleep", "napping")
    renamed = os.readlink(f"/proc/{sleeping.pid}/exe") == f"{here}/napping"
    os.unlink("napping")
    deleted = os.readlink(f"/proc/{sleeping.pid}/exe") == f"{here}/napping (deleted)"
    sleeping.kill()
    sleeping.wait()
    fd = os.open("true", os.O_RDONLY)
    by_fd = subprocess.run(["true"], executable=f"/proc/self/fd/{fd}", pass_fds=[fd]).returncode
    os.chmod("true", 0o644)
    not_executable = verdict(subprocess.run, ["./true"])
    return (
        [(r.returncode, r.stdout.replace(here, "HERE"), r.stderr) for r in ran],
        exe, named, same, busy, renamed, deleted, by_fd, not_executable,
    )  # fmt: skip


@check
def libraries_by_origin() -> object:
    if not os.path.exists("origin"):
        return None
    ran = subprocess.run(["./origin"], capture_output=True, text=True)
    return ran.returncode, ran.stdout, ran.stderr


# Events and sockets


def events(fd: int) -> list[tuple[int, str]]:
    found = []
    while select.select([fd], [], [], 0)[0]:
        data = os.read(fd, 65536)
        while data:
            _, mask, _, size = struct.unpack_from("iIII", data)
            name = data[16 : 16 + size].rstrip(b"\0").decode()
            found.append((mask, name))
            data = data[16 + size :]
    return found


@check
def inotify() -> object:
    fd = called(libc.inotify_init1(0))
    here = called(libc.inotify_add_watch(fd, b".", 0xFFF))
    called(libc.inotify_add_watch(fd, b"sub/inner", 0xFFF))
    in_child(lambda: write("sub/inner", b"more", "ab"))
    found = [[event for event in events(fd) if event[1] == ""]]
    in_child(lambda: (write("new", b"text"), os.rename("new", "newer"), os.unlink("newer"), 0)[-1])
    in_child(lambda: write("data", b"x", "ab"))
    os.chmod("data", 0o600)
    os.truncate("data", 3)
    os.mkdir("made")
    os.rmdir("made")
    found.append(events(fd))
    called(libc.inotify_rm_watch(fd, here))
    return found, events(fd)


@check
def fanotify() -> object:
    fd = called(libc.fanotify_init(0x2, os.O_RDONLY))
    mask = ctypes.c_uint64(0x2 | 0x8 | 0x20 | 0x08000000)  # MODIFY, CLOSE_WRITE, OPEN; of children
    called(libc.fanotify_mark(fd, 1, mask, AT_FDCWD, b"."))
    in_child(lambda: write("data", b"x", "ab"))
    found = []
    while select.select([fd], [], [], 0)[0]:
        data = os.read(fd, 4096)
        for at in range(0, len(data), 24):
            *_, what, theirs, _ = struct.unpack_from("=IBBHQii", data, at)
            found.append((what, os.path.basename(os.readlink(f"/proc/self/fd/{theirs}"))))
            os.close(theirs)
    return found


@check
def fanotify_of_a_user() -> object:
    fd = called(libc.fanotify_init(0x2 | 0xC00, 0))  # FAN_REPORT_DFID_NAME
    mask = ctypes.c_uint64(0x2 | 0x100 | 0x08000000)
    return verdict(lambda: called(libc.fanotify_mark(fd, 1, mask, AT_FDCWD, b".")))


@check
def sockets() -> object:
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    kind = stat.S_ISSOCK(os.stat("socket").st_mode)
    again = verdict(socket.socket(socket.AF_UNIX).bind, "socket")
    refused = verdict(socket.socket(socket.AF_UNIX).connect, "socket")
    server.listen()
    os.rename("socket", "sub/socket")

    def talk(path: str) -> object:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(b"hello")
            peer, _ = server.accept()
            with peer:
                return peer.recv(5).decode(), client.getpeername()

    here = os.open("sub", os.O_PATH)
    spoken = [talk("sub/socket"), talk(f"/proc/self/fd/{here}/socket")]
    opening = opened("sub/socket", os.O_RDWR)
    os.link("sub/socket", "name")
    spoken.append(talk("name"))
    os.unlink("sub/socket")
    missing = verdict(socket.socket(socket.AF_UNIX).connect, "sub/socket")
    plain = verdict(socket.socket(socket.AF_UNIX).connect, "data")
    two = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    two[0].bind("datagrams")
    two[1].sendto(b"x", "datagrams")
    return kind, again, refused, spoken, opening, missing, plain, two[0].recv(2).decode()


@check
def fifo() -> object:
    os.mkfifo("fifo", 0o640)
    pid = os.fork()
    if pid == 0:
        write("fifo", b"through")
        os._exit(0)
    text = read("fifo").decode()
    os.waitpid(pid, 0)
    none = opened("fifo", os.O_WRONLY | os.O_NONBLOCK)
    return text, oct(os.stat("fifo").st_mode), none


# Data


@check
def shared_mapping() -> object:
    fd = os.open("data", os.O_RDWR)
    view = mmap.mmap(fd, 0)
    view[:4] = b"MAPS"
    found = [
        os.pread(fd, 4, 0).decode(),
        in_child(lambda: read("data")[:4].decode()),
        in_child(lambda: os.pwrite(fd, b"CHLD", 4)),
        view[4:8].decode(),
        in_child(
            lambda: mmap.mmap(os.open("data", os.O_RDWR), 0).__setitem__(slice(8, 12), b"BOTH")
        ),
        view[8:12].decode(),
    ]
    os.ftruncate(fd, 8192)
    view.resize(8192)
    view[8000:8002] = b"ok"
    view.flush()
    os.close(fd)
    del view
    maps = read("data")
    return found, len(maps), maps[8000:8002].decode(), maps[7000] == 0


@check
def mapping_that_reads_before_somebody_writes() -> object:
    fd = os.open("data", os.O_RDONLY)
    view = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    before = view[:4].decode()
    in_child(lambda: write("data", b"LATE", "r+b"))
    return before, view[:4].decode()


@check
def reading_descriptor_before_somebody_writes() -> object:
    fd = os.open("data", os.O_RDONLY)
    in_child(lambda: write("data", b"LATE", "r+b"))
    return os.pread(fd, 4, 0).decode(), os.path.samestat(os.fstat(fd), os.stat("data"))


@check
def private_mapping() -> object:
    fd = os.open("data", os.O_RDONLY)
    view = mmap.mmap(fd, 0, access=mmap.ACCESS_COPY)
    view[:4] = b"MINE"
    shared = verdict(mmap.mmap, fd, 0)
    return read("data")[:4].decode(), shared


@check
def unnamed_file() -> object:
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"unnamed")
    links = os.fstat(fd).st_nlink
    called(libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, b"named", 0x400))
    exclusive = b"/proc/self/fd/%d" % os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_EXCL)
    refused = verdict(lambda: called(libc.linkat(AT_FDCWD, exclusive, AT_FDCWD, b"other", 0x400)))
    return links, os.fstat(fd).st_nlink, read("named").decode(), refused


@check
def locks() -> object:
    fd = os.open("data", os.O_RDWR)
    other = lambda how: in_child(lambda: verdict(how, os.open("data", os.O_RDWR)))  # noqa: E731
    flock = lambda f: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)  # noqa: E731
    posix = lambda f: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)  # noqa: E731
    beside = lambda f: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 15)  # noqa: E731
    ofd = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 100, 10, 0)
    found = []
    flock(fd)
    found.append(other(flock))
    fcntl.flock(fd, fcntl.LOCK_UN)
    found.append(other(flock))
    posix(fd)
    found += [other(posix), other(beside)]
    os.close(os.open("data", os.O_RDONLY))  # that ends it: fcntl(2)
    found.append(other(posix))
    fcntl.fcntl(fd, 37, ofd)  # F_OFD_SETLK
    os.close(os.open("data", os.O_RDONLY))
    found.append(other(lambda f: bool(fcntl.fcntl(f, 37, ofd))))
    # Which waits: the other is woken when this one lets go.
    fcntl.flock(fd, fcntl.LOCK_EX)
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        mine = os.open("data", os.O_RDWR)
        os.write(go, b"x")
        fcntl.flock(mine, fcntl.LOCK_EX)
        os._exit(7)
    os.read(ready, 1)
    fcntl.flock(fd, fcntl.LOCK_UN)
    return found, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@check
def copies_by_the_kernel() -> object:
    def copied(how: Callable[[int, int], object]) -> object:
        source, target = os.open("data", os.O_RDONLY), os.open("copy", os.O_RDWR | os.O_CREAT)
        try:
            result = verdict(how, source, target)
            return result, read("copy") == TEXT[: len(read("copy"))]
        finally:
            os.close(source)
            os.close(target)
            os.unlink("copy")

    def spliced(source: int, target: int) -> int:
        ours, theirs = os.pipe()
        return os.splice(ours, target, os.splice(source, theirs, 4000))

    return [
        copied(lambda s, t: os.sendfile(t, s, 0, len(TEXT))),
        copied(lambda s, t: os.copy_file_range(s, t, len(TEXT))),
        copied(spliced),
        shutil.copyfile("data", "sub/copy") and read("sub/copy") == TEXT,
    ]


@check
def appends_of_two() -> object:
    pids = []
    for letter in b"ab":
        if (pid := os.fork()) == 0:
            fd = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            for _ in range(150):
                os.write(fd, bytes([letter]) * 63 + b"\n")
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    lines = read("log").splitlines()
    return len(lines), sorted({bytes(set(line)).decode() for line in lines}), os.stat("log").st_size


@check
def holes() -> object:
    fd = os.open("sparse", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 1 << 40)
    os.pwrite(fd, b"x", 1 << 30)
    found = [os.fstat(fd).st_size, os.fstat(fd).st_blocks < 1000]
    found.append(os.lseek(fd, 0, os.SEEK_DATA) <= 1 << 30)
    os.ftruncate(fd, 65536)
    os.pwrite(fd, b"y" * 65536, 0)
    called(libc.fallocate64(fd, 3, ctypes.c_long(4096), ctypes.c_long(8192)))  # PUNCH_HOLE
    found += [os.pread(fd, 3, 5000).decode(), os.lseek(fd, 0, os.SEEK_HOLE)]
    os.posix_fallocate(fd, 0, 100000)
    return *found, os.fstat(fd).st_size


@check
def directly() -> object:
    fd = os.open("direct", os.O_RDWR | os.O_CREAT | getattr(os, "O_DIRECT", 0))
    page = mmap.mmap(-1, 4096)
    page[:4] = b"page"
    os.writev(fd, [page])
    os.lseek(fd, 0, 0)
    page[:4] = b"none"
    return (
        os.readv(fd, [page]),
        page[:4].decode(),
        verdict(os.pread, fd, 3, 1) in ("EINVAL", b"age"),
    )


@check
def flushing() -> object:
    fd = os.open("data", os.O_RDWR)
    os.write(fd, b"x")
    os.fsync(fd)
    os.fdatasync(fd)
    directory = os.open(".", os.O_RDONLY)
    os.fsync(directory)
    called(libc.syncfs(fd))
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return os.pread(fd, 4, 0).decode(), array.array("B", os.pread(fd, 2, 4)).tolist()


# Names and attributes


def times(path: str) -> list[int]:
    info = os.lstat(path)
    return [info.st_atime_ns, info.st_mtime_ns]


@check
def utimes() -> object:
    os.symlink("data", "link")
    os.utime("data", ns=(1_000_000_001, 2_000_000_003))
    os.utime("link", ns=(5_000_000_001, 6_000_000_003), follow_symlinks=False)
    os.utime("sub", ns=(-1_000_000_001, 4_000_000_000_000_000_003))
    found = [times("data"), times("link")[1], times("sub")]
    keep = struct.pack("qqqq", 0, (1 << 30) - 2, 9, 9)  # UTIME_OMIT
    called(libc.utimensat(AT_FDCWD, b"data", keep, 0))
    found.append(times("data"))
    os.utime("data")
    write("sub/inner", b"x")
    return *found, times("data")[0] > 1 << 60, times("sub")[1]


@check
def times_change_by_themselves() -> object:
    for path in ("data", "sub"):
        os.utime(path, ns=(0, 0))
    write("data", b"x", "r+b")
    write("sub/new", b"x")
    before = os.stat("sub/inner").st_ctime_ns
    os.chmod("sub/inner", 0o600)
    return times("data")[1] > 0, times("sub")[1] > 0, os.stat("sub/inner").st_ctime_ns >= before


@check
def statfs() -> object:
    info = os.statvfs("data")
    return info.f_namemax, info.f_bsize > 0, info.f_blocks > 0, info.f_bavail > 0


@check
def inode_numbers() -> object:
    listed = {entry.name: entry.inode() for entry in os.scandir(".")}
    found = [listed[name] == os.lstat(name).st_ino for name in sorted(listed)]
    before = os.stat("data")
    write("data", b"x", "ab")
    found += [os.stat("data").st_ino == before.st_ino, os.stat("data").st_dev == before.st_dev]
    return found, os.stat("data").st_dev == os.stat("sub").st_dev


@check
def hard_links() -> object:
    os.link("data", "other")
    write("other", b"OTHR", "r+b")
    found = [read("data")[:4].decode(), os.stat("data").st_nlink, os.path.samefile("data", "other")]
    os.rename("data", "other")  # the same file: nothing happens, rename(2)
    found += [sorted(os.listdir(".")), os.stat("data").st_nlink]
    os.unlink("other")
    return found, os.stat("data").st_nlink, verdict(os.link, "sub", "directory")


@check
def hard_links_from_below() -> object:
    found = [os.stat("one").st_nlink, os.path.samefile("one", "two")]
    write("one", b"ONE!", "r+b")
    return *found, read("two")[:4].decode(), os.path.samefile("one", "two")


@check
def renames() -> object:
    rename = lambda a, b, flags: verdict(  # noqa: E731
        lambda: called(libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, flags))
    )
    found = [rename(b"data", b"sub", 1), rename(b"data", b"sub", 2), rename(b"none", b"x", 2)]
    found += [os.path.isfile("sub"), os.listdir("data"), rename(b"data", b"data/x", 0)]
    found += [rename(b"data", b"sub", 0), rename(b"sub", b"data", 0), rename(b"one", b"new", 1)]
    os.mkdir("empty")
    found += [rename(b"empty", b"data", 0), rename(b"data", b"empty", 0), sorted(os.listdir("."))]
    return found


@check
def directory_positions() -> object:
    os.mkdir("many")
    for number in range(300):
        write(f"many/{number:03}", b"")
    libc.opendir.restype = ctypes.c_void_p
    libc.readdir64.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    stream = ctypes.c_void_p(libc.opendir(b"many"))
    names, positions = [], []
    while True:
        positions.append(libc.telldir(stream))
        entry = libc.readdir64(stream)
        if not entry:
            break
        names.append(ctypes.string_at(entry + 19).decode())
    good = sorted(set(names)) == [".", "..", *(f"{n:03}" for n in range(300))] and len(names) == 302
    for at in (1, 150, 280, 301):
        libc.seekdir(stream, ctypes.c_long(positions[at]))
        good = good and ctypes.string_at(libc.readdir64(stream) + 19).decode() == names[at]
    libc.rewinddir(stream)
    write("many/late", b"")
    libc.rewinddir(stream)
    count = 0
    while entry := libc.readdir64(stream):
        name = ctypes.string_at(entry + 19)
        count += 1
        if name not in (b".", b".."):
            os.unlink(b"many/" + name)
    return good, count, os.listdir("many")


@check
def link_counts_of_directories() -> object:
    before = os.stat(".").st_nlink
    os.mkdir("made")
    after = os.stat(".").st_nlink
    os.rmdir("made")
    return after - before, os.stat("sub").st_nlink, os.stat(".").st_nlink - before


@check
def xattrs() -> object:
    os.setxattr("data", "user.one", b"1")
    os.setxattr("data", "user.big", b"x" * 3000)
    found = [verdict(os.setxattr, "data", "user.one", b"2", flag) for flag in (1, 2)]
    os.symlink("data", "link")
    os.removexattr("data", "user.big")
    return (
        found, [n for n in os.listxattr("data")], os.getxattr("data", "user.one").decode(),
        verdict(os.getxattr, "data", "user.none"), verdict(os.setxattr, "data", "bad.name", b""),
        verdict(os.setxattr, "link", "user.x", b"", follow_symlinks=False),
    )  # fmt: skip


@check
def access_control_lists() -> object:
    entries = (1, 7, -1), (2, 4, 1234), (4, 5, -1), (0x10, 5, -1), (0x20, 0, -1)
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    return verdict(os.setxattr, "data", "system.posix_acl_access", acl), oct(
        os.stat("data").st_mode
    )


@check
def inherited_lists() -> object:
    entries = (1, 7, -1), (2, 7, os.getuid()), (4, 5, -1), (0x10, 7, -1), (0x20, 0, -1)
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.mkdir("made")
    for directory in ("made", "sub"):
        os.setxattr(directory, "system.posix_acl_default", acl)
    for mask in (0o077, 0o022, 0):
        os.umask(mask)
        os.close(os.open(f"made/file{mask}", os.O_CREAT, 0o666))
        os.mkdir(f"made/dir{mask}", 0o2750)
        os.mkfifo(f"made/fifo{mask}", 0o606)
    os.close(os.open("made/closed", os.O_CREAT, 0))
    os.unlink("sub/inner")
    write("sub/inner", b"made in its place")
    paths = sorted([f"made/{name}" for name in os.listdir("made")] + ["sub/inner"])
    lists = [
        [os.getxattr(path, name).hex() for name in sorted(os.listxattr(path))] for path in paths
    ]
    return [oct(os.stat(path).st_mode) for path in paths], lists


@check
def modes() -> object:
    found = []
    for mode in (0, 0o7, 0o640, 0o1755, 0o2711, 0o4755, 0o6777):
        os.chmod("data", mode)
        os.chmod("sub", mode | 0o700)
        found.append((oct(os.stat("data").st_mode), oct(os.stat("sub").st_mode)))
        found.append(
            (opened("data", os.O_RDONLY), opened("data", os.O_WRONLY), os.access("data", 1))
        )
    os.chmod("data", 0o6777)
    write("data", b"x", "ab")  # writing takes the bits away, from all but root: write(2)
    found.append(oct(os.stat("data").st_mode))
    os.umask(0o027)
    os.chmod("sub", 0o2775)
    os.mkdir("sub/made", 0o777)
    write("sub/new", b"")
    found += [oct(os.stat(f"sub/{name}").st_mode) for name in ("made", "new")]
    return found, os.stat("sub/new").st_gid == os.stat("sub").st_gid


@check
def closed_directories() -> object:
    os.chmod("sub", 0o300)
    found = [verdict(os.listdir, "sub") != "EACCES", opened("sub/inner", os.O_RDONLY)]
    os.chmod("sub", 0o500)
    found += [opened("sub/new", os.O_CREAT | os.O_WRONLY), verdict(os.unlink, "sub/inner")]
    os.chmod("sub", 0o600)
    found.append(opened("sub/inner", os.O_RDONLY))
    os.chmod("sub", 0o700)
    return found


@check
def owners() -> object:
    here = os.stat("data")
    found = [here.st_uid == os.getuid(), here.st_gid == os.getgid()]
    found += [
        verdict(os.chown, "data", -1, -1),
        verdict(os.chown, "data", os.getuid(), os.getgid()),
    ]
    os.chmod("data", 0o6755)
    os.chown("data", os.getuid(), -1)
    return *found, oct(os.stat("data").st_mode), verdict(os.chown, "data", 1234, 5678)


@check
def devices() -> object:
    made = verdict(os.mknod, "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return (
        made,
        made == "done" and opened("null", os.O_RDWR),
        made == "done" and os.stat("null").st_rdev,
    )


@check
def many_names() -> object:
    names = [
        "n" * 255,
        "\xff\xfe".encode("latin1").decode(errors="surrogateescape"),
        "a\nb",
        " ",
        "~",
    ]
    for name in names:
        write(name, name.encode(errors="surrogateescape"))
    assert all(read(name) == name.encode(errors="surrogateescape") for name in names)
    deep = "/".join(["d" * 50] * 60)
    os.makedirs(deep)
    write(f"{deep}/end", b"deep")
    shutil.rmtree("d" * 50)
    return sorted(os.listdir("."))[:1], opened("n" * 256, os.O_CREAT)


def prepare() -> None:
    for name in CHECKS:
        os.makedirs(f"{name}/sub")
        write(f"{name}/data", TEXT)
        write(f"{name}/sub/inner", b"inner")
        write(f"{name}/one", b"ones")
        os.link(f"{name}/one", f"{name}/two")
    for program in ("true", "sleep"):
        shutil.copy(shutil.which(program), f"execute/{program}")
    write("execute/script", b'#!/bin/sh\necho "$0" "$@" "$PWD"\n')
    os.chmod("execute/script", 0o755)
    if shutil.which("gcc"):
        os.mkdir("libraries_by_origin/lib")
        write("number.c", b"int number(void) { return 42; }")
        write(
            "main.c",
            b'#include <stdio.h>\nint number(void); int main(void) { printf("%d", number()); }',
        )
        directory = "libraries_by_origin"
        subprocess.run(
            ["gcc", "-shared", "-o", f"{directory}/lib/libnumber.so", "number.c"], check=True
        )
        subprocess.run(
            ["gcc", "-o", f"{directory}/origin", "main.c", f"-L{directory}/lib", "-lnumber",
             "-Wl,-rpath,$ORIGIN/lib"], check=True,
        )  # fmt: skip


def main() -> None:
    os.umask(0o022)
    if sys.argv[1] == "prepare":
        prepare()
        return
    top, found = os.getcwd(), {}
    for name, function in CHECKS.items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        os.chdir(f"{top}/{name}")
        os.umask(0o022)
        try:
            found[name] = function()
        except OSError as error:
            found[name] = errno.errorcode[error.errno]
        except Exception as error:
            found[name] = repr(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
