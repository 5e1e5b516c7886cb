"""How often a filter fits the kernel's chain: as often as we say, and not once more."""

from __future__ import annotations

import errno
import os

import pytest

from viewosd.core.chain import ROOM, room_for
from viewosd.core.filter import compile_filter
from viewosd.core.traps import traps_of
from viewosd.keeper.unsafe import PR_SET_NO_NEW_PRIVS, prctl
from viewosd.runtime import unsafe
from viewosd.service import HookSpec
from viewosd.syscalls import getppid, ioctl, openat

FILTERS = {
    "small": compile_filter(traps_of([HookSpec(getppid)])),
    "large": compile_filter(
        traps_of(
            [
                HookSpec(openat),
                HookSpec(ioctl, {"request": frozenset(range(0, 4_000_000_000, 99_999_999))}),
            ]
        )
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_fits_as_often_as_we_say(name):
    program = FILTERS[name]
    # The newest counts without the 4 of one that is below another.
    expected = (ROOM + 4) // room_for(program)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        done = 0
        try:
            while True:
                unsafe.seccomp_install(program, 0)
                done += 1
        except OSError as error:
            os.write(write, f"{done} {errno.errorcode[error.errno]}".encode())
        os._exit(0)
    os.close(write)
    with open(read) as file:
        text = file.read()
    os.waitpid(pid, 0)
    assert text == f"{expected} ENOMEM"
