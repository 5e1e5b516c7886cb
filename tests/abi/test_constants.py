"""Every constant, against the C headers that are installed here, and ioctl numbers against their rule."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import viewosd.abi
from viewosd.abi import bpf, errno, ioctl, seccomp

KERNEL = """
#include <linux/audit.h> <linux/bpf_common.h> <linux/capability.h> <linux/close_range.h>
#include <linux/eventpoll.h> <linux/falloc.h> <linux/fcntl.h> <linux/filter.h> <linux/fs.h>
#include <linux/fuse.h>
#include <linux/limits.h> <linux/memfd.h> <linux/mman.h> <linux/mount.h> <linux/net.h>
#include <linux/openat2.h> <linux/ptrace.h> <linux/resource.h> <linux/sched.h> <linux/seccomp.h>
#include <linux/stat.h> <linux/time.h> <linux/timerfd.h> <linux/timex.h> <linux/uio.h>
#include <linux/xattr.h> <linux/elf.h> <asm/poll.h> <asm/ptrace-abi.h> <linux/sysinfo.h>
"""
# What the kernel's exported headers leave to the C library.
LIBRARY = """
#define _GNU_SOURCE
#include <fcntl.h> <poll.h> <sched.h> <sys/epoll.h> <sys/file.h> <sys/mount.h> <sys/socket.h>
#include <sys/time.h> <time.h> <unistd.h> <dirent.h> <sys/wait.h> <sys/statvfs.h>
"""


def constants() -> dict[str, int]:
    found: dict[str, int] = {}
    for info in pkgutil.iter_modules(viewosd.abi.__path__):
        if info.name.startswith(("sysno", "arch", "layout")):
            continue
        module = importlib.import_module(f"viewosd.abi.{info.name}")
        for name, value in vars(module).items():
            if re.fullmatch(r"[A-Z][A-Z0-9_a-z]*", name) and type(value) is int:
                assert found.setdefault(name, value) == value, f"{name} has two values"
    return found


def includes(headers: str) -> str:
    out = []
    for line in headers.strip().splitlines():
        if line.startswith("#include"):
            for header in line.split()[1:]:
                out.append(f"#if __has_include({header})\n#include {header}\n#endif")
        else:
            out.append(line)
    return "\n".join(out) + "\n"


@pytest.fixture(scope="module")
def c_values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Name to value of our constants that the preprocessor knows here."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    where = tmp_path_factory.mktemp("constants")
    lines = [
        f'#ifdef {name}\n  printf("{name} %lld\\n", (long long)({name}));\n#endif'
        for name in constants()
    ]
    found: dict[str, int] = {}
    for headers in (LIBRARY, KERNEL):  # the kernel's word counts
        source, program = where / "constants.c", where / "constants"
        source.write_text(
            includes(headers)
            + "#include <stdio.h>\nint main(void) {\n"
            + "\n".join(lines)
            + "\nreturn 0; }\n"
        )
        built = subprocess.run(
            [compiler, "-w", "-o", str(program), str(source)], capture_output=True, text=True
        )
        assert built.returncode == 0, built.stderr
        out = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
        found |= {name: int(value) for name, value in map(str.split, out.splitlines())}
    return found


def test_every_constant_is_what_the_headers_say(c_values: dict[str, int]) -> None:
    mask = (1 << 64) - 1
    wrong = {
        name: (ours, theirs)
        for name, theirs in c_values.items()
        if (ours := constants()[name]) & mask != theirs & mask
        and not (ours & 0xFFFF_FFFF == theirs & 0xFFFF_FFFF and ours >> 32 == 0)
    }
    # The C library gives 64-bit programs other values for what only 32-bit ones need.
    assert wrong.keys() <= {"O_LARGEFILE", "F_GETLK64", "F_SETLK64", "F_SETLKW64"}


def test_most_constants_are_known_to_the_headers(c_values: dict[str, int]) -> None:
    assert len(c_values) > 0.8 * len(constants()), sorted(constants().keys() - c_values.keys())


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SECCOMP_IOCTL_NOTIF_RECV", ioctl.IOWR("!", 0, seccomp.seccomp_notif.sizeof)),
        ("SECCOMP_IOCTL_NOTIF_SEND", ioctl.IOWR("!", 1, seccomp.seccomp_notif_resp.sizeof)),
        ("SECCOMP_IOCTL_NOTIF_ID_VALID", ioctl.IOW("!", 2, 8)),
        ("SECCOMP_IOCTL_NOTIF_ADDFD", ioctl.IOW("!", 3, seccomp.seccomp_notif_addfd.sizeof)),
        ("SECCOMP_IOCTL_NOTIF_SET_FLAGS", ioctl.IOW("!", 4, 8)),
    ],
)
def test_a_listener_ioctl_is_made_as_its_macro_says(name: str, number: int) -> None:
    assert getattr(seccomp, name) == number


def test_ioctl_numbers_come_apart_as_they_were_made() -> None:
    assert ioctl.decode(0x8008_6601) == ioctl.Command(ioctl.IOC_READ, ord("f"), 1, 8)  # GETFLAGS
    assert ioctl.encode(*ioctl.decode(0x5000_943A)) == 0x5000_943A
    assert ioctl.decode(0xFFFF_FFFF_8008_6601) == ioctl.decode(0x8008_6601)
    assert ioctl.IO("T", 1) == 0x5401  # TCGETS follows the rule by chance
    for bad in ((4, "x", 0, 0), (0, "x", 256, 0), (0, "x", 0, 1 << 14), (0, 256, 0, 0)):
        with pytest.raises(ValueError, match="does not fit"):
            ioctl.encode(*bad)


def test_restart_codes_lie_above_every_errno_of_user_space() -> None:
    assert {512, 513, 514, 516} == errno.RESTARTS
    assert max(errno.RESTARTS) < errno.MAX_ERRNO
    assert bpf.BPF_RET | bpf.BPF_K == 6


def test_no_file_of_the_abi_imports_more_than_it_may() -> None:
    for path in Path(viewosd.abi.__path__[0]).glob("*.py"):
        imported = re.findall(r"^(?:from|import) (\.?\w+)", path.read_text(), re.MULTILINE)
        allowed = {"__future__", "typing", "struct", "dataclasses", "inspect", "enum", "platform"}
        assert {m for m in imported if not m.startswith(".")} <= {*allowed, "collections"}, (
            path.name
        )
