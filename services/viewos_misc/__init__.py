"""What a view's programs are told about the machine: host name, system, release.

``-p misc,nodename=box``; ``viewos-run --hostname`` and ``--uname`` are short for it. Programs in
the view may change the host and domain name with sethostname(2) and setdomainname(2), without any
right, and change it for the view alone.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace

from viewosd import Errno, Return, Service, Tracee, Verdict, hook
from viewosd.abi.utsname import new_utsname, old_utsname, oldold_utsname
from viewosd.syscalls import oldolduname, olduname, setdomainname, sethostname, uname

__all__ = ["Misc"]

LONGEST = 64
"""Bytes in a name, __NEW_UTS_LEN: a 65th holds the NUL (include/uapi/linux/utsname.h)."""

FIELDS = ("sysname", "nodename", "release", "version", "machine", "domainname")


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
        for field, text in zip(FIELDS, given, strict=True):
            if text is not None:
                name = os.fsencode(text)
                if len(name) > LONGEST or b"\0" in name:
                    raise ValueError(f"{field} is longer than {LONGEST} bytes, or holds a NUL")
                self.names[field] = name

    @hook(uname)
    def tell(self, call: uname, tracee: Tracee) -> Verdict:
        """uname(2)."""
        tracee.write(call.buf, self._names().pack())
        return Return(0)

    @hook(olduname)
    def tell_old(self, call: olduname, tracee: Tracee) -> Verdict:
        """olduname(2) of i386: five names; the longer ones are cut, as the kernel does."""
        ours = self._names()
        kept = {n: getattr(ours, n)[:64] for n in FIELDS[:5]}
        tracee.write(call.buf, old_utsname(**kept).pack())
        return Return(0)

    @hook(oldolduname)
    def tell_oldest(self, call: oldolduname, tracee: Tracee) -> Verdict:
        """uname(2) of Linux 0.x, i386: eight bytes a name."""
        ours = self._names()
        kept = {n: getattr(ours, n)[:8] for n in FIELDS[:5]}
        tracee.write(call.buf, oldold_utsname(**kept).pack())
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
        if not 0 <= length <= LONGEST:
            return Errno(errno.EINVAL)
        self.names[field] = tracee.read(address, length) if length else b""
        return Return(0)

    def _names(self) -> new_utsname:
        # Asked each time: what the view does not change stays the host's, live. os.uname() has no
        # domain name, but the kernel tells it here.
        host = new_utsname.of(os.uname())
        if "domainname" not in self.names:
            with open("/proc/sys/kernel/domainname", "rb") as file:
                host = replace(host, domainname=file.read().rstrip(b"\n"))
        return replace(host, **self.names)

    def describe(self) -> dict[str, bytes]:
        """The names that differ from the host's."""
        return self.names

    def restore(self, state: dict[str, bytes]) -> None:
        """Take them back."""
        self.names = dict(state)
