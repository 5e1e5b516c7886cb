"""The system and the phase of the moon: viewos-run -p moonphase,phase=new -- uname -s"""

import os
from dataclasses import replace

from viewosd import Return, Service, Tracee, hook
from viewosd.abi.utsname import new_utsname
from viewosd.syscalls import uname

__all__ = ["MoonPhase"]


class MoonPhase(Service):
    """Tell the phase of the moon with the system's name."""

    name = "moonphase"

    def __init__(self, phase: str = "full") -> None:
        self.phase = phase

    @hook(uname)
    def tell(self, call: uname, tracee: Tracee) -> Return:
        names = new_utsname.of(os.uname())
        told = replace(names, sysname=names.sysname + f"/{self.phase} moon".encode()[:50])
        tracee.write_struct(call.buf, told)
        return Return(0)
