"""``viewos doctor``: what works on this machine, what does not, and what that means."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from viewosd.keeper import place

from . import probes
from .output import as_json
from .probes import Broken
from .session import everywhere, inside


class Check(NamedTuple):
    """A capability and its probe.

    ``needed``: no view works without it. ``meaning`` and ``remedy`` are said where it is missing.
    """

    name: str
    probe: Callable[[], None]
    needed: bool
    meaning: str
    remedy: str


_NO_VIEW = "no view works"


def _architecture() -> None:
    if platform.machine() not in ("x86_64", "aarch64"):
        raise Broken(f"this is {platform.machine()}")


def _runtime_directory() -> None:
    try:
        place.directory()
    except place.PlaceError as error:
        raise Broken(str(error)) from None


def _io_uring() -> None:
    if (setting := probes.read("/proc/sys/kernel/io_uring_disabled")) not in ("", "0"):
        raise Broken(f"kernel.io_uring_disabled is {setting}")


def _set_uid() -> None:
    if os.getuid() != 0:
        raise Broken("a seccomp filter of an ordinary user needs no_new_privs")


CHECKS: Final = (
    Check("architecture", _architecture, True, _NO_VIEW, "use x86_64 or aarch64"),
    Check("seccomp listener", probes.answering, True, _NO_VIEW, "use Linux 5.9 or later"),
    Check("ADDFD with SEND", probes.addfd_send, True, _NO_VIEW, "use Linux 5.14 or later"),
    Check(
        "WAIT_KILLABLE_RECV", probes.wait_killable, False,
        "a signal may restart a call that a service has answered", "use Linux 5.19 or later",
    ),
    Check(
        "SYNC_WAKE_UP", probes.sync_wake_up, False,
        "every answered call takes longer", "use Linux 6.6 or later",
    ),
    Check(
        "pidfd_getfd", probes.getfd, True, _NO_VIEW,
        "use Linux 5.6 or later; in a container, allow it in the profile",
    ),
    Check(
        "process_vm_readv", probes.memory, True, _NO_VIEW,
        "use a kernel with CONFIG_CROSS_MEMORY_ATTACH; in a container, allow it in the profile",
    ),
    Check("openat2", probes.openat2, True, _NO_VIEW, "use Linux 5.6 or later"),
    Check(
        "ptrace", probes.ptrace, False,
        "services can't change a call's arguments, nor be loaded where programs run already",
        "set kernel.yama.ptrace_scope to 0 or 1; in a container, allow ptrace(2)",
    ),
    Check(
        "user namespaces", probes.user_namespace, False,
        "file services work for root only", "allow them: sysctl user.max_user_namespaces",
    ),
    Check(
        "overlayfs", probes.overlay, False,
        "copy-on-write is served by a process of ours, which is slower",
        "load the module overlay; for ordinary users Linux 5.11 or later has it",
    ),
    Check(
        "FUSE", probes.fuse, False,
        "file services that serve files themselves do not work",
        "load the module fuse, and ask for the right to open /dev/fuse",
    ),
    Check(
        "io_uring", _io_uring, False,
        "programs in views, like all others here, go without it", "nothing, if that is wanted",
    ),
    Check(
        "set-uid programs", _set_uid, False,
        "sudo, su and ping with set-uid bits keep your own rights in a view",
        "start the view as root where they are needed",
    ),
    Check("runtime directory", _runtime_directory, True, _NO_VIEW, "set VIEWOS_RUNTIME_DIR"),
)  # fmt: skip


class Hazard(NamedTuple):
    """A bug of some kernels: the version that brought it, those that fixed it, one per series."""

    name: str
    since: tuple[int, ...]
    fixed: tuple[tuple[int, ...], ...]
    meaning: str
    remedy: str


HAZARDS: Final = (
    Hazard(
        "WAIT_KILLABLE race", (5, 19), ((6, 12, 52), (6, 18)),
        "a call that was answered very fast may be restarted", "use Linux 6.12.52, 6.18 or later",
    ),
    Hazard(
        "ADDFD interrupted", (5, 14), ((6, 12, 117), (6, 18, 51), (7, 2, 4), (7, 3)),
        "a signal to the supervisor could leave a program waiting for ever",
        "nothing: the supervisor blocks every signal",
    ),
    Hazard(
        "CVE-2026-89603", (5, 9), ((6, 18, 51), (7, 2, 4), (7, 3)),
        "a thread that a debugger holds may miss a filter that is installed from another thread",
        "use Linux 6.18.51, 7.2.4 or later, or do not load services while a debugger is attached",
    ),
)  # fmt: skip


def kernel_version(release: str, version: str = "", signature: str = "") -> tuple[int, ...]:
    """The upstream version; distributions write another in ``uname -r``.

    Args:
        release: as ``uname -r``.
        version: as ``uname -v``; Debian's has the upstream version in it.
        signature: /proc/version_signature; Ubuntu's ends with it.
    """
    debian = re.search(r"Debian (\d+\.\d+\.\d+)", version)
    text = debian[1] if debian else signature.split()[-1] if signature.split() else release
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def applies(hazard: Hazard, version: tuple[int, ...]) -> bool:
    """True if this kernel has the bug, as far as its version tells."""
    if not version or version < hazard.since:
        return False
    series = [fixed for fixed in hazard.fixed if fixed[:2] == version[:2]]
    if series:
        return version < series[0]
    return version < max(hazard.fixed)


def _results() -> Iterator[dict[str, Any]]:
    session = inside()
    for check in CHECKS:
        row = _result(check)
        if session is not None and check.name.startswith(("seccomp", "ADDFD", "WAIT", "SYNC")):
            # One listener is all that a chain of filters can have; ours serves this process.
            row |= {"works": True, "reason": "", "note": "answers the view that you are in"}
        yield row
    if session is not None:
        session.close()
    release, version = os.uname().release, os.uname().version
    kernel = kernel_version(release, version, probes.read("/proc/version_signature"))
    for hazard in HAZARDS:
        bad = applies(hazard, kernel)
        yield {
            "name": hazard.name, "works": not bad, "needed": False, "hazard": True,
            "reason": f"Linux {release}, as far as its version tells" if bad else "",
            "meaning": hazard.meaning, "remedy": hazard.remedy, "note": "",
        }  # fmt: skip
    for session in everywhere():
        with session:
            told = session.call("probe")
        yield {
            "name": f"view {session.serverid}:0", "works": True, "needed": False, "reason": "",
            "meaning": "", "remedy": "",
            "note": f"its supervisor answers, and takes {told['memory_kb'] // 1024} MB",
        }  # fmt: skip


def _result(check: Check) -> dict[str, Any]:
    row = {
        "name": check.name, "works": True, "needed": check.needed, "reason": "", "note": "",
        "meaning": check.meaning, "remedy": check.remedy,
    }  # fmt: skip
    try:
        check.probe()
    except Broken as broken:
        row |= {"works": False, "reason": broken.reason, "remedy": broken.remedy or check.remedy}
    except OSError as error:
        row |= {"works": False, "reason": error.strerror or str(error)}
    return row


def doctor(json: bool) -> int:
    """Try everything and say it, a line each; 0 if views work, 1 if they do not."""
    rows = []
    for row in _results():
        rows.append(row)
        if not json:
            print(line(row), flush=True)
    missing = [row["name"] for row in rows if row["needed"] and not row["works"]]
    if json:
        as_json({"views_work": not missing, "checks": rows})
    else:
        print(f"views do not work here: {', '.join(missing)}" if missing else "views work here")
    return int(bool(missing))


def line(row: dict[str, Any]) -> str:
    """``NAME  works`` or ``NAME  does not: reason; what that means; what to do``.

    A kernel bug is not there, or is there, in the place of works and does not.
    """
    good, bad = ("not affected", "affected") if row.get("hazard") else ("works", "does not")
    if row["works"]:
        text = f"{good} ({row['note']})" if row["note"] else good
    else:
        text = f"{bad}: {row['reason']}; {row['meaning']}; {row['remedy']}"
    return f"{row['name']:<20} {text}"
