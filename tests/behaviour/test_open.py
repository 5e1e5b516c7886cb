"""open(2), openat(2), creat(2): flags, errors, and what the descriptor is like."""

from __future__ import annotations

import pytest


def test_flags_and_errors(agree, told):
    seen = told(
        agree.python("""
open("file", "w").write("12345")
os.mkdir("dir"); os.symlink("file", "link"); os.symlink("loop", "loop")
os.symlink("missing", "dangling"); os.symlink("dir", "dirlink")
for name in ("file", "dir", "link", "loop", "dangling", "missing", "dirlink", "", "file/", "dir/",
             "link/", "missing/", "file/x", "dir/x", "missing/x", ".", "..", "./file", "dir/../file",
             "dirlink/../file", "//", "dir//", "loop/x", "x" * 255, "x" * 256):
    for shown, flags in {
        "r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR, "excl": os.O_RDWR | os.O_CREAT | os.O_EXCL,
        "nofollow": os.O_NOFOLLOW, "dir": os.O_DIRECTORY, "cloexec": os.O_CLOEXEC,
        "trunc": os.O_WRONLY | os.O_TRUNC, "append": os.O_WRONLY | os.O_APPEND,
        "path": os.O_PATH, "path nofollow": os.O_PATH | os.O_NOFOLLOW, "noctty": os.O_NOCTTY,
        "nonblock": os.O_NONBLOCK, "sync": os.O_WRONLY | os.O_SYNC, "direct": os.O_DIRECT,
        "noatime": os.O_NOATIME, "accmode 3": 3, "tmpfile": os.O_TMPFILE | os.O_RDWR,
        "tmpfile excl": os.O_TMPFILE | os.O_RDWR | os.O_EXCL, "creat dir": os.O_CREAT | os.O_DIRECTORY,
        "unknown": 1 << 30,
    }.items():
        show_open(f"{name[:20]} {shown}", name, flags)
    for extra in ("", "/"):
        show_open(f"{name[:20]}{extra} creat", name + extra, os.O_CREAT | os.O_WRONLY, 0o7751)
for name in sorted(os.listdir(".")):
    s = os.lstat(name); print(name[:20], oct(s.st_mode), s.st_size, s.st_nlink)
""")
    )
    assert (seen["file/x r"], seen["dir/ excl"]) == ("ENOTDIR", "EISDIR")
    assert (seen["loop r"], seen["dir w"], seen["file excl"]) == ("ELOOP", "EISDIR", "EEXIST")
    assert (seen["link nofollow"], seen["file dir"]) == ("ELOOP", "ENOTDIR")
    assert seen["file cloexec"].split(", ")[2] == "1"


def test_the_umask_counts_for_new_files_and_is_each_process_own(agree):
    outcome = agree.python("""
for mask in (0, 0o022, 0o077, 0o777, 0o027):
    os.umask(mask)
    os.close(os.open(f"f{mask:o}", os.O_CREAT | os.O_WRONLY, 0o6777))
    os.mkdir(f"d{mask:o}", 0o1777)
    os.mkfifo(f"p{mask:o}", 0o666)
    if os.fork() == 0:
        os.umask(0o070); os.mkdir(f"c{mask:o}", 0o777); os._exit(0)
    os.wait()
    print(mask, *(oct(os.lstat(f"{k}{mask:o}").st_mode) for k in "fdpc"))
""")
    assert "23 0o106750 0o41750 0o10640 0o40707" in outcome.lines


def test_the_limit_of_descriptors_is_emfile_and_nothing_is_created(agree, told):
    seen = told(
        agree.python("""
soft = 40
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
opened = []
try:
    while True:
        opened.append(os.open("new", os.O_CREAT | os.O_RDWR))
except OSError as error:
    print("filled ->", errno.errorcode[error.errno], len(opened))
for name, flags in (("missing", 0), ("other", os.O_CREAT), ("/dev/null", 0), (".", 0)):
    show("full " + name, os.open, name, flags)
show("full socket", socket.socket)
os.close(opened[0])
show("a hole", os.open, "last", os.O_CREAT | os.O_RDWR)
resource.setrlimit(resource.RLIMIT_NOFILE, (10, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
show("lowered", os.open, "new", os.O_RDWR)
os.close(opened[1])
show("lowered, with a hole", os.open, "new", os.O_RDWR)
for fd in opened[2:]: os.close(fd)
print("names ->", sorted(os.listdir(".")))
""")
    )
    assert seen["filled"].startswith("EMFILE")
    assert seen["full missing"] == seen["full other"] == "EMFILE"
    assert seen["names"] == "['last', 'new']"


def test_relative_to_a_descriptor(agree, told):
    seen = told(
        agree.python("""
os.makedirs("a/b"); open("a/f", "w").close(); open("f", "w").write("top")
a = os.open("a", os.O_RDONLY | os.O_DIRECTORY); p = os.open("a/b", os.O_PATH); f = os.open("f", os.O_RDONLY)
for dirfd, shown in ((a, "dir"), (p, "path"), (f, "file"), (99, "closed"), (-1, "minus one"), (-100, "cwd")):
    for name in ("f", "../f", "../../f", ".", "..", "", os.path.abspath("f"), "b/../f"):
        key = "absolute" if name[:1] == "/" else name
        show_open(f"{shown} {key}", name, dir_fd=dirfd)
        show(f"stat {shown} {key}", lambda: oct(os.stat(name, dir_fd=dirfd).st_mode))
os.rename("a", "moved")
show_open("moved", "f", dir_fd=a)
show_open("moved ..", "../f", dir_fd=a)
os.chdir("moved/b"); os.rename("../../moved", "../../again")
show_open("cwd moved", "../f"); show_open("cwd moved up", "../../f")
""")
    )
    assert seen["file f"] == "ENOTDIR"
    assert seen["closed f"] == "EBADF"
    assert seen["moved .."].startswith("(")


def test_a_working_directory_that_is_gone(agree, told):
    seen = told(
        agree.python("""
os.makedirs("gone/away"); os.chdir("gone/away"); os.rmdir("../away")
show_open("itself", "."); show_open("above", ".."); show_open("below", "x"); show_open("new", "x", os.O_CREAT)
show("mkdir", os.mkdir, "x"); show("getcwd", os.getcwd); show("stat", lambda: os.stat(".").st_nlink)
show_open("absolute", "/etc/passwd"); show("listdir", os.listdir, "."); show("access", os.access, ".", 4)
show("rename", os.rename, "a", "b"); show("symlink", os.symlink, "a", "b")
""")
    )
    assert seen["new"] == seen["mkdir"] == "ENOENT"
    assert seen["itself"].startswith("(")


def test_proc_self_and_dev_fd_are_the_callers_own(agree, told):
    seen = told(
        agree.python("""
open("file", "w").write("x"); fd = os.open("file", os.O_RDONLY); high = os.dup2(fd, 77)
for name in ("/proc/self/fd/77", "/dev/fd/77", "/proc/thread-self/fd/77", f"/proc/{os.getpid()}/fd/77",
             "/proc/self/cwd/file", "/proc/self/root/etc/passwd", "/dev/fd/78", "/proc/self/fdinfo/77",
             "/proc/self/fdinfo/78", "/proc/self/exe", "/proc/self/../self/fd/77", "/dev/stdin", "/dev/stdout",
             "/proc/mounts", "/etc/mtab", "/proc/self/ns/mnt"):
    show_open(name.replace(str(os.getpid()), "PID"), name)
    show("lstat " + name.replace(str(os.getpid()), "PID"), lambda: oct(os.lstat(name).st_mode))
os.symlink("/proc/self/fd/77", "via"); os.symlink("/dev/fd/78", "astray"); os.symlink("/proc/self", "me")
show_open("via", "via"); show_open("astray", "astray"); show_open("me", "me/fd/77")
show("comm", lambda: open("/proc/self/comm").read())
show("readlink", lambda: os.readlink("/proc/self") == str(os.getpid()))
show("exe", os.readlink, "/proc/self/exe")
show("status", lambda: [l for l in open("me/status") if l.startswith("Pid")][0].split()[1] == str(os.getpid()))
""")
    )
    assert seen["/dev/fd/77"].startswith("(")
    assert seen["/dev/fd/78"] == seen["astray"] == "ENOENT"
    assert (seen["readlink"], seen["status"]) == ("True", "True")


def test_what_may_block_waits_without_holding_up_others(agree, told):
    seen = told(
        agree.python("""
os.mkfifo("fifo")
order = []
def read():
    with open("fifo") as fifo:
        order.append(fifo.read())
thread = threading.Thread(target=read); thread.start()
for i in range(50):
    os.stat("fifo"); os.close(os.open("/etc/passwd", os.O_RDONLY))
show_open("nobody reads", "fifo", os.O_WRONLY | os.O_NONBLOCK) if False else None
with open("fifo", "w") as fifo: fifo.write("hello")
thread.join(); print("order ->", order)
show_open("nonblock", "fifo", os.O_RDONLY | os.O_NONBLOCK)
show_open("nobody reads", "fifo", os.O_WRONLY | os.O_NONBLOCK)
show_open("null", "/dev/null", os.O_RDWR); show_open("tty", "/dev/tty"); show_open("ptmx", "/dev/ptmx", os.O_RDWR)
s = socket.socket(socket.AF_UNIX); s.bind("sock"); show_open("socket", "sock")
""")
    )
    assert seen["order"] == "['hello']"
    assert (seen["nobody reads"], seen["socket"]) == ("ENXIO", "ENXIO")


@pytest.mark.root
def test_somebody_without_the_right_is_refused_though_the_supervisor_is_root(agree_as_root, told):
    seen = told(
        agree_as_root.python("""
os.mkdir("closed", 0o700); open("closed/f", "w").close(); open("mine", "w").close(); os.chmod("mine", 0o600)
open("groups", "w").close(); os.chown("groups", 0, 1234); os.chmod("groups", 0o060)
os.mkdir("open"); os.chmod("open", 0o1777); open("open/root", "w").close(); os.chmod("open/root", 0o666)
fd = os.open("closed", os.O_RDONLY)
os.setgroups([1234]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
for name in ("closed/f", "closed", "mine", "groups", "open/root", "open/new", "/etc/shadow"):
    for shown, flags in (("r", 0), ("w", os.O_WRONLY), ("creat", os.O_CREAT | os.O_RDWR)):
        show_open(f"{name} {shown}", name, flags)
    for mode in (os.F_OK, os.R_OK, os.W_OK, os.X_OK):
        show(f"{name} access {mode}", os.access, name, mode)
    show(f"stat {name}", lambda: oct(os.stat(name).st_mode))
    show(f"chmod {name}", os.chmod, name, 0o644); show(f"chown {name}", os.chown, name, 0, 0)
    show(f"utime {name}", os.utime, name); show(f"utime set {name}", os.utime, name, (1, 1))
    show(f"truncate {name}", os.truncate, name, 0); show(f"unlink {name}", os.unlink, name)
show_open("by descriptor", "f", dir_fd=fd)
show("listdir", os.listdir, fd)
show("mkdir", os.mkdir, "x"); show("mkdir open", os.mkdir, "open/x"); s = os.stat("open/x"); print("owner ->", s.st_uid, s.st_gid)
show("mknod", os.mknod, "open/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3)); show("raw", socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)
def port():
    with socket.socket() as s: s.bind(("127.0.0.1", 1))
show("port 1", port)
""")
    )
    assert seen["closed/f r"] == seen["mine r"] == "EACCES"
    assert seen["groups r"].startswith("(")
    assert (seen["raw"], seen["owner"]) == ("EPERM", "65534 65534")


@pytest.mark.root
def test_real_and_effective_ids_that_differ(agree_as_root, told):
    seen = told(
        agree_as_root.python("""
open("mine", "w").close(); os.chmod("mine", 0o600)
open("yours", "w").close(); os.chown("yours", 65534, 65534); os.chmod("yours", 0o600)
def look(who):
    for name in ("mine", "yours"):
        show(f"{who} open {name}", lambda: os.close(os.open(name, os.O_RDWR)))
        show(f"{who} access {name}", os.access, name, os.W_OK)
        show(f"{who} eaccess {name}", os.access, name, os.W_OK, effective_ids=True)
os.setresuid(0, 65534, 0); look("effective nobody")
os.setresuid(65534, 0, 0); look("real nobody")
libc.setfsuid(65534); look("file system nobody")
""")
    )
    assert seen["effective nobody open mine"] == "EACCES"
    assert seen["real nobody access mine"] == "False"


@pytest.mark.root
def test_a_process_with_another_root(agree_as_root, told):
    seen = told(
        agree_as_root.python("""
os.makedirs("jail/etc"); open("jail/etc/inside", "w").write("x"); os.symlink("/etc/inside", "jail/link")
os.symlink("../../../../etc/inside", "jail/etc/up"); open("outside", "w").close()
out = os.open(".", os.O_RDONLY)
os.chroot("jail"); 
show_open("cwd is outside", "outside"); show_open("jail from outside", "jail/etc/inside")
os.chdir("/etc")
for name in ("/etc/inside", "/link", "inside", "up", "../link", "../../../../etc/inside", "/etc/passwd", "/outside", "/..", "/../outside", "x"):
    show_open(name, name); show("stat " + name, lambda: oct(os.stat(name).st_mode))
show_open("by descriptor", "outside", dir_fd=out)
show("mkdir", os.mkdir, "/made"); show("rename", os.rename, "/made", "/etc/renamed"); show("symlink", os.symlink, "x", "y")
show("list", lambda: sorted(os.listdir("/")) + sorted(os.listdir("/etc")))
show("readlink", os.readlink, "/link"); show("getcwd", os.getcwd)
""")
    )
    assert seen["/link"].startswith("(")
    assert seen["/etc/passwd"] == "ENOENT"
