"""stat(2), statx(2), statfs(2), access(2), readlink(2), getdents64(2): every field, every layout."""

from __future__ import annotations

import pytest

PATHS = [
    "/usr", "/etc/passwd", "/etc/passwd/", "/etc/passwd/x", "/etc/shadow", "/dev/null", "/bin",
    "/usr/bin/python3", "/usr/bin/python3/", "/nonexistent", "", ".", "lib/../bin/env", "lib64",
    "/sys/kernel/x", "/proc/self/x", "n" * 256,
]  # fmt: skip
"""What nobody changes between two runs."""


@pytest.mark.parametrize(
    "flags", [(), ("-m32",), ("-m32", "-D_FILE_OFFSET_BITS=64"), ("-static",)], ids=" ".join
)
def test_every_field_of_every_structure(agree, program, flags):
    outcome = agree(program("stats", *flags), *PATHS, cwd="/usr")
    assert outcome.status == 0
    assert any(line.startswith("stat /etc/passwd: dev") for line in outcome.lines)
    assert "lstat /nonexistent: ENOENT" in outcome.lines
    assert "access /etc/passwd 8: EINVAL" in outcome.lines


def test_files_of_every_kind(agree, told):
    seen = told(
        agree.python("""
open("file", "wb").write(b"x" * 5000); os.mkdir("dir"); os.symlink("file", "link"); os.symlink("x" * 4000, "long")
os.mkfifo("fifo"); socket.socket(socket.AF_UNIX).bind("sock"); os.link("file", "hard")
os.truncate("file", 1 << 33)
r, w = os.pipe(); a, b = socket.socketpair(); e = os.eventfd(0); m = os.memfd_create("m")
def kind(s): return oct(s.st_mode), s.st_nlink, s.st_size, s.st_uid, s.st_blksize
for name in ("file", "dir", "link", "long", "fifo", "sock", "hard", "missing"):
    show("lstat " + name, lambda: kind(os.lstat(name))); show("stat " + name, lambda: kind(os.stat(name)))
    show("readlink " + name, lambda: os.readlink(name)[:20])
for name, fd in (("pipe", r), ("socket", a.fileno()), ("eventfd", e), ("memfd", m), ("stdin", 0), ("closed", 99)):
    show("fstat " + name, lambda: kind(os.fstat(fd)))
    show("fstatat " + name, lambda: kind(os.stat(fd)))
""")
    )
    assert seen["stat hard"].split(", ")[1:3] == ["2", str(1 << 33)]
    assert seen["fstat closed"] == "EBADF"


def test_directories_are_listed_whole(agree):
    outcome = agree.python("""
for i in range(600): open(f"{'n' * (i % 200)}{i}", "w").close()
names = os.listdir("."); print(len(names), len(set(names)))
fd = os.open(".", os.O_RDONLY); again = os.dup(fd)
half = [e.name for e, _ in zip(os.scandir(fd), range(10))]
os.lseek(again, 0, 0); print(len(os.listdir(again)))
os.chdir("/"); print(sorted(os.listdir("/proc/self/fd")), len(os.listdir("/dev")) > 3)
raw = ctypes.create_string_buffer(100)
print(code(libc.syscall(217, fd, raw, 10)), code(libc.syscall(217, 99, raw, 100)), code(libc.syscall(217, 0, raw, 100)))
os.lseek(fd, 0, 0); print(code(libc.syscall(217, fd, ctypes.c_void_p(8), 4096)))
print(libc.syscall(217, fd, raw, 100) > 0)
""")
    assert outcome.lines[:2] == ["600 600", "600"]


def test_a_link_is_read_as_much_as_there_is_room_for(agree, told):
    seen = told(
        agree.python("""
os.symlink("0123456789", "link"); open("file", "w").close()
buffer = ctypes.create_string_buffer(b"." * 15)
for size in (-1, 0, 1, 9, 10, 11):
    for name in (b"link", b"file", b"missing", b""):
        result = libc.syscall(267, -100, name, buffer, ctypes.c_int(size))
        print(name.decode(), size, "->", code(result), buffer.value.decode())
fd = os.open("link", os.O_PATH | os.O_NOFOLLOW)
print("by descriptor ->", libc.syscall(267, fd, b"", buffer, 5), buffer.value.decode())
""")
    )
    assert seen["link 9"] == "9 012345678......"
    assert seen["file 0"] == seen["file 9"].split()[0] == "EINVAL" or seen["file 9"].startswith(
        "EINVAL"
    )
