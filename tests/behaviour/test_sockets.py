"""Sockets, passed descriptors, epoll."""

from __future__ import annotations


def test_internet_sockets(agree, told):
    seen = told(
        agree.python("""
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, 99):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 77):
        for protocol in (0, 6, 17, 255, -1):
            fd = libc.socket(family, kind, protocol)
            print(f"{family} {kind} {protocol} ->", code(fd), fd >= 0 and (fcntl.fcntl(fd, 1), fcntl.fcntl(fd, 3)))
            if fd >= 0: os.close(fd)
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen(); at = server.getsockname()
for blocking in (True, False):
    client = socket.socket(); client.setblocking(blocking)
    try: client.connect(at)
    except BlockingIOError: print("in progress")
    peer, address = server.accept(); peer.sendall(b"hello"); client.setblocking(True); print("got ->", client.recv(9))
    print("same ->", address == client.getsockname())
def connect(address, kind=socket.SOCK_STREAM, blocking=True):
    with socket.socket(socket.AF_INET, kind) as s:
        s.setblocking(blocking); s.connect(address)
with socket.socket() as s: s.bind(("127.0.0.1", 0)); free = s.getsockname()
show("refused", connect, free); show("datagram", connect, free, socket.SOCK_DGRAM); show("in use", lambda: socket.socket().bind(at))
show("not ours", lambda: socket.socket().bind(("192.0.2.1", 0)))
raw = struct.pack("=HHI8x", 2, 0, 0)
s = socket.socket()
for length in (0, 1, 2, 8, 16, 128, 129, -1): print(f"bind {length} ->", code(libc.bind(s.fileno(), raw.ljust(130, b"\\0"), length)))
print("no socket ->", code(libc.connect(0, raw, 16)), code(libc.bind(99, raw, 16)))
u = socket.socket(socket.AF_UNIX); print("other family ->", code(libc.bind(u.fileno(), raw, 16)), code(libc.connect(u.fileno(), raw, 16)))
""")
    )
    assert (seen["refused"], seen["in use"]) == ("ECONNREFUSED", "EADDRINUSE")
    assert seen["got"] == "b'hello'"


def test_unix_sockets_tell_who_connected(agree, told):
    seen = told(
        agree.python("""
server = socket.socket(socket.AF_UNIX); server.bind("sock"); server.listen()
if os.fork() == 0:
    c = socket.socket(socket.AF_UNIX); c.connect("sock"); c.sendall(str(os.getpid()).encode()); c.recv(1); os._exit(0)
peer, _ = server.accept()
pid, uid, gid = struct.unpack("=iii", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
print("pid ->", pid == int(peer.recv(20)), uid == os.getuid(), gid == os.getgid())
peer.close(); os.wait()
show("missing", lambda: socket.socket(socket.AF_UNIX).connect("missing")); show("twice", lambda: socket.socket(socket.AF_UNIX).bind("sock"))
a = socket.socket(socket.AF_UNIX); a.bind("\\0abstract-viewos-%d" % os.getpid()); show("abstract", lambda: len(a.getsockname()) > 10)
""")
    )
    assert seen["pid"] == "True True True"


def test_descriptors_that_are_passed_on_are_the_real_files(agree, told):
    seen = told(
        agree.python("""
a, b = socket.socketpair()
with open("file", "w+") as f:
    f.write("hello"); f.flush(); socket.send_fds(a, [b"x"], [f.fileno(), os.open(".", os.O_RDONLY)])
    os.lseek(f.fileno(), 2, 0)
    _, (fd, directory), _, _ = socket.recv_fds(b, 10, 5)
    print("offset ->", os.read(fd, 10)); print("same ->", os.path.sameopenfile(fd, f.fileno()))
    print("name ->", os.readlink(f"/proc/self/fd/{fd}") == os.path.abspath("file"))
    show("relative", lambda: os.stat("file", dir_fd=directory).st_size)
    fcntl.flock(fd, fcntl.LOCK_EX); g = open("file"); show("locked", fcntl.flock, g, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(f, fcntl.LOCK_UN); show("free", fcntl.flock, g, fcntl.LOCK_EX | fcntl.LOCK_NB)
    show("posix lock", fcntl.lockf, fd, fcntl.LOCK_EX)
    if os.fork() == 0:
        h = open("file", "r+"); show("held", fcntl.lockf, h, fcntl.LOCK_EX | fcntl.LOCK_NB); os._exit(0)
    os.wait()
    import mmap
    m = mmap.mmap(fd, 5); m[0:1] = b"J"; print("mapped ->", open("file").read())
    show("sendfile", os.sendfile, a.fileno(), fd, 0, 5); print(b.recv(10))
    show("copy", os.copy_file_range, fd, os.open("copy", os.O_CREAT | os.O_RDWR), 5, 0)
""")
    )
    assert (seen["offset"], seen["mapped"]) == ("b'llo'", "Jello")
    assert (seen["locked"], seen["held"]) == ("EAGAIN", "EAGAIN")


def test_epoll_and_friends_see_descriptors_that_were_made_for_them(agree):
    outcome = agree.python("""
import select
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen(); server.setblocking(False)
client = socket.socket(); client.setblocking(False); print(client.connect_ex(server.getsockname()) in (0, errno.EINPROGRESS))
ep = select.epoll(); ep.register(server, select.EPOLLIN); ep.register(client, select.EPOLLOUT)
seen = set()
while len(seen) < 2: seen |= {fd for fd, _ in ep.poll()}
print(sorted(seen) == sorted((server.fileno(), client.fileno())))
peer, _ = server.accept(); peer.send(b"x"); print(select.select([client], [], [])[0] == [client])
f = open("file", "w")
try: ep.register(f)
except PermissionError: print("EPERM")
""")
    assert outcome.lines == ["True", "True", "True", "EPERM"]
