"""The number tables, against this machine's headers and against libseccomp."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from viewosd.abi.arch import Arch
from viewosd.abi.sysno import NAME, SYSNO

INCLUDE = Path("/usr/include")
GENERATOR = Path(__file__).parents[2] / "scripts" / "gen-sysno"
every_arch = pytest.mark.parametrize("arch", list(Arch), ids=lambda a: a.name)


def header(name: str) -> Path:
    found = [p for p in (INCLUDE / name, INCLUDE / "x86_64-linux-gnu" / name) if p.exists()]
    if not found:
        pytest.skip(f"no {name} here")
    return found[0]


@every_arch
def test_a_number_means_one_call(arch: Arch) -> None:
    assert len(NAME[arch]) == len(SYSNO[arch])
    assert all(SYSNO[arch][name] == number for number, name in NAME[arch].items())


@pytest.mark.parametrize(
    ("arch", "name"), [(Arch.X86_64, "asm/unistd_64.h"), (Arch.I386, "asm/unistd_32.h")]
)
def test_every_name_of_the_installed_headers_is_in(arch: Arch, name: str) -> None:
    text = header(name).read_text()
    theirs = {n: int(v) for n, v in re.findall(r"#define __NR_(\w+) (\d+)", text)}
    assert len(theirs) > 300
    assert theirs.items() <= SYSNO[arch].items()


def test_the_tables_are_what_the_generator_makes_here() -> None:
    header("asm/unistd_64.h")
    if not shutil.which("cpp"):
        pytest.skip("no cpp(1)")
    made = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def test_since_424_a_number_is_the_same_everywhere() -> None:
    common = [
        {n: v for n, v in SYSNO[arch].items() if v >= 424} for arch in (Arch.X86_64, Arch.AARCH64)
    ]
    assert common[0] == common[1]
    assert common[0].items() <= SYSNO[Arch.I386].items()
    assert common[0]["listns"] == max(common[0].values()) == 470


@every_arch
def test_libseccomp_gives_the_same_number_where_it_knows_the_name(arch: Arch) -> None:
    seccomp = pytest.importorskip("pyseccomp")
    its = {
        Arch.X86_64: seccomp.Arch.X86_64,
        Arch.I386: seccomp.Arch.X86,
        Arch.AARCH64: seccomp.Arch.AARCH64,
    }[arch]
    known = 0
    for name, number in SYSNO[arch].items():
        theirs = seccomp.resolve_syscall(its, name)
        # Negative: unknown, or i386's socketcall(2) and ipc(2), which it numbers by itself.
        if theirs is not None and theirs >= 0:
            assert theirs == number, name
            known += 1
    assert known > 300
