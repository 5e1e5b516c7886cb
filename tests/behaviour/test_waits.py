"""Calls that wait for another program of the same view: the mirror must not wait for it itself."""

from __future__ import annotations

import pytest

LEASE = """
open("file", "w").write("text")
asked, told = os.pipe()
child = os.fork()
if not child:
    os.read(asked, 1)
    if sys.argv[1] == "open": os.close(os.open("file", os.O_RDWR))
    else: os.truncate("file", 2)
    os._exit(7)
broken = []
def give_up(number, frame):
    broken.append(os.stat("file").st_size)  # answered while the other call waits
    fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_UNLCK)
lease = os.open("file", os.O_RDWR)
signal.signal(signal.SIGIO, give_up)
show("lease", fcntl.fcntl, lease, fcntl.F_SETLEASE, fcntl.F_WRLCK)
os.write(told, b"x")
print("ended ->", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "broken ->", broken)
"""


@pytest.mark.parametrize("call", ["open", "truncate"])
def test_a_call_that_breaks_a_lease_waits_for_its_holder_alone(agree, call):
    # A supervisor that waits as well would be replaced, and the program would see nothing but time.
    agree.runner.env["VIEWOS_SUCCESSORS"] = "0"
    lines = agree.python(LEASE, call).lines
    assert lines == ["lease -> 0", "ended -> 7 broken -> [4]"]


def test_what_is_no_directory_is_not_listed(agree, told):
    seen = told(
        agree.python("""
import pty
buffer = ctypes.create_string_buffer(4096)
def listed(fd): return code(libc.syscall(217, fd, buffer, 4096))
print("pipe ->", listed(os.pipe()[0])); print("terminal ->", listed(pty.openpty()[1]))
some = socket.socket(socket.AF_UNIX); print("socket ->", listed(some.fileno()))
print("file ->", listed(os.open("/etc/passwd", 0))); print("closed ->", listed(99))
print("path ->", listed(os.open(".", os.O_PATH)))
""")
    )
    assert seen["pipe"] == seen["terminal"] == seen["socket"] == seen["file"] == "ENOTDIR"
    assert seen["closed"] == seen["path"] == "EBADF"
