"""A page of a program's memory that never comes: userfaultfd(2), as a dead FUSE server would be."""

from __future__ import annotations

import errno

import pytest

from helpers.waiting import until

# struct uffdio_api and uffdio_register, include/uapi/linux/userfaultfd.h; one page that is missing
# and stays so, because nobody reads the descriptor.
TRAP = """
import fcntl, mmap, struct
fd = libc.syscall(323 if os.uname().machine == "x86_64" else 282, os.O_CLOEXEC)
if fd >= 0:
    fcntl.ioctl(fd, 0xC018AA3F, struct.pack("QQQ", 0xAA, 0, 0))
    libc.mmap.restype = ctypes.c_void_p
    page = libc.mmap(None, 4096, 3, 0x22, -1, 0)
    fcntl.ioctl(fd, 0xC020AA00, struct.pack("QQQQ", page, 4096, 1, 0))
"""


def test_a_page_that_never_comes_costs_its_call_and_nobody_elses(stage):
    puppet = stage.run("-p", "misc,nodename=box", env={"VIEWOS_WATCHDOG_S": "1"})
    puppet.ask(f"exec({TRAP!r}, globals())")
    if puppet.ask("fd") < 0:
        pytest.skip("userfaultfd(2) is not allowed here")
    puppet.ask("globals().update(got=[])")
    puppet.ask(
        "threading.Thread(target=lambda: got.append(call('uname', ctypes.c_void_p(page)))).start()"
    )
    assert puppet.ask("many('node()', 200)") == {"box": 200}
    until(lambda: puppet.ask("got"), "the call that touched it")
    assert puppet.ask("got") == [-errno.EFAULT]
    assert "two supervisors hung or crashed with it" in stage.log()
    assert puppet.ask("many('node()', 200)") == {"box": 200}
