"""Who descends from whom, read from /proc: proc_pid_stat(5).

A supervisor is a subreaper, so an orphan's chain of parents never leaves its view. Where /proc is
mounted with hidepid (proc(5)), other users' processes are out of sight: as if they were gone.
"""

from __future__ import annotations

import os


def _stat(pid: int | str) -> list[bytes]:
    """Fields 3 (state), 4 (parent), 5 (process group) and so on; [] for one that is not seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            # The name is in parentheses and may hold any byte; nothing after the last one does.
            return file.read(4096).rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def state_of(pid: int) -> str:
    """R, S, D, T (stopped), t (traced), Z …; "" for a process that is gone."""
    fields = _stat(pid)
    return fields[0].decode() if fields else ""


def lives(pid: int) -> bool:
    """Does any thread of a process run? Its first one may have ended, and is a zombie then."""
    fields = _stat(pid)
    if not fields or fields[0] == b"X":
        return False
    return fields[0] != b"Z" or int(fields[17]) > 1


def parent_of(pid: int) -> int:
    """The parent's process id; 0 where there is none, or no such process."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def start_of(pid: int) -> int:
    """When it started, in clock ticks since boot; 0 for a process that is gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def lineage(pid: int) -> list[int]:
    """A process or thread, its parent, and so on, as far as they can be seen.

    A parent that ends while we climb has left its children to a subreaper further up, so the climb
    starts anew; [] for a process that is gone itself.
    """
    while True:
        found = [pid]
        while fields := _stat(found[-1]):
            if not (parent := int(fields[1])):
                return found
            found.append(parent)
        if len(found) == 1:
            return []
        if parent_of(found[-2]) == found[-1]:
            return found  # it has not ended: nobody's parent is gone


def descends(pid: int, ancestor: int) -> bool:
    """Is ``pid`` the ancestor itself or a descendant of it, now?"""
    return pid == ancestor or ancestor in lineage(pid)


def own_children() -> list[int]:
    """Our own children, ended ones too; reading this does not grow with the machine.

    It is sure of ours alone: a child that is waited for meanwhile can hide the next one
    (fs/proc/array.c:get_children_pid()), and of another process's that may happen at any time.

    Raises:
        OSError: the kernel does not tell (CONFIG_PROC_CHILDREN).
    """
    found: list[int] = []
    for tid in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{tid}/children", "rb", buffering=0) as file:
            while some := file.read(1 << 16):
                found += map(int, some.split())
    return found


def descendants(ancestor: int) -> list[int]:
    """Every process below ``ancestor``, parents before children. One pass, not a snapshot.

    Raises:
        ValueError: ``ancestor`` is no process. 0 is the parent of all, and callers send signals.
    """
    if ancestor < 1:
        raise ValueError(f"{ancestor} is no process id")
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (fields := _stat(name)):
            children.setdefault(int(fields[1]), []).append(int(name))
    found = list(children.get(ancestor, ()))
    for pid in found:
        found.extend(children.get(pid, ()))
    return found
