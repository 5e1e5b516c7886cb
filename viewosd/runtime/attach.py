"""May a process that was started elsewhere be attached? In words."""

from __future__ import annotations

import os

from .members import Members, leader_of


def refusal(pid: int, members: Members) -> str | None:
    """Why ``pid`` can't be attached; None: nothing speaks against it before it is tried."""
    if pid == os.getpid() or pid == os.getppid():
        return f"process {pid} is the view's own supervisor or keeper"
    if pid == 1:
        return "process 1 is the system's init; a view of it would be everybody's"
    status = _status(pid)
    if not status:
        return f"there is no process {pid}"
    if leader_of(pid) != pid:
        return f"{pid} is a thread of process {leader_of(pid)}; attach that"
    if members.has(pid):
        return f"process {pid} is in this view already"
    name = status.get("Name", "?")
    if status["State"][0] in "ZX":
        return f"process {pid} ({name}) has ended"
    if status.get("Kthread") == "1" or not _has_memory(pid):
        return f"process {pid} ({name}) is a thread of the kernel"
    uid = int(status["Uid"].split()[1])
    if os.geteuid() not in (0, uid):
        return f"process {pid} ({name}) belongs to uid {uid}"
    tracer = int(status["TracerPid"])
    if tracer:
        return f"process {pid} ({name}) is traced by process {tracer}"
    return None


def _status(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            lines = (line.rstrip("\n").partition(":") for line in file)
            return {key: value.strip() for key, _, value in lines}
    except OSError:
        return {}


def _has_memory(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return file.read().split()[0] != b"0"
    except OSError:
        return False
