"""chmod, chown, utimensat, truncate, extended attributes, by path and by descriptor."""

from __future__ import annotations

SETUP = """
open("file", "w").write("12345"); os.mkdir("dir"); os.symlink("file", "link"); os.symlink("x", "dangling")
os.mkfifo("fifo"); os.link("file", "hard")
names = ("file", "dir", "link", "dangling", "fifo", "missing", "file/", "dir/", "file/x", "", ".", "/proc/self/comm", "/etc/passwd")
def state(name):
    try: s = os.lstat(name)
    except OSError: return None
    return oct(s.st_mode), s.st_uid, s.st_gid, s.st_size if not stat.S_ISDIR(s.st_mode) else 0
"""


def test_modes_owners_and_lengths(agree, told):
    seen = told(
        agree.python(
            SETUP
            + """
mine = ("file", "dir", "link", "dangling", "fifo", "missing", "file/", "dir/", "file/x", "", "/etc/passwd" if os.getuid() else "file")
for name in mine:
    for mode in (0, 0o7777, 0o640, 0o2755):
        show(f"chmod {name} {mode:o}", os.chmod, name, mode); print(state(name), state("file"))
        print("lchmod", code(libc.syscall(452, -100, os.fsencode(name), mode, 0x100)))
        print("flags", code(libc.syscall(452, -100, os.fsencode(name), mode, 0x80)), code(libc.syscall(452, -100, b"", mode, 0x1000)) if name != "" else 0)
    os.chmod("dir", 0o755); os.chmod("file", 0o644)
    for ids in ((-1, -1), (os.getuid(), -1), (-1, os.getgid()), (12, 34), (0, 0)):
        show(f"chown {name} {ids}", os.chown, name, *ids); show(f"lchown {name}", os.lchown, name, *ids)
        print(state(name), state("file"))
    for length in (0, 7, -1, 1 << 62):
        show(f"truncate {name} {length}", os.truncate, name, length); print(state(name))
fd = os.open("file", os.O_RDWR)
show("fchmod", os.fchmod, fd, 0o611); show("fchown", os.fchown, fd, os.getuid(), -1); show("ftruncate", os.ftruncate, fd, 3)
print(state("file"))
"""
        )
    )
    assert seen["chmod dangling 0"] == "ENOENT"
    assert seen["truncate dir 0"] == "EISDIR"


def test_a_file_size_limit_sends_the_signal_to_the_one_who_asked(agree, told):
    seen = told(
        agree.python("""
open("file", "w").close(); got = []
signal.signal(signal.SIGXFSZ, lambda *_: got.append("SIGXFSZ"))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
show("within", os.truncate, "file", 1000); show("beyond", os.truncate, "file", 1001)
print("got ->", got, os.stat("file").st_size)
""")
    )
    assert (seen["beyond"], seen["got"]) == ("EFBIG", "['SIGXFSZ'] 1000")


def test_times(agree, told):
    seen = told(
        agree.python(
            SETUP
            + """
NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2
def spec(*words): return struct.pack("=4q", *words)
def shown(ns): return "now" if abs(ns - time.time_ns()) < 10**12 else ns
def times(name): s = os.lstat(name); return shown(s.st_atime_ns), shown(s.st_mtime_ns)
for name in names[:10]:
    raw = os.fsencode(name)
    for what, block in {"exact": spec(1, 2, 3, 4), "far": spec(1 << 33, 0, -5, 999999999), "bad": spec(0, 1 << 31, 0, 0),
                        "omit one": spec(9, 9, 0, OMIT), "omit both": spec(0, OMIT, 0, OMIT)}.items():
        for flags in (0, 0x100, 0x80):
            print(f"{what} {name} {flags} ->", code(libc.syscall(280, -100, raw, block, flags)))
            if os.path.lexists(name) and what == "exact" and flags < 0x101: print(times(name), times("file"))
    print(f"now {name} ->", code(libc.syscall(280, -100, raw, None, 0)), code(libc.syscall(280, -100, raw, spec(0, NOW, 0, NOW), 0)))
print("pointer ->", code(libc.syscall(280, -100, b"file", ctypes.c_void_p(8), 0)))
fd = os.open("file", 0); print("descriptor ->", code(libc.syscall(280, fd, None, spec(1, 1, 1, 1), 0)), times("file"))
os.utime("hard", (5, 6)); print("utime ->", times("file")); print("old ->", code(libc.utimes(b"link", struct.pack("=4q", 7, 1, 8, 2))), times("file"))
"""
        )
    )
    assert seen["exact file 0"] == "0"
    assert seen["bad file 0"] == seen["exact file 128"] == "EINVAL"
    assert seen["utime"] == "(5000000000, 6000000000)"


def test_extended_attributes(agree, told):
    seen = told(
        agree.python(
            SETUP
            + """
values = {"user.a": b"1", "user.b": b"", "user.c": bytes(1000), "user.": b"x", "": b"x", "nonsense": b"x", "trusted.a": b"x",
          "security.x": b"x", "user." + "n" * 250: b"x", "user." + "n" * 251: b"x", "system.posix_acl_access": b"x"}
for name in names[:10]:
    for attribute, value in values.items():
        for flags in (0, os.XATTR_CREATE, os.XATTR_REPLACE, 4):
            print(f"set {name} {attribute[:9]} {flags} ->", code(libc.setxattr(os.fsencode(name), attribute.encode(), value, len(value), flags)))
        print(f"lset ->", code(libc.lsetxattr(os.fsencode(name), attribute.encode(), value, len(value), 0)))
        buffer = ctypes.create_string_buffer(b"." * 1500)
        for size in (0, 1, 999, 1000, 1400):
            print(f"get {name} {attribute[:9]} {size} ->", code(libc.getxattr(os.fsencode(name), attribute.encode(), buffer, size)), buffer.value[:5])
            print("lget", code(libc.lgetxattr(os.fsencode(name), attribute.encode(), buffer, size)))
    print(f"list {name} ->", code(libc.listxattr(os.fsencode(name), None, 0)), code(libc.listxattr(os.fsencode(name), buffer, 5)),
          code(libc.llistxattr(os.fsencode(name), buffer, 1400)), sorted(buffer.raw[:300].split(b"\\0"))[-3:])
    for attribute in ("user.a", "user.a", "user.c", "nonsense"):
        print(f"remove ->", code(libc.removexattr(os.fsencode(name), attribute.encode())), code(libc.lremovexattr(os.fsencode(name), attribute.encode())))
fd = os.open("file", 0); show("fset", os.setxattr, fd, "user.f", b"v"); show("fget", os.getxattr, fd, "user.f"); show("flist", lambda: sorted(os.listxattr(fd))[0])
print("huge ->", code(libc.setxattr(b"file", b"user.h", b"x" * 70000, ctypes.c_size_t(70000), 0)), code(libc.setxattr(b"file", b"user.h", None, ctypes.c_size_t(5), 0)))
"""
        )
    )
    assert seen["get file nonsense 0"].split()[0] in ("EOPNOTSUPP", "ENOTSUP")
    assert seen["huge"] == "E2BIG EFAULT"
