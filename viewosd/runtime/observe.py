"""Who watches the calls as they are answered: ``viewos trace``."""

from __future__ import annotations

import errno
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

import trio

from ..syscalls.kinds import CStr
from ..verdict import Continue, Errno, InjectFd, Return, Rewrite, Verdict
from . import memory
from .live import Live

if TYPE_CHECKING:
    from .supervisor import Supervisor

QUEUE: Final = 1024


class Observers:
    """Hands a record of every answer to whoever subscribed; costs nothing while nobody has."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._channels: dict[trio.MemorySendChannel[Any], int] = {}

    def subscribe(self) -> trio.MemoryReceiveChannel[Any]:
        """A channel of records; what does not fit in its queue is counted and told later."""
        send, receive = trio.open_memory_channel[Any](QUEUE)
        self._channels[send] = 0
        self._supervisor.pump.answers.observer = self._record
        return receive

    def _record(self, live: Live, verdict: Verdict | None, note: str) -> None:
        record = {
            "tid": live.tid,
            "call": shown(live),
            "verdict": note if verdict is None else result(verdict),
            "us": round((perf_counter_ns() - live.started_ns) / 1000, 1),
            "service": _service(live),
        }
        try:
            record["pid"] = live.tracee.pid
            record["command"] = live.tracee.command.decode(errors="backslashreplace")
        except Exception:  # it is gone
            record["pid"], record["command"] = live.tid, "?"
        view = self._supervisor.view_of(live.tid)
        record["view"] = 0 if view is None else view.id
        for channel, lost in list(self._channels.items()):
            try:
                if lost:
                    channel.send_nowait({"lost": lost})
                    self._channels[channel] = 0
                channel.send_nowait(record)
            except trio.WouldBlock:
                self._channels[channel] += 1
            except trio.BrokenResourceError:
                del self._channels[channel]
        if not self._channels:
            self._supervisor.pump.answers.observer = None


def shown(live: Live) -> str:
    """The call as strace(1) writes it; a string that can't be read is its address."""
    parts = []
    for name, kind in zip(live.call.registers, live.call.kinds, strict=True):
        value = getattr(live.call, name)
        text = hex(value) if issubclass(kind, CStr) and value else str(int(value))
        if issubclass(kind, CStr) and value:
            try:
                found = memory.read_str(live.tid, value)
                text = '"' + found.decode(errors="backslashreplace").replace('"', '\\"') + '"'
            except Exception:
                text = hex(value)
        parts.append(text)
    return f"{live.route.name}({', '.join(parts)})"


def result(verdict: Verdict) -> str:
    """A verdict in a few characters."""
    if isinstance(verdict, Return):
        return str(verdict.value)
    if isinstance(verdict, Errno):
        return f"-1 {errno.errorcode.get(verdict.code, verdict.code)}"
    if isinstance(verdict, InjectFd):
        return "fd"
    if isinstance(verdict, Rewrite):
        return f"rewritten to {verdict.call!r}"
    assert isinstance(verdict, Continue)
    return "continue"


def _service(live: Live) -> str:
    handlers = live.route.handlers
    return handlers[live.next].service.name if 0 <= live.next < len(handlers) else ""
