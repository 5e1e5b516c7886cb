"""What a view's programs are told about the machine: host name, system, release.

``-p misc,nodename=box``; ``viewos-run --hostname`` and ``--uname`` are short for it. Programs in
the view may change the host and domain name with sethostname(2) and setdomainname(2), without any
right, and change it for the view alone. What is neither given nor changed stays the host's, live,
and as the kernel would tell it to the caller: personality(2) counts.

Not served: /proc/sys/kernel/hostname and its neighbours. They are files and no system calls, and
still show the host's names; so does sysctl(8), which reads them. A program in a UTS namespace of
its own (unshare -u) sees and changes the view's names, not those of its namespace.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from typing import Final

from viewosd import Errno, Return, Service, Tracee, Verdict, hook
from viewosd.abi.utsname import (
    NEW_UTS_LEN,
    PER_LINUX32,
    PER_MASK,
    UNAME26,
    new_utsname,
    old_utsname,
    oldold_utsname,
)
from viewosd.syscalls import oldolduname, olduname, setdomainname, sethostname, uname

__all__ = ["Misc"]

FIELDS: Final = ("sysname", "nodename", "release", "version", "machine", "domainname")

_COMPAT_MACHINE: Final = {b"x86_64": b"i686", b"aarch64": b"armv8l"}
"""COMPAT_UTS_MACHINE. Source: arch/{x86,arm64}/include/asm/compat.h"""


class Misc(Service):
    """Host name, system name, release, version, machine and domain name."""

    name = "misc"

    def __init__(
        self,
        sysname: str | None = None,
        nodename: str | None = None,
        release: str | None = None,
        version: str | None = None,
        machine: str | None = None,
        domainname: str | None = None,
    ) -> None:
        given = (sysname, nodename, release, version, machine, domainname)
        self.names: dict[str, bytes] = {}
        self._domain = -1
        for field, text in zip(FIELDS, given, strict=True):
            if text is not None:
                name = os.fsencode(text)
                if len(name) > NEW_UTS_LEN or b"\0" in name:
                    raise ValueError(f"{field} is longer than {NEW_UTS_LEN} bytes, or holds a NUL")
                self.names[field] = name

    async def start(self) -> None:
        """Open what tells the host's domain name: os.uname() does not."""
        self._domain = os.open("/proc/sys/kernel/domainname", os.O_RDONLY | os.O_CLOEXEC)

    async def stop(self) -> None:
        """Close it."""
        os.close(self._domain)

    @hook(uname)
    def tell(self, call: uname, tracee: Tracee) -> Verdict:
        """uname(2)."""
        tracee.write(call.buf, new_utsname(*self._names(tracee)).pack())
        return Return(0)

    @hook(olduname)
    def tell_old(self, call: olduname, tracee: Tracee) -> Verdict:
        """olduname(2) of i386: no domain name."""
        tracee.write(call.buf, old_utsname(*self._names(tracee)[:5]).pack())
        return Return(0)

    @hook(oldolduname)
    def tell_oldest(self, call: oldolduname, tracee: Tracee) -> Verdict:
        """uname(2) of the first Linux, i386: eight bytes a name, longer ones cut (kernel/sys.c)."""
        names = (name[:8] for name in self._names(tracee)[:5])
        tracee.write(call.buf, oldold_utsname(*names).pack())
        return Return(0)

    @hook(sethostname)
    def set_node(self, call: sethostname, tracee: Tracee) -> Verdict:
        """sethostname(2), for the view alone."""
        return self._set("nodename", call.name, call.len, tracee)

    @hook(setdomainname)
    def set_domain(self, call: setdomainname, tracee: Tracee) -> Verdict:
        """setdomainname(2), for the view alone."""
        return self._set("domainname", call.name, call.len, tracee)

    def _set(self, field: str, address: int, length: int, tracee: Tracee) -> Verdict:
        if not 0 <= length <= NEW_UTS_LEN:
            return Errno(errno.EINVAL)
        self.names[field] = tracee.read(address, length) if length else b""
        self.remember()
        return Return(0)

    def _names(self, tracee: Tracee) -> Sequence[bytes]:
        """The six names as this caller is told them."""
        ours = self.names
        names = dict(zip(FIELDS, map(os.fsencode, os.uname()), strict=False))
        if "domainname" not in ours:
            # A sysctl file tells the present value whenever it is read from its start.
            ours = {"domainname": os.pread(self._domain, NEW_UTS_LEN + 1, 0).rstrip(b"\n"), **ours}
        if not ("release" in ours and "machine" in ours):
            personality = tracee.personality
            if personality & PER_MASK == PER_LINUX32:
                names["machine"] = _COMPAT_MACHINE.get(names["machine"], names["machine"])
            if personality & UNAME26:
                names["release"] = as_2_6(names["release"])
        return [*(names | ours).values()]

    def describe(self) -> dict[str, bytes]:
        """The names that differ from the host's."""
        return self.names

    def restore(self, state: dict[str, bytes]) -> None:
        """Take them back."""
        self.names = dict(state)


def as_2_6(release: bytes) -> bytes:
    """``6.18.44-x`` as a program that was promised Linux 2.6 reads it, ``2.6.78-x``.

    Source: kernel/sys.c:override_release().
    """
    found = re.match(rb"\d+\.(\d+)(?:\.\d*)?", release)
    if found is None:
        return release
    return b"2.6.%d%s" % (60 + int(found[1]), release[found.end() :])
