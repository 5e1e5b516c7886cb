"""Names, order and width of the registers, against the tracefs of the kernel that runs here.

tracefs is mounted in a mount namespace of a child's own, so that nothing of it is seen outside.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache

import pytest

from viewosd.abi.arch import NATIVE
from viewosd.abi.sysno import SYSNO
from viewosd.syscalls import TABLE, Syscall
from viewosd.syscalls.kinds import Fd

# The kernel's function: the call's name in its table.
FUNCTION = {
    "newfstat": "fstat",
    "newlstat": "lstat",
    "newstat": "stat",
    "newuname": "uname",
    "sendfile64": "sendfile",
    "umount": "umount2",
}
# The kernel's argument names that we give another, for one name per thing. A key may be of one
# call alone: those are looked at first.
RENAMED = {
    # The file that a call names is ``path``, what it counts from ``dirfd``, as the manual has them.
    **{name: "path" for name in ("filename", "pathname", "specialfile", "special")},
    **{name: name.replace("dfd", "dirfd") for name in ("dfd", "olddfd", "newdfd")},
    **{name: name.replace("dfd", "dirfd") for name in ("from_dfd", "to_dfd")},
    **{name: name.replace("name", "") for name in ("from_pathname", "to_pathname")},
    **{name: name.replace("name", "path") for name in ("oldname", "newname")},
    "acct.name": "path",
    "umount2.name": "path",
    "name_to_handle_at.name": "path",
    "execveat.fd": "dirfd",
    "symlink.oldname": "target",
    "symlink.newname": "path",
    "symlinkat.oldname": "target",
    "symlinkat.newname": "path",
    "symlinkat.newdfd": "dirfd",
    "mount.dev_name": "source",
    "mount.dir_name": "target",
    # What is filled is ``buf``; sockets have ``addr`` and ``addrlen``; clocks ``clockid``.
    **{name: "buf" for name in ("statbuf", "buffer", "ubuf")},
    "uname.name": "buf",
    "ustat.ubuf": "ubuf",
    **{name: "addr" for name in ("umyaddr", "uservaddr", "usockaddr", "upeer_sockaddr")},
    **{name: "addrlen" for name in ("addr_len", "usockaddr_len", "upeer_addrlen")},
    "which_clock": "clockid",
    **{name: "flags" for name in ("flag", "swap_flags", "unshare_flags")},
    "ioctl.cmd": "request",
    "memfd_create.uname": "name",
    "dup.fildes": "oldfd",
    "poll.timeout_msecs": "timeout",
    "ioperm.from": "from_",
    "gidsetsize": "size",
    **{f"{i}{kind}p": f"{i}{kind}" for i in ("r", "e", "s") for kind in ("uid", "gid")},
    # Marks of "user space" and "pointer", which the kinds say.
    **{name: name[1:] for name in ("ufd", "ufds", "uattr", "upid", "usockvec", "uiov", "utimes")},
    "ufattr": "attr",
    "txc_p": "txc",
    "utx": "txc",
    "dataptr": "data",
}
FOLLOWED = os.uname().release.split(".")[:2] == ["6", "18"]
"""Other releases may call an argument something else; that is not worth a table of releases."""
ALIKE = re.compile(r"^(_+|u_)")
WIDE = re.compile(
    r"\*|\b(long|size_t|loff_t|off_t|_*u64|aio_context_t|sighandler_t|cap_user_\w+_t)\b"
)


@cache
def formats() -> dict[str, list[tuple[str, str]]]:
    """Call to its (C type, name) pairs."""
    if os.geteuid() != 0:
        pytest.skip("tracefs needs root")
    if not shutil.which("unshare"):
        pytest.skip("no unshare(1)")
    script = (
        "mount -t tracefs none /mnt && cd /mnt/events/syscalls && "
        'for f in sys_enter_*; do echo "== ${f#sys_enter_}"; cat "$f/format"; done'
    )
    run = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        pytest.skip(f"tracefs can't be mounted: {run.stderr.strip()}")
    found = {}
    for block in run.stdout.split("== ")[1:]:
        fields = re.findall(r"field:([^;]+?)\s*(\w+);\s*offset:(\d+);", block)
        found[block.split("\n")[0]] = [(kind, name) for kind, name, at in fields if int(at) >= 16]
    return found


def ours(function: str) -> type[Syscall]:
    return TABLE[FUNCTION.get(function, function)]


def test_every_traced_call_has_a_class() -> None:
    unknown = [f for f in formats() if FUNCTION.get(f, f) not in TABLE]
    assert not unknown
    assert len(formats()) > 300


def test_the_registers_have_the_kernels_names_in_the_kernels_order() -> None:
    wrong = []
    for function, arguments in formats().items():
        call = ours(function)
        wanted = [
            RENAMED.get(f"{call.__name__}.{name}", RENAMED.get(name, ALIKE.sub("", name)))
            for _, name in arguments
        ]
        if tuple(wanted) != call.registers if FOLLOWED else len(wanted) != len(call.registers):
            wrong.append((call.__name__, wanted, call.registers))
    assert not wrong


def test_no_documented_difference_is_out_of_date() -> None:
    used = {name for arguments in formats().values() for _, name in arguments}
    used |= {
        f"{ours(f).__name__}.{name}" for f, arguments in formats().items() for _, name in arguments
    }
    if not FOLLOWED or len(formats()) < 350:
        pytest.skip("another release, or a kernel built without some calls")
    assert set(RENAMED) <= used


def test_a_register_is_as_wide_as_the_kernels_type() -> None:
    wrong = []
    for function, arguments in formats().items():
        call = ours(function)
        for (kind, _), register, mine in zip(arguments, call.registers, call.kinds, strict=True):
            if (mine.width == 64) != bool(WIDE.search(kind)) and not issubclass(mine, Fd):
                wrong.append((call.__name__, register, kind, mine.__name__))
    assert not wrong


def test_what_the_kernel_traces_has_a_number_here() -> None:
    for function in formats():
        assert ours(function).__name__ in SYSNO[NATIVE]
