"""uname(2). Source: include/uapi/linux/utsname.h; the strings are 64 bytes and a NUL."""

from __future__ import annotations

from typing import Annotated, Final, Protocol, Self

from .layout import Struct

NEW_UTS_LEN: Final = 64
"""__NEW_UTS_LEN: longest node and domain name, in bytes without the NUL (sethostname(2))."""

# What personality(2) makes uname tell. Source: include/uapi/linux/personality.h
PER_MASK: Final = 0xFF
PER_LINUX32: Final = 0x08  # machine is COMPAT_UTS_MACHINE, "i686" (kernel/sys.c)
UNAME26: Final = 0x0002_0000  # release is 2.6.x (kernel/sys.c:override_release())

char65 = Annotated[bytes, "65s"]
char9 = Annotated[bytes, "9s"]


class _Names(Protocol):
    """What os.uname() returns; said here so that this package need not import os."""

    @property
    def sysname(self) -> str: ...
    @property
    def nodename(self) -> str: ...
    @property
    def release(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def machine(self) -> str: ...


class new_utsname(Struct, size=390):
    """What uname(2) fills: six NUL-padded strings. The same on every architecture."""

    sysname: char65
    nodename: char65
    release: char65
    version: char65
    machine: char65
    domainname: char65

    @classmethod
    def of(cls, host: _Names, domainname: str = "(none)") -> Self:
        """The same five names as ``host``, in the kernel's layout."""
        names = (host.sysname, host.nodename, host.release, host.version, host.machine, domainname)
        return cls(*(name.encode(errors="surrogateescape") for name in names))


class old_utsname(Struct, size=325):
    """What i386's olduname (109) fills: no domain name."""

    sysname: char65
    nodename: char65
    release: char65
    version: char65
    machine: char65


class oldold_utsname(Struct, size=45):
    """What i386's oldolduname (59) fills: strings of 8 bytes, cut, and a NUL."""

    sysname: char9
    nodename: char9
    release: char9
    version: char9
    machine: char9
